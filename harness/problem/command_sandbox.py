"""The sandbox of a repository's own commands that judge or build: `score`, `checks`, `build`.

`run` itself has the sandbox of a trial (`harness.trial`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.contract import Trial
from harness.sandbox import python_argv
from harness.sandbox.policy import SandboxPolicy

RUNNER = Path(__file__).parents[1] / "runners" / "command.py"


def command_policy(
    trial: Trial,
    seconds: float,
    read: Mapping[str, Path],
    late: tuple[str, ...] = (),
    write: Mapping[str, Path] | None = None,
) -> SandboxPolicy:
    """Return the policy of a command beside `trial`, whose memory it may use.

    seconds: how long it may take
    read, late, write: see `SandboxPolicy`
    """
    return SandboxPolicy(
        slice=trial.slice,
        seconds=seconds,
        memory_mib=trial.rung.memory_mib,
        read=read,
        late=late,
        write=write or {},
        kind=trial.sandbox,
        torch=False,
        event_loop=True,
        all_packages=True,
    )


def command_argv(*words: str) -> list[str]:
    """Return the command line of runners/command.py with `words`."""
    return python_argv(RUNNER, *words)
