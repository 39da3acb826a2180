"""One trial from start to outcome: run the genome, freeze its artifacts, score them outside.

What the candidate did wrong is returned as a Failure; what the harness could not do is raised as
HarnessError and voids the trial.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from harness import tasks
from harness.artifacts import collect, digests
from harness.contract import (
    MAX_NUMBER,
    DisturbedError,
    Failure,
    Outcome,
    SetupError,
    Slice,
    Trial,
    measurable,
)
from harness.problem.build import BuildFailedError
from harness.sandbox import Running, python_argv
from harness.sandbox.monitor.capped_log import whole_lines
from harness.sandbox.monitor.gpu import check_exclusive, exclusive_gpu
from harness.sandbox.monitor.redaction import redacted
from harness.sandbox.policy import Exit, SandboxPolicy
from harness.tasks.base import (
    RUNNERS,
    CallingTask,
    Confine,
    GenomeRun,
    InvalidError,
    SandboxRequest,
    StartSandbox,
    Task,
    TaskScore,
)

MAX_TAIL_CHARS = 4000
"""End of the training log that an outcome carries."""

MAX_CLAIMS = 16
"""Claims that an outcome carries, the first ones."""

MIN_FILE_MIB = 1024
"""Space for outputs that a sandbox has at least; its task may allow it more."""

_CLAIM = re.compile(r"^claim ([a-z][a-z0-9_]{0,31}) ([-+0-9.eE]{1,24})$", re.MULTILINE)


def measure(trial: Trial, confine: Confine, harness: str, start: StartSandbox = Running) -> Outcome:
    """Run `trial` in a sandbox made by `confine` and return its outcome, scored as `harness`.

    Sandboxes that run beside each other are made by `start`.

    Raises HarnessError if the harness is at fault, SetupError if the task has no such split.
    """
    task = _task(trial)
    with _work_folder(trial) as work, exclusive_gpu(trial.slice):
        measurement = _Measurement(trial, task, _drained(confine, trial.slice), harness, work)
        try:
            measurement.make_ready()
        except BuildFailedError as error:
            return measurement.unbuilt(error)
        return measurement.conversation(start) or measurement.outcome()


def _drained(confine: Confine, lease: Slice) -> Confine:
    """Return `confine` such that a GPU's memory is free when a sandbox's end is known."""

    def run(policy: SandboxPolicy, argv: Sequence[str], log: Path) -> Exit:
        ended = confine(policy, argv, log)
        check_exclusive(lease, "after a sandbox")
        return ended

    return run


def _task(trial: Trial) -> Task:
    task = tasks.load(trial.task, trial.problem)
    if trial.split not in task.splits:
        splits = ", ".join(task.splits)
        raise SetupError(f"task {task.name} has no {trial.split} split: choose one of {splits}")
    return task


@contextmanager
def _work_folder(trial: Trial) -> Iterator[Path]:
    work = Path(trial.scratch) / trial.id
    shutil.rmtree(work, ignore_errors=True)
    (work / "out").mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Measurement:
    """The phases of one trial and their wall time."""

    def __init__(
        self, trial: Trial, task: Task, confine: Confine, harness: str, work: Path
    ) -> None:
        self.trial, self.task = trial, task
        self.confine, self.harness, self.work = confine, harness, work
        self.digests: dict[str, str] = {}
        self.secrets: tuple[str, ...] = ()
        self.began, self.ready = time.monotonic(), 0.0

    def make_ready(self) -> None:
        """Build what the genome needs to run. Raises BuildFailedError where it is at fault."""
        self.task.make_ready(self.trial, self.confine)
        self.ready = time.monotonic() - self.began

    def conversation(self, start: StartSandbox) -> Outcome | None:
        """Return the outcome of a genome that is called; None if it is to be run."""
        if not isinstance(self.task, CallingTask):
            return None
        done = self.task.converse(self.trial, start, self.work)
        return self._record(done.ended, done.scored, done.failure, self._printed())

    def outcome(self) -> Outcome:
        """Run the genome, score what it left, and return the outcome."""
        request = self.task.sandbox_request(self.trial)
        log = self.work / "log"
        argv = python_argv(RUNNERS / request.runner, *request.args)
        self.secrets = request.secrets
        oom_kills = machine_oom_kills()
        ended = self.confine(self._policy(request), argv, log)
        _check_undisturbed(ended, oom_kills)
        text = self._printed()
        failure, scored = self._failure(ended, text), None
        if failure is None:
            try:
                scored = self._score(request, ended)
                _check_range(scored)
            except InvalidError as error:
                failure = error.failure
        return self._record(ended, scored, failure, text)

    def _printed(self) -> str:
        log = self.work / "log"
        return printable(log.read_bytes()) if log.exists() else ""

    def _policy(self, request: SandboxRequest) -> SandboxPolicy:
        trial = self.trial
        genome = request.genome
        late = {"/genome": Path(trial.genome)} if genome is None else genome
        return SandboxPolicy(
            slice=trial.slice,
            seconds=trial.rung.seconds,
            memory_mib=trial.rung.memory_mib,
            read={**late, **request.read},
            late=tuple(late),
            write={"/out": self.work / "out"},
            kind=trial.sandbox,
            torch=self.task.torch,
            outputs=request.outputs,
            file_mib=max(MIN_FILE_MIB, sum((request.outputs or {}).values()) >> 20),
            env=request.env,
            secrets=request.secrets,
            event_loop=request.event_loop,
            network=request.network,
            max_wall=trial.max_wall,
            clock=True,
            all_packages=request.all_packages,
            bare=request.bare,
        )

    def _failure(self, ended: Exit, text: str) -> Failure | None:
        rung = self.trial.rung
        if ended.killed == "deadline":
            return Failure("timeout", f"still running at the end of its {rung.seconds:g} s budget")
        if limit := beyond_limit(ended, rung.memory_mib):
            return Failure("memory" if ended.killed == "memory" else "crash", limit)
        if ended.code != 0:
            return Failure("crash", f"exit status {ended.code}: {last_line(text) or 'no output'}")
        return None

    def _score(self, request: SandboxRequest, ended: Exit) -> TaskScore:
        artifacts = collect(self.work / "out", request.outputs, ended.refused)
        self.digests = digests(artifacts)
        run = GenomeRun(artifacts, self.work / "log", ended)
        return self.task.score(run, self.trial, self.confine)

    def _record(
        self, ended: Exit, scored: TaskScore | None, failure: Failure | None, text: str
    ) -> Outcome:
        phases = {
            "build": self.ready,
            "start": ended.start,
            "budget": ended.seconds - ended.lost,
            "lost": ended.lost,
            **(scored.seconds if scored else {}),
        }
        phases["other"] = max(0.0, time.monotonic() - self.began - sum(phases.values()))
        made = Outcome(
            trial=self.trial.id,
            harness=self.harness,
            sandbox=self.trial.sandbox,
            score=scored.score if scored else None,
            failure=failure,
            seconds={name: round(seconds, 4) for name, seconds in phases.items()},
            peak_mib=round(ended.peak_mib, 1),
            facts=_facts(ended, scored),
            claims={**claims(text), **(scored.claims if scored else {})},
            tail=text[-MAX_TAIL_CHARS:],
            split=self.trial.split,
            digests=self.digests,
            evidence=scored.evidence if scored else self.task.evidence,
            parts=scored.parts if scored else {},
        )
        return without(made, self.secrets)

    def unbuilt(self, error: BuildFailedError) -> Outcome:
        """Return the outcome of a candidate whose build failed, with the end of its output."""
        text = printable(error.log)
        last = last_line(text)
        reason = f"{error}: {last}" if last else str(error)
        return Outcome(
            trial=self.trial.id,
            harness=self.harness,
            sandbox=self.trial.sandbox,
            failure=Failure("crash", reason),
            seconds={"build": round(time.monotonic() - self.began, 4)},
            tail=text[-MAX_TAIL_CHARS:],
            split=self.trial.split,
            evidence=self.task.evidence,
        )


def without(outcome: Outcome, secrets: Sequence[str]) -> Outcome:
    """Return `outcome` without `secrets` in any text that a program had a say in.

    Logs are redacted as they are written; this is for names of files, and for values that reading a
    log puts together again (escapes of JSON, characters left out).
    """
    if not secrets:
        return outcome
    failure, hide = outcome.failure, partial(redacted, values=secrets)
    return replace(
        outcome,
        failure=failure and Failure(failure.kind, hide(failure.reason), hide(failure.told)),
        claims={hide(name): value for name, value in outcome.claims.items()},
        digests={hide(name): digest for name, digest in outcome.digests.items()},
        tail=hide(outcome.tail),
    )


def _check_undisturbed(ended: Exit, oom_kills: int) -> None:
    """Raise DisturbedError where a signal that nobody of ours sent ended a sandbox's process.

    `oom_kills` is what the kernel's OOM killer had killed before.
    """
    ended.check_undisturbed()
    if ended.code and not ended.killed and machine_oom_kills() > oom_kills:
        raise DisturbedError("this machine ran out of memory and killed processes", "signal")


def machine_oom_kills() -> int:
    """Return how many processes the kernel's OOM killer has killed, 0 where it does not tell."""
    try:
        counts = Path("/proc/vmstat").read_text()
    except OSError:
        return 0
    found = re.search(r"^oom_kill (\d+)$", counts, re.MULTILINE)
    return int(found.group(1)) if found else 0


