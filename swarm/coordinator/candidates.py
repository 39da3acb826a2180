"""Turns proposals into candidates: admission, commit, preflight; rebases those whose head moved.

A candidate is ready for a trial when it is committed, has passed a preflight beside the slices
(swarm/executors/preflight.py) and stands on the island's head. Where the head has moved, the
candidate's change is applied to the new one, admitted and checked again; where that fails, the
candidate is dropped.

A proposal that repeats what was tried before is answered from the record, and one that another
experiment is trying now is not tried twice (swarm/coordinator/repeats.py): neither costs a trial.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.contract import Preflight, Trial
from islands import events as ev
from islands import trailers
from islands.genome.admission import Refused, admit, printable_line
from islands.genome.code_size import code_change
from islands.genome.normal_change import change_digest
from islands.git.branches import changed_files
from islands.migration import CONFLICT, PRESENT
from islands.records import Conflict, Entry, Proposal
from islands.rng import seed_of
from islands.state.memory import CLAIMED
from islands.state.population import Experiment
from swarm.coordinator.launch_plan import IslandPlan
from swarm.coordinator.repeats import Repeat, repeat_of
from swarm.coordinator.run import Run

MIGRATION = "migration"
"""The agent that a migrant's commit names."""

MAX_SUBJECT_CHARS = 72
"""Characters of a commit's subject; a longer one is shortened, and stands in full in the body."""

MAX_SHOWN_CHARS = 6_000
"""Characters of a refused candidate's diff that its agent is shown."""


