"""The checks of a problem: command lines that must exit with 0 on a candidate before it is kept.

They run like `run`, on the frozen files with the candidate's genome in its places, but outside the
timed budget: `check_seconds` is the limit of all of them together. Each has a sandbox of its own.

Not covered: a candidate's code that runs inside of a check (tests import it) can make the check
pass; checks guard against mistakes, verified scores against malice.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from harness import tasks
from harness.contract import CheckResult, Trial
from harness.problem.build import BuildFailedError, place_of
from harness.problem.command_sandbox import command_argv, command_policy
from harness.problem.spec import read_spec
from harness.problem.view import command_words, view_of
from harness.sandbox.policy import Exit
from harness.tasks.base import Confine
from harness.trial import beyond_limit, last_line, printable

MAX_TAIL_CHARS = 4000
"""End of what a failed check printed that is kept."""


def check(trial: Trial, confine: Confine) -> CheckResult:
    """Run the checks of `trial`'s problem on its candidate, up to the first that fails.

    Raises HarnessError if no sandbox could be started.
    """
    began, work = time.monotonic(), Path(trial.scratch) / trial.id
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        result = _result(trial, confine, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return replace(result, seconds=round(time.monotonic() - began, 3))


def _result(trial: Trial, confine: Confine, work: Path) -> CheckResult:
    spec = read_spec(trial.problem)
    try:
        tasks.load(trial.task, trial.problem).make_ready(trial, confine)
    except BuildFailedError as error:
        tail = printable(error.log)[-MAX_TAIL_CHARS:]
        return CheckResult(ok=False, command=spec.build, reason=str(error), tail=tail)
    built = place_of(spec, trial.problem, trial) if spec.build else None
    view = view_of(spec, trial.problem, trial, built)
    deadline = time.monotonic() + spec.check_seconds
    for number, command in enumerate(spec.checks):
        log = work / f"log{number}"
        out, left = work / f"out{number}", max(deadline - time.monotonic(), 1.0)
        out.mkdir()
        read, late = {**view.genome, **view.frozen}, tuple(view.genome)
        policy = command_policy(spec, trial, left, read, late, {"/out": out})
        ended = confine(policy, command_argv("run", *command_words(spec, command, trial)), log)
        text = printable(log.read_bytes()) if log.exists() else ""
        against = _against(ended, text, trial, spec.check_seconds)
        if against:
            reason = f"`{command}` {against}"
            return CheckResult(False, command, reason, text[-MAX_TAIL_CHARS:])
    return CheckResult(ok=True)


def _against(ended: Exit, text: str, trial: Trial, seconds: float) -> str:
    """Return one line against the candidate, "" if the command exited with 0."""
    if ended.killed == "deadline":
        return f"still runs after check_seconds, {seconds:g} s for all checks"
    if limit := beyond_limit(ended, trial.rung.memory_mib):
        return limit
    return f"exited with {ended.code}: {last_line(text) or 'no output'}" if ended.code else ""
