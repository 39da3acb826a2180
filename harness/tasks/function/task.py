"""Trials of the function task: three sandboxes, one conversation, one score.

evaluate.py runs in a sandbox with the frozen files, the held ones of the trial's split, and nothing
of the candidate's. What it returns was computed from plain data, so it is verified evidence. The
candidate sees neither evaluate.py nor held files, nor the trial's seed, from which it could foresee
its inputs. Where the genome at launch needs the standard library and numpy alone, candidates see no
file of the system's either, where one trial could leave notes to the next.

Not covered: a bug of evaluate.py that accepts wrong results. Where no file of the system's is seen,
a candidate cannot import another package that is installed: let the genome at launch import it.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.contract import (
    MAX_NUMBER,
    Direction,
    Evidence,
    Failure,
    HarnessError,
    Split,
    Trial,
    measurable,
)
from harness.problem import wire
from harness.problem.build import BuildFailedError, build, place_of
from harness.problem.fresh import parts_of, pieces
from harness.problem.in_memory import runs_in_memory
from harness.problem.judge import base_folder, judge_places
from harness.problem.numbers import MAX_NAME_CHARS, is_name
from harness.problem.spec import REPO, ProblemSpec
from harness.problem.view import RepositoryView, make_view, view_of
from harness.sandbox import Running, python_argv
from harness.sandbox.monitor.cpu import CoreUse
from harness.sandbox.policy import Exit, SandboxPolicy
from harness.tasks.base import (
    RUNNERS,
    Confine,
    Conversation,
    GenomeRun,
    InvalidError,
    SandboxRequest,
    StartSandbox,
    TaskScore,
)
from harness.tasks.function.relay import EndedError, Genome, GenomeError, Peer, converse

EVALUATE_S = 30.0
"""Seconds that evaluate.py may take by itself, beside all budgets of the genomes' calls."""

REFERENCE_BUDGETS = 4
"""The reference's budget in those of a trial: it may be slower than the candidate."""

MAX_RESULT_BYTES = 64 << 10
MAX_NUMBERS = 64
"""Numbers that evaluate may return."""

WIRE, WIRE_INSIDE = Path(wire.__file__), "/wire.py"


@dataclass(frozen=True, slots=True)
class Function:
    """One problem of the function task; see `harness.tasks.base.Task` for the fields."""

    problem: ProblemSpec
    folder: str
    metric: str
    direction: Direction
    splits: tuple[Split, ...]
    name: str = "function"
    entry: str = ""
    torch: bool = False
    evidence: Evidence = "verified"

    @property
    def preflights(self) -> bool:
        """Whether a genome can be imported as it is, by the Python that preflights run in."""
        return self.ours and not self.problem.build

    @property
    def ours(self) -> bool:
        """Whether the problem's Python is ours."""
        return self.problem.python.program in ("", sys.executable)

    def prepare(self, data: str) -> str:
        """Return the digest of the problem; `data` says nothing here."""
        del data
        return self.problem.digest

    def fresh_pieces(self, data: str) -> int:
        """Return how many pieces of fresh cases the problem has."""
        del data
        return pieces(self.problem, self.folder)

    def make_ready(self, trial: Trial, confine: Confine) -> None:
        """Build the genome and the base, if there is a `build` and it is not done yet.

        Raises HarnessError where the base's fails.
        """
        if not self.problem.build:
            return
        build(self.problem, self.folder, trial, confine)
        if self.problem.wants_reference:
            try:
                build(self.problem, self.folder, self.reference_of(trial), confine)
            except BuildFailedError as error:
                raise HarnessError(f"the reference: {error}") from error

    def reference_of(self, trial: Trial) -> Trial:
        """Return `trial` with the base's genome in place of the candidate's."""
        return replace(trial, genome=str(base_folder(self.folder)))

    def preflight_request(self, trial: Trial) -> SandboxRequest:
        """Return how to preflight `trial`'s genome: it is imported."""
        view = self.view(trial)
        words = (WIRE_INSIDE, "-", *self._genome_words())
        reads, bare = {WIRE_INSIDE: WIRE, **view.frozen}, self.in_memory(trial)
        return SandboxRequest(
            "function_candidate.py", words, {}, reads, view.genome, all_packages=True, bare=bare
        )

    def in_memory(self, trial: Trial) -> bool:
        """Return whether the genome sees no file of the system's (`harness.problem.in_memory`)."""
        problem = self.problem
        roots = (problem.folder, *problem.python.paths)
        return (
            trial.sandbox == "namespaces"
            and trial.slice.kind == "cpu"
            and self.preflights
            and all(path.startswith("/etc/") for path in problem.mounts)  # programs' settings
            and runs_in_memory(self.folder, base_folder(self.folder), problem.entry, roots)
        )

    def view(self, trial: Trial) -> RepositoryView:
        """Return what `trial`'s genome sees of the repository, built; where it is alone, a copy."""
        if not self.in_memory(trial):
            built = place_of(self.problem, self.folder, trial) if self.problem.build else None
            return view_of(self.problem, self.folder, trial, built)
        own = Path(trial.scratch) / trial.id / "view"
        shutil.rmtree(own, ignore_errors=True)  # of another part
        make_view(Path(self.folder), Path(trial.genome), self.problem, own, link=False)
        return RepositoryView({}, {REPO: own})

    def sandbox_request(self, trial: Trial) -> SandboxRequest:
        """Raise: a genome is called, not run."""
        raise NotImplementedError

    def score(self, run: GenomeRun, trial: Trial, confine: Confine) -> TaskScore:
        """Raise: the score is what the conversation ends with."""
        raise NotImplementedError

    def converse(self, trial: Trial, start: StartSandbox, work: Path) -> Conversation:
        """Let evaluate.py call the genome; return what came of it."""
        done = _Trial(self, trial, start, work).conversation()
        return self._with_parts(done, trial, start, work) if trial.fresh else done

    def _with_parts(
        self, done: Conversation, trial: Trial, start: StartSandbox, work: Path
    ) -> Conversation:
        """Add the scores on parts of dev and of the trial's piece of fresh cases."""
        if done.scored is None:
            return done
        began, parts = time.monotonic(), dict[str, tuple[float, ...]]()
        for name, part in parts_of(self.problem, self.folder, trial):
            asked = _Trial(self, trial, start, work, part).conversation()
            if asked.scored is None:
                return asked
            parts[name] = (*parts.get(name, ()), asked.scored.score)
        seconds = {**done.scored.seconds, "fresh": time.monotonic() - began}
        return replace(done, scored=replace(done.scored, seconds=seconds, parts=parts))

    def _genome_words(self) -> tuple[str, ...]:
        """Return a genome's arguments: its entry, where it runs, and what it imports from."""
        return (self.problem.inside(self.problem.entry), self.problem.cwd, *self.problem.imports)

    def argv(self, runner: str, *words: str) -> list[str]:
        """Return the command line of a runner under the problem's Python."""
        if self.ours:
            return python_argv(RUNNERS / runner, *words)
        return [self.problem.python.program, "-B", str(RUNNERS / runner), *words]

    def genome_words(self, channel: int) -> tuple[str, ...]:
        """Return the arguments of a genome's process."""
        return (WIRE_INSIDE, str(channel), *self._genome_words())

    def evaluate_words(self, trial: Trial, channel: int, held: str) -> tuple[str, ...]:
        """Return the arguments of evaluate.py's process."""
        file = self.problem.inside(self.problem.evaluate)
        facts = (str(trial.seed), str(trial.rung.depth), trial.split, held)
        return (WIRE_INSIDE, str(channel), file, self.problem.cwd, *facts, *self.problem.imports)


