"""The sandbox of a repository's own commands that judge or build: `score`, `checks`, `build`.

`run` itself has the sandbox of a trial (`harness.trial`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.contract import Trial
from harness.problem.spec import ProblemSpec
from harness.sandbox import python_argv
from harness.sandbox.policy import SandboxPolicy

RUNNER = Path(__file__).parents[1] / "runners" / "command.py"


def secret_values(spec: ProblemSpec, trial: Trial) -> tuple[str, ...]:
    """Return the values that no record of `trial` may hold: the user's variables, and its token.

    One that stands in the metric's name is in program.md, so it is no secret.
    """
    values = (*(os.environ.get(name, "") for name in spec.env), trial.token)
    return tuple(value for value in values if value and value not in spec.metric)


def command_policy(  # noqa: PLR0913, PLR0917 - what a command needs
    spec: ProblemSpec,
    trial: Trial,
    seconds: float,
    read: Mapping[str, Path],
    late: tuple[str, ...] = (),
    write: Mapping[str, Path] | None = None,
) -> SandboxPolicy:
    """Return the policy of a command of `spec` beside `trial`, whose memory it may use.

    It has none of the user's variables, but reads what `run` has left, which had them.

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
        secrets=secret_values(spec, trial),
    )


def command_argv(*words: str) -> list[str]:
    """Return the command line of runners/command.py with `words`."""
    return python_argv(RUNNER, *words)
