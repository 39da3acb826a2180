"""The scorer of a command task: reads the files that `run` left, after the candidate is dead.

It runs in a sandbox of its own with the sealed files at /out, the frozen files, and the held ones
of the trial's split. Nothing of the candidate's code is there, so what it prints is verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.contract import Trial, one_line
from harness.problem.command_sandbox import command_argv, command_policy
from harness.problem.judge import judge_places
from harness.problem.spec import ProblemSpec
from harness.problem.view import command_words
from harness.sandbox.policy import Exit, SandboxPolicy

SCORE_S = 30.0
"""Seconds that a scorer may take on top of a trial's budget."""

REFUSED = "refused: "
"""How the last line of a scorer begins that fails and says to agents why; it must not quote what is
held."""

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
    read = {OUT: sealed, **places.read}
    policy = command_policy(spec, trial, SCORE_S + trial.rung.seconds, read, (OUT,))
    words = ("run", *command_words(spec, spec.score, trial), "SWARM_HELD", places.held)
    ended = confine(policy, command_argv(*words), log)
    return ended, log.read_bytes()


def failure_of(ended: Exit, printed: bytes, trial: Trial) -> tuple[str, str] | None:
    """Return why the scorer gave no result, for people and for agents; None where it ended well.

    Of its output agents are told only what stands on its last line after REFUSED.
    """
    if ended.killed == "deadline":
        reason = f"score: still running after {SCORE_S + trial.rung.seconds:g} s"
        return reason, reason
    if ended.killed == "memory":
        reason = f"score: held more than {trial.rung.memory_mib} MiB"
        return reason, reason
    if ended.code:
        text = printed.decode(errors="replace")
        lines = (one_line(line, 300) for line in reversed(text.splitlines()))
        last = next(filter(None, lines), "no output")
        status = f"score: exit status {ended.code}"
        refused = last.startswith(REFUSED)
        return f"{status}: {last}", last.removeprefix(REFUSED) if refused else status
    return None