class _Trial:
    """One trial: its sandboxes and what they have used."""

    def __init__(
        self,
        task: Function,
        trial: Trial,
        start: StartSandbox,
        work: Path,
        part: Path | None = None,
    ) -> None:
        self.task, self.trial, self.start, self.work, self.part = task, trial, start, work, part
        rung, reference = trial.rung, task.problem.wants_reference
        self.limit = EVALUATE_S + (2 + REFERENCE_BUDGETS * reference) * rung.seconds
        memory = rung.memory_mib
        peer, cores = self._peer(trial, "log"), len(trial.slice.cores) or (os.cpu_count() or 1)
        walls = trial.max_wall
        self.candidate = Genome(peer, wire.CANDIDATE, rung.seconds, memory, walls, cores)
        self.genomes = {wire.CANDIDATE: self.candidate}
        if reference:
            base = replace(task.reference_of(trial), scratch=str(work))
            peer, budget = self._peer(base, "reference.log"), REFERENCE_BUDGETS * rung.seconds
            self.genomes[wire.REFERENCE] = Genome(
                peer, wire.REFERENCE, budget, memory, walls, cores
            )
        self.evaluate = Peer(self._evaluate)

    def conversation(self) -> Conversation:
        began = time.monotonic()
        failure = scored = None
        with ExitStack() as stack:
            for peer in (self.evaluate, *(genome.peer for genome in self.genomes.values())):
                stack.enter_context(peer)
            started = time.monotonic() - began
            use = CoreUse(self.trial.slice.cores)
            try:
                scored = self._converse()
            except GenomeError as error:
                if error.target == wire.REFERENCE:
                    raise HarnessError(f"the reference: {error.failure.reason}") from error
                failure = error.failure
            except InvalidError as error:
                failure = error.failure
            foreign = use.foreign(self._cpu_seconds())
        candidate = self.candidate
        ended = Exit(
            code=0,
            killed="",
            seconds=candidate.wall,
            start=started,
            peak_mib=candidate.peak_mib,
            foreign=foreign,
            lost=candidate.lost,
            cpu_seconds=candidate.cpu,
        )
        return Conversation(ended, scored, failure)

    def _converse(self) -> TaskScore:
        self._await_start()
        began = time.monotonic() - self.candidate.wall
        try:
            result = converse(self.evaluate, self.genomes)
        except EndedError:
            raise self._evaluate_ended() from None
        self.candidate.check_idle()
        if result.op == wire.FAULT:
            self._raise_fault(result)
        score, facts = numbers_of(result, self.task.metric)
        seconds = time.monotonic() - began - self.candidate.wall
        return TaskScore(
            score, facts={"calls": self.candidate.calls, **facts}, seconds={"evaluate": seconds}
        )

    def _await_start(self) -> None:
        try:
            self.evaluate.receive()
            for genome in self.genomes.values():
                genome.await_import()
        except EndedError:
            raise HarnessError("a sandbox ended before it ran any code of the problem") from None

    def _evaluate_ended(self) -> InvalidError:
        self.evaluate.running.ended(1.0)
        ended, memory = self.evaluate.running.end(), self.trial.rung.memory_mib
        if ended.killed == "deadline":
            return InvalidError.open(f"evaluate.py was still running after {self.limit:g} s")
        if ended.killed == "memory":
            return InvalidError.open(f"evaluate.py held more than {memory} MiB")
        return InvalidError.open(f"evaluate.py ended without a result (exit status {ended.code})")

    def _raise_fault(self, result: wire.Frame) -> None:
        """Raise for an exception that evaluate did not catch."""
        fault = result.value()
        if fault["candidate"]:
            failure = Failure("crash", fault["text"])
            raise GenomeError(wire.CANDIDATE, failure)
        place = f"{self.task.problem.evaluate}:{fault['line']}"
        # what an exception says may quote held data: its author has not written it for agents
        told = fault["text"] if fault["refused"] else f"{place} raised {fault['type']}"
        raise InvalidError(f"{place}: {fault['text']}", told)

    def _cpu_seconds(self) -> float:
        """End every genome and return the CPU seconds of all three sandboxes."""
        own = self.evaluate.running.cpu_seconds() or 0.0
        for genome in self.genomes.values():
            genome.end()
            own += genome.cpu
        return own

    def _peer(self, trial: Trial, log: str) -> Peer:
        """Return the sandbox of `trial`'s genome, which may be started more than once."""
        view, bare = self.task.view(trial), self.task.in_memory(trial)

        def start(channel: int) -> Running:
            policy = self._policy({**view.frozen, **view.genome}, channel, tuple(view.genome))
            policy = replace(policy, bare=bare)
            argv = self.task.argv("function_candidate.py", *self.task.genome_words(channel))
            return self.start(policy, argv, self.work / log)

        return Peer(start)

    def _evaluate(self, channel: int) -> Running:
        places = judge_places(self.task.problem, self.task.folder, self.trial, self.part)
        policy = self._policy(places.read, channel)
        words = self.task.evaluate_words(self.trial, channel, places.held)
        # the genomes live longer, so that it is evaluate that is seen to take too long
        policy = replace(policy, seconds=self.limit)
        argv = self.task.argv("function_evaluate.py", *words)
        return self.start(policy, argv, self.work / "evaluate.log")

    def _policy(
        self, read: Mapping[str, Path], channel: int, late: tuple[str, ...] = ()
    ) -> SandboxPolicy:
        trial = self.trial
        runners = {str(path): path for path in RUNNERS.glob("function_*.py")}
        return SandboxPolicy(
            slice=trial.slice,
            seconds=self.limit + EVALUATE_S,
            memory_mib=trial.rung.memory_mib,
            read={WIRE_INSIDE: WIRE, **runners, **read},
            late=late,
            fds=(channel,),
            kind=trial.sandbox,
            torch=False,
            all_packages=True,
        )