def _check_range(scored: TaskScore) -> None:
    """Raise InvalidError where a score is too large to be judged, or none."""
    for number in (scored.score, *chain.from_iterable(scored.parts.values())):
        if not measurable(number):
            raise InvalidError.open(f"its score is {number:g}, not a number up to {MAX_NUMBER:g}")


def _facts(ended: Exit, scored: TaskScore | None) -> dict[str, float]:
    """Return the task's facts and the share of its cores that other programs used."""
    foreign = {} if ended.foreign is None else {"foreign_cpu": round(ended.foreign, 4)}
    return {**foreign, **(scored.facts if scored else {})}


def printable(raw: bytes) -> str:
    """Return a log as text without control, hidden or direction-changing characters."""
    text = raw.decode("utf-8", "replace").replace("\r", "\n")
    return "".join(char for char in text if char in "\n\t" or char.isprintable())


def last_line(text: str) -> str:
    """Return the last line of a log that says anything, its white space folded; "" for none."""
    lines = [line for line in text.splitlines() if line.strip()]
    return " ".join(lines[-1].split())[:300] if lines else ""


def beyond_limit(ended: Exit, memory_mib: int) -> str:
    """Return which limit of memory or disk ended a sandbox, "" if none did."""
    if ended.killed == "memory":
        return f"held more than {memory_mib} MiB"
    if ended.killed == "disk":
        return "wrote more files than a sandbox may hold, or special ones"
    return ""


def claims(text: str) -> dict[str, float]:
    """Return the numbers that a genome printed as `claim NAME NUMBER`: claims, never scores.

    Lines that were cut, since the log was too long, are none.
    """
    numbers: dict[str, float] = {}
    for name, number in _CLAIM.findall(whole_lines(text.encode()).decode()):
        try:
            value = float(number)
        except ValueError:
            continue
        if measurable(value) and len(numbers) < MAX_CLAIMS:
            numbers[name] = value
    return numbers
