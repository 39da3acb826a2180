"""The bounds of a call of an agent: a fault of ours in it costs one answer, not the run.

Agents take models' replies apart, so there is always another reply that nobody has thought of. A
model that repeats it would end each launch that resumes the run.

| raised by the call | what becomes of it |
| --- | --- |
| AgentError, BudgetError, a cancellation | the caller's |
| SetupError, HarnessError | ends the launch, with its line |
| OSError of a machine that is full or breaks | the same: only a person can help |
| anything else | AgentError, with what the call cost; its traceback goes to `faults.log` |

Not covered: faults of `learn`, which a run calls as it takes in an event.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.contract import HarnessError, SetupError, one_line
from islands.records import Proposal
from swarm.agents.agent_json import whole_text
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import BudgetError
from swarm.coordinator.run import Run

MACHINE_ERRORS: Final = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    }
)
"""Errors that no reply of a model causes, and that the next proposal would meet as well."""

MAX_LOG_BYTES: Final = 1 << 20
MAX_FAULT_CHARS: Final = 200


@contextmanager
def agent_call(run: Run, number: int) -> Iterator[None]:
    """Bound the faults of the call inside the block, which is for the experiment `number`."""
    try:
        yield
    except (AgentError, BudgetError, SetupError, HarnessError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
            raise
        call = run.state.calls.open.get(number)
        what = one_line(f"{type(error).__name__}: {error}", MAX_FAULT_CHARS)
        told = _keep_traceback(run.launch.folder.faults, number, error)
        reason = f"swarm could not deal with its answer, which is a bug in swarm: {what}{told}"
        raise AgentError("malformed", reason, call.usage if call is not None else None) from error


def _keep_traceback(log: Path, number: int, error: Exception) -> str:
    """Write the traceback to `log`, or else print it; return where it is, for a message."""
    try:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            if file.tell() < MAX_LOG_BYTES:
                file.write(f"experiment {number}\n{''.join(traceback.format_exception(error))}\n")
    except OSError:
        traceback.print_exception(error)
        return ""
    return f" (traceback: {log})"


def recordable(proposal: Proposal) -> Proposal:
    """Return the proposal with texts that the ledger and git can keep.

    The names of its files stay: admission refuses those that nothing can keep.
    """
    notes = {
        name: _kept(value) if isinstance(value, str) else value
        for name, value in proposal.notes.items()
    }
    return replace(proposal, hypothesis=_kept(proposal.hypothesis), notes=notes)


def _kept(text: str) -> str:
    """Return `text` without halves of characters, nor the NUL at which git ends a message."""
    return whole_text(text).replace("\0", "\N{REPLACEMENT CHARACTER}")
