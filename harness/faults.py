"""Blame for an error: the candidate's, or the harness's, by whose hand can cause it.

What a candidate can cause is void once, since the machine may have done it, and the candidate's
failure the second time: otherwise it could choose which of its scores count, or stop a run.

Not covered:
- the count is that of one slice's process, so each slice and each launch forgives once;
- a sandbox that hides CPU time of its own (`monitor.cpu`) can look disturbed by others.
"""

from __future__ import annotations

import errno
from collections import Counter

from harness.contract import (
    DisturbedError,
    Failure,
    HarnessError,
    Outcome,
    SuspectError,
    Trial,
)

MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EIO)
)
"""Errors of the machine's own: full disks, too little memory, too many processes or files."""


class Faults:
    """The errors that candidates may have caused, counted by candidate and by cause."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()

    def failure(self, trial: Trial, error: HarnessError | OSError, harness: str) -> Outcome | None:
        """Return the outcome of a trial whose candidate is to blame for `error`, None if void."""
        cause = suspected(error)
        if not cause:
            return None
        self._seen[trial.commit, cause] += 1
        if self._seen[trial.commit, cause] < 2:  # noqa: PLR2004 - once it may be chance
            return None
        reason = f"twice the harness could not measure it: {cause}"
        return Outcome(
            trial=trial.id,
            harness=harness,
            sandbox=trial.sandbox,
            failure=Failure("invalid", reason),
            split=trial.split,
        )


def suspected(error: HarnessError | OSError) -> str:
    """Return the cause of an error that a candidate may have caused, "" for the machine's own."""
    stopped = isinstance(error, DisturbedError) and error.cause == "signal"
    if isinstance(error, SuspectError) or stopped:  # a candidate can stop itself, too
        return str(error)
    if isinstance(error, OSError) and error.errno not in MACHINE:
        return f"{type(error).__name__}: {error.strerror or error}"
    return ""