@dataclass(frozen=True, slots=True)
class CandidateMaker:
    """Makes the candidates of one island."""

    run: Run
    island: IslandPlan

    async def admit(
        self, number: int, parent: str, proposal: Proposal, agent: str, written_on: str = ""
    ) -> str:
        """Make the proposal a candidate on `parent`, or record its refusal and return why.

        `written_on`: the commit whose files the agent was shown, where that is not `parent`.
        """
        moved: Proposal | _Refusal = proposal
        if written_on not in {"", parent}:
            moved = await self._moved(number, written_on, parent, proposal)
        refusal = moved if isinstance(moved, _Refusal) else None
        if isinstance(moved, Proposal):
            refusal = await self._make(number, parent, moved, agent)
        if refusal is None:
            return ""
        rule, reason = refusal.rule, refusal.reason
        event = ev.ProposalRefused(number, self.island.name, rule, reason, refusal.repeats)
        self.run.record(event)
        return refusal.text

    async def try_out(
        self, number: int, turn: int, parent: str, files: Mapping[str, Entry | None]
    ) -> str:
        """Return in words what would come of proposing `files` on `parent`; record nothing.

        `number`: of the proposal that its agent works on; `turn` sets its questions apart.
        """
        run = self.run
        admitted = await self._admitted_files(number, parent, Proposal("", files))
        if isinstance(admitted, Refused):
            return f"refused: {admitted.rule}: {admitted.reason}"
        head = await run.offload(run.branches.files, parent)
        change = await run.offload(_digest, head, admitted)
        repeat = self._answer(parent, change, crossed=False)
        if repeat is not None:
            return f"refused: {repeat.reason}"
        if not run.preflights.available:
            return "may be proposed; no core is free to run it on before its trial"
        ref, when = f"asked/{number}/{turn}", int(run.now())
        commit = await run.offload(
            run.branches.commit_under_ref, ref, parent, admitted, "Preflight", when
        )
        preflight = await self._check(number, commit)
        await run.offload(_remove, run.launch.folder.genomes / commit)
        if preflight.ok:
            return "may be proposed, and its preflight passed"
        return f"its preflight failed: {preflight.reason}\n{preflight.tail}".rstrip()

    async def rebase(self, old: Experiment, onto: str) -> None:
        """Move a waiting candidate to the head `onto`, or drop it."""
        run, name, number, stale = self.run, self.island.name, old.number, old.commit
        commit = await self._rebased(old, onto)
        if isinstance(commit, _Refusal):
            run.record(ev.CandidateDropped(number, name, commit.line))
        else:
            added, removed = await run.offload(run.branches.numstat, onto, commit)
            code = await run.offload(code_added, run, onto, commit)
            change = await run.offload(change_of, run, onto, commit)
            run.record(
                ev.CandidateRebased(number, name, commit, onto, added, removed, code, change)
            )
        await run.offload(_remove, run.launch.folder.genomes / stale)

    async def _moved(
        self, number: int, written_on: str, parent: str, proposal: Proposal
    ) -> Proposal | _Refusal:
        """Return the proposal's change as one of `parent`, or why it is none."""
        run, branches = self.run, self.run.branches
        files = await self._admitted_files(number, written_on, proposal)
        if isinstance(files, Refused):
            return _Refusal(files.rule, files.reason)
        message = self._message(number, proposal.hypothesis, self._open(number).agent)
        ref, when = f"sampled/{number}", int(self._open(number).received)
        commit = await run.offload(branches.commit_under_ref, ref, written_on, files, message, when)
        changed = await run.offload(branches.apply_change, written_on, commit, parent)
        if isinstance(changed, Conflict):
            paths = ", ".join(map(printable_line, changed.paths))
            return _Refusal(CONFLICT, f"the head differs from the base in lines of {paths}")
        if not changed:
            return _Refusal(PRESENT, "the head holds this change already")
        return replace(proposal, files=changed)

    async def _make(
        self, number: int, parent: str, proposal: Proposal, agent: str
    ) -> _Refusal | None:
        run, name = self.run, self.island.name
        files = await self._admitted_files(number, parent, proposal)
        if isinstance(files, Refused):
            return _Refusal(files.rule, files.reason)
        head = await run.offload(run.branches.files, parent)
        change = await run.offload(_digest, head, files)
        repeat = self._repeat(number, parent, change, proposal)
        if repeat is not None:
            return _Refusal(repeat.rule, repeat.reason, repeats=repeat.experiment)
        with run.claim(change, number, name):
            return await self._commit(number, parent, files, change, proposal.hypothesis, agent)

    async def _commit(  # noqa: PLR0913, PLR0917  # each is part of the candidate
        self,
        number: int,
        parent: str,
        files: dict[str, Entry | None],
        change: str,
        hypothesis: str,
        agent: str,
    ) -> _Refusal | None:
        run, name = self.run, self.island.name
        message, when = self._message(number, hypothesis, agent), int(run.now())
        commit = await run.offload(run.branches.commit, parent, files, message, number, when)
        preflight = await self._check(number, commit)
        if not preflight.ok:
            diff = await run.offload(run.branches.diff, parent, commit)
            shown = f"{preflight.tail}\n\n{diff[:MAX_SHOWN_CHARS]}".strip()
            return _Refusal("preflight", preflight.reason, shown)
        added, removed = await run.offload(run.branches.numstat, parent, commit)
        code = await run.offload(code_added, run, parent, commit)
        if self._open(number).null:
            change = ""
        run.record(ev.CandidateAdmitted(number, name, commit, parent, added, removed, code, change))
        return None

    def _repeat(self, number: int, parent: str, change: str, proposal: Proposal) -> Repeat | None:
        """Return what a proposal repeats; null proposals, migrants and ports are to be tried."""
        open_ = self._open(number)
        if open_.null or open_.origin:
            return None
        return self._answer(parent, change, crossed=ev.CROSSED in proposal.notes)

    def _answer(self, parent: str, change: str, *, crossed: bool) -> Repeat | None:
        """Return what a change on `parent` repeats, None for nothing that counts."""
        run = self.run
        if not run.launch.remembers or not change:
            return None
        held = run.claims.get(change)
        if held is not None:
            return Repeat(CLAIMED, held.experiment, held.reason)
        shared = run.launch.migration.topology != "none" and not crossed
        return repeat_of(run.state, self.island.name, parent, change, shared=shared)

    def _open(self, number: int) -> Experiment:
        island = self.run.state.islands[self.island.name]
        waiting = (island.experiment, *island.queue)
        return next(one for one in waiting if one is not None and one.number == number)

    async def _rebased(self, old: Experiment, onto: str) -> str | _Refusal:
        """Return the commit of the candidate's change on `onto`, or why there is none."""
        run, branches = self.run, self.run.branches
        if run.state.quarantines.took_from_quarantined(old.number):
            return _Refusal("quarantine", run.state.quarantines.reason(old.commit))
        files = await run.offload(branches.apply_change, old.parent, old.commit, onto)
        if isinstance(files, Conflict):
            paths = ", ".join(files.paths)
            return _Refusal(
                "conflict", f"the head has moved and differs in the same lines of {paths}"
            )
        if not files:
            return _Refusal("nothing", "the head has moved and holds this change already")
        admitted = await self._admitted_files(old.number, onto, Proposal(old.hypothesis, files))
        if isinstance(admitted, Refused):
            return _Refusal(admitted.rule, f"on the head as it is now: {admitted.reason}")
        agent = self.island.agent if old.null or not old.agent else old.agent
        message = self._message(old.number, old.hypothesis, agent)
        ref = f"rebased/{old.number}/{onto}"
        # the proposal's own time, so that a resumed run makes the same commit
        when = int(old.received)
        commit: str = await run.offload(
            branches.commit_under_ref, ref, onto, admitted, message, when
        )
        preflight = await self._check(old.number, commit)
        return commit if preflight.ok else _Refusal("preflight", preflight.reason)

    async def _admitted_files(
        self, number: int, parent: str, proposal: Proposal
    ) -> dict[str, Entry | None] | Refused:
        run, launch = self.run, self.run.launch
        head = await run.offload(run.branches.files, parent)
        queue = run.state.islands[self.island.name].queue
        null = any(waiting.null for waiting in queue if waiting.number == number)
        limits = replace(launch.admission, allow_null=null or launch.admission.allow_null)
        genome = run.state.run.genome
        # off the event loop: a hostile proposal can keep the parser busy for seconds
        answer = await run.offload(admit, proposal, head, genome, limits, launch.entry)
        return answer if isinstance(answer, Refused) else dict(answer.files)

    async def _check(self, number: int, commit: str) -> Preflight:
        """Export a candidate for its trial and run its preflight; remove the export if it fails."""
        run, launch, opened = self.run, self.run.launch, self.run.state.run
        genome = launch.folder.genomes / commit
        await run.offload(run.branches.export, commit, genome)
        if not run.preflights.available:
            return Preflight(ok=True)
        trial = Trial(
            id=f"p{number}-{commit}",  # questions, the proposal and its rebases have a commit each
            task=opened.task,
            data=opened.data,
            commit=commit,
            seed=seed_of(opened.seed, "preflight", number),  # not the run's, which tells all others
            rung=opened.rungs[0],
            slice=self.island.slice,
            genome=str(genome),
            entry=launch.entry,
            scratch=str(launch.folder.scratch / "preflights"),
            sandbox=launch.sandbox,
            problem=str(launch.folder.problem),
        )
        preflight = await run.preflights.check(trial)
        if not preflight.ok:
            await run.offload(_remove, genome)
        return preflight

    def _message(self, number: int, hypothesis: str, agent: str) -> str:
        """Return a candidate's commit message: the hypothesis and the `Swarm-*` trailers."""
        subject, _, rest = hypothesis.strip().partition("\n")
        subject, rest = subject.strip(), rest.strip()
        if len(subject) > MAX_SUBJECT_CHARS:
            rest = f"{subject}\n\n{rest}".strip()
            subject = f"{subject[: MAX_SUBJECT_CHARS - 3].rstrip()}..."
        body = f"{rest}\n\n" if rest else ""
        values: trailers.Values = {
            "Run": self.run.state.run.run,
            "Island": self.island.name,
            "Experiment": number,
            "Agent": agent,
        }
        return f"{subject or 'Change'}\n\n{body}{trailers.write(values)}"