def numbers_of(result: wire.Frame, metric: str) -> tuple[float, dict[str, float]]:
    """Return the score and the other numbers that evaluate returned. Raises InvalidError."""
    try:
        value = result.value(finite=False) if len(result.head) <= MAX_RESULT_BYTES else None
    except wire.WireError as error:
        raise InvalidError(f"evaluate returned {error}") from None
    numbers: dict[str, Any] = value if isinstance(value, dict) else {metric: value}
    if metric not in numbers or len(numbers) > MAX_NUMBERS:
        wanted = f"a number, or a dict with {metric!r} and at most {MAX_NUMBERS - 1} other numbers"
        raise InvalidError.open(f"evaluate must return {wanted}")
    for name, number in numbers.items():
        if name != metric and not is_name(name):
            wanted = f"printable names of 1 to {MAX_NAME_CHARS} characters"
            raise InvalidError.open(f"evaluate must return {wanted}, not {ascii(name)[:80]}")
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InvalidError.open(f"evaluate returned no number as {name[:80]!r}")
        if not measurable(_float(number)):
            kind = f"beyond {MAX_NUMBER:g}" if math.isfinite(_float(number)) else "not finite"
            raise InvalidError.open(f"evaluate returned {number!r:.40} as {name[:80]!r}: {kind}")
    found = {name: _float(number) for name, number in numbers.items()}
    return found.pop(metric), found


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
