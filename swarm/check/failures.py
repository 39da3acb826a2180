"""Findings on a base that fails: once for each kind of failure, with the likeliest fix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from harness.contract import Outcome
from swarm.check.records import BaseRuns, Finding
from swarm.project.missing_package import missing_package_fix


def failures(runs: BaseRuns) -> Iterator[Finding]:
    """Yield why trials of the base failed, once for each kind of reason."""
    reasons: Counter[str] = Counter()
    first: dict[str, Outcome] = {}
    for trial in runs.trials:
        if trial.outcome.failure is not None:
            reasons[trial.outcome.failure.kind] += 1
            first.setdefault(trial.outcome.failure.kind, trial.outcome)
    for kind, count in reasons.items():
        outcome = first[kind]
        if kind == "timeout" and runs.cut:
            text = f"the base was still running after {runs.limit:g} s: no more is known of it"
            yield Finding("ok", "run", text)
            continue
        reason = outcome.failure.reason if outcome.failure else ""
        times = f"{count} of {len(runs.trials)} trials of the base failed"
        yield Finding(
            "error", "run", f"{times} ({kind}): {reason}", _failure_fix(runs.task, outcome)
        )


_FIXES: tuple[tuple[str, str], ...] = (
    (r"(\S+): (?:command )?not found", "install {0}, or name its folder under `mount:`"),
    (
        r"Read-only file system|Permission denied",
        "write to $OUT, $TMPDIR or $HOME: the repository is read-only in a trial",
    ),
    (
        r"Network is unreachable|name resolution",
        "trials have no network: fetch what is needed in `prepare:`",
    ),
    (
        r"Connection refused",
        "start the server that it asks; trials have a network only with `text` and `network: true`",
    ),
    (r"unit that is not clear", "print the metric in one unit at all sizes, or without a unit"),
    (r"different values", "print the metric once, at the end; give other numbers other names"),
)
"""What the end of a failed trial's log says, and the fix; {0} is the group of the pattern."""

_FIXES_BY_KIND = {
    "timeout": "raise `seconds` of the first rung in program.md, or make `run` shorter",
    "memory": "raise `memory_mib` of the first rung in program.md",
    "invalid": "print the metric on a line of its own as `name: NUMBER`",
    "crash": "run the command by hand in a fresh clone: a trial sees tracked files only",
}


def _failure_fix(task: str, outcome: Outcome) -> str:
    if outcome.failure is None:
        return ""
    text = f"{outcome.failure.reason}\n{outcome.tail}"
    if fix := missing_package_fix(task, text):
        return fix
    for pattern, fix in _FIXES:
        if found := re.search(pattern, text):
            return fix.format(*found.groups())
    return _FIXES_BY_KIND[outcome.failure.kind]