def code_added(run: Run, parent: str, commit: str) -> int:
    """Return the lines of code that a commit adds to its parent, less those that it removes.

    Where fewer lines are no win nobody asks, and it is 0.
    """
    if not run.launch.ratchet.simpler.margin:
        return 0
    before, after = run.branches.files(parent), run.branches.files(commit)
    return code_change(before, changed_files(before, after))


def change_of(run: Run, parent: str, commit: str) -> str:
    """Return the digest of what `commit` does to its parent."""
    before, after = run.branches.files(parent), run.branches.files(commit)
    return _digest(before, changed_files(before, after))


def _digest(before: Mapping[str, Entry], changed: Mapping[str, Entry | None]) -> str:
    return change_digest(
        {path: entry.data for path, entry in before.items()},
        {path: entry.data if entry is not None else None for path, entry in changed.items()},
    )


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a proposal is not a candidate: the rule broken, one line, and more for its agent.

    `repeats`: the experiment that tried, or tries, the same change.
    """

    rule: str
    reason: str
    details: str = ""
    repeats: int = 0

    @property
    def line(self) -> str:
        return f"{self.rule}: {self.reason}"

    @property
    def text(self) -> str:
        return f"{self.line}\n{self.details}".rstrip()


def _remove(genome: Path) -> None:
    shutil.rmtree(genome, ignore_errors=True)
