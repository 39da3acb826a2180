"""The scorer of a command task: reads the files that `run` left, after the candidate is dead.

It runs in a sandbox of its own with the sealed files at /out, the frozen files, and the held ones
of the trial's split. Nothing of the candidate's code is there, so what it prints is verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.contract import Trial
from harness.problem.judge import judge_places
from harness.problem.spec import ProblemSpec
from harness.problem.view import command_words
from harness.sandbox import python_argv
from harness.sandbox.policy import Exit, SandboxPolicy

SCORE_S = 30.0
"""Seconds that a scorer may take on top of a trial's budget."""

OUT = "/out"


def run_scorer(  # noqa: PLR0913, PLR0917 - what a scorer needs
    spec: ProblemSpec,
    problem: str,
    trial: Trial,
    artifacts: Mapping[str, Path],
    confine: Callable[[SandboxPolicy, Sequence[str], Path], Exit],
    part: Path | None = None,
) -> tuple[Exit, bytes]:
    """Run the scorer on the sealed files `artifacts`; return how it ended and what it printed.

    With `part`, after it has run without, it runs on the same files and that part of the data.
    """
    places = judge_places(spec, problem, trial, part)
    log = Path(trial.scratch) / trial.id / "score.log"
    sealed = Path(trial.scratch) / trial.id / "sealed"
    if part is None:
        sealed.mkdir()
        for name, path in artifacts.items():
            path.rename(sealed / name)
    policy = SandboxPolicy(
        slice=trial.slice,
        seconds=SCORE_S + trial.rung.seconds,
        memory_mib=trial.rung.memory_mib,
        read={OUT: sealed, **places.read},
        late=(OUT,),
        kind=trial.sandbox,
        torch=False,
        event_loop=True,
        all_packages=True,
    )
    words = ("run", *command_words(spec, spec.score, trial), "SWARM_HELD", places.held)
    runner = Path(__file__).parents[1] / "runners" / "command.py"
    ended = confine(policy, python_argv(runner, *words), log)
    return ended, log.read_bytes()


def failure_of(ended: Exit, printed: bytes, trial: Trial) -> str:
    """Return one line on why the scorer gave no result, "" where it ended well."""
    if ended.killed == "deadline":
        return f"score: still running after {SCORE_S + trial.rung.seconds:g} s"
    if ended.killed == "memory":
        return f"score: held more than {trial.rung.memory_mib} MiB"
    if ended.code:
        lines = [" ".join(line.split()) for line in printed.decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "no output")
        return f"score: exit status {ended.code}: {last[:300]}"
    return ""
