"""The fold of a run's promotions: the stack that is due, the open attempt, and past results.

It also keeps what promotions need of the run: who made each change, the best near misses, and which
queries of held-out splits were made.

A stack is sound if neither its base, its commit nor any of its parts is quarantined. Only sound
ones are in force: where the latest is quarantined, the latest that is sound counts again, and an
open promotion of a quarantined one is given up, without a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatchmethod
from typing import Protocol

from islands import events as ev
from islands.island_slices import IslandSlices
from islands.promotion.attempt import PromotionAttempt, PromotionRequest
from islands.records import Contender, TrialRequest

NEAR_MISSES = 4
"""Number of near misses, the best ones, that a promotion measures beside its stack's parts."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who made a change.

    island: island that it was kept on
    agent: agent that proposed it
    usd: what the proposal cost, US dollars
    hypothesis: what the agent expected
    """

    island: str
    agent: str
    usd: float
    hypothesis: str


class Stack(Protocol):
    """A stack on its base: of a promotion, asked for, open or ended, or the consensus."""

    @property
    def base(self) -> str:
        """The commit that it is compared with."""

    @property
    def commit(self) -> str:
        """The stack."""

    @property
    def parts(self) -> tuple[int, ...]:
        """The experiments whose changes it holds."""


class Promotions:
    """The fold of a run's promotions, its consensus and its queries of held-out splits.

    open, starts, ended: the open attempt, all starts by number, and all ends
    consensus, drafted: the latest sound consensus, and the latest draft of one
    branch: the commit where the consensus branch is, "" where there is none
    prefix_runs: whether each drafted commit runs
    checked: commits that passed the problem's checks, of kept changes and their combinations
    failing: why the stack of a promotion fails the checks, by its number
    sealed, sealed_scores: the result on the sealed split, and its scores by commit and seed
    hidden_queries: numbers of the promotions that queried the hidden split
    near_misses, changes: the best near misses; kept changes by experiment, quarantined ones too
    attributions: who made each change that was kept or is open, by experiment
    checked_stack: the end of the latest stack check that came to a sound stack, and its base
    """

    def __init__(self) -> None:
        self.open: PromotionAttempt | None = None
        self.starts: dict[int, ev.PromotionStarted] = {}
        self.ended: list[ev.PromotionEnded] = []
        self.consensus: ev.ConsensusMoved | None = None
        self.drafted: ev.ConsensusDrafted | None = None
        self.prefix_runs: dict[str, bool] = {}
        self.checked: set[str] = set()
        self.failing: dict[int, str] = {}
        self.sealed: ev.SealedScored | None = None
        self.sealed_scores: dict[tuple[str, int], float | None] = {}
        self.hidden_queries: set[int] = set()
        self.near_misses: list[Contender] = []
        self.changes: dict[int, Contender] = {}
        self.attributions: dict[int, Attribution] = {}
        self.checked_stack: tuple[ev.StackCheckEnded, str] | None = None
        self._bases: dict[int, str] = {}
        self._checks: list[tuple[ev.StackCheckEnded, str]] = []
        self._moves: list[ev.ConsensusMoved] = []
        self._quarantined: set[str] = set()
        self._run: ev.RunOpened | None = None
        self._owners: dict[int, str] = {}
        self._slices = IslandSlices()

    def count(self) -> int:
        """Return the number of promotions started so far."""
        return len(self.starts)

    def promotion_of(self, built: ev.ConsensusMoved) -> ev.PromotionEnded:
        """Return the promotion that a consensus is built from: others may have followed it."""
        return next(ended for ended in self.ended if ended.number == built.promotion)

    @property
    def branch(self) -> str:
        """The commit where the consensus branch is, "" where there is none."""
        return self._moves[-1].commit if self._moves else ""

    def is_sound(self, stack: Stack) -> bool:
        """Return whether neither the stack, its base nor any part of it is quarantined."""
        return self._sound(stack.base, stack.commit, stack.parts)

    def unbuilt_promotion(self) -> ev.PromotionEnded | None:
        """Return the last promotion if it transfers, is sound, and has no consensus yet."""
        last = self.ended[-1] if self.ended else None
        if last is None or last.verdict != "transfers" or last.number in self.failing:
            return None
        built = bool(self._moves) and self._moves[-1].promotion >= last.number
        return last if not built and self.is_sound(last) else None

    def untested_prefixes(self, running: Iterable[ev.TrialStarted]) -> list[str]:
        """Return the drafted commits that neither were run nor are among the `running` trials."""
        taken = {trial.commit for trial in running if trial.purpose == "promotion"}
        prefixes = self.drafted.changes[:-1] if self.drafted is not None else ()
        return [
            commit for commit in prefixes if commit not in self.prefix_runs and commit not in taken
        ]

    def all_prefixes_tested(self) -> bool:
        """Return whether all drafted commits have been run."""
        return self.drafted is not None and all(
            commit in self.prefix_runs for commit in self.drafted.changes[:-1]
        )

    def due(self) -> PromotionRequest | None:
        """Return the promotion that is due: the last checked stack, at its next rung."""
        if self.open is not None or self.checked_stack is None or self._run is None:
            return None
        stack, base = self.checked_stack
        gain = stack.gain or stack.observed
        if stack.verdict == "conflict" or not stack.parts or gain.mean <= 0:
            return None
        return self.at_next_rung(
            PromotionRequest(1, base, stack.commit, stack.parts, gain, stack.number)
        )

    def at_next_rung(self, request: PromotionRequest) -> PromotionRequest | None:
        """Return `request` at its next rung, None if there is none or it did not transfer."""
        top = len(self._run.rungs) - 1 if self._run is not None else 0
        rung, before = min(1, top), request.before
        for past in self.ended:
            if past.commit == request.commit and past.base == request.base:
                if past.verdict != "transfers" or past.rung >= top:
                    return None
                rung, before = past.rung + 1, past.after
        return PromotionRequest(
            rung, request.base, request.commit, request.parts, before, request.stack
        )

    def contenders(self, request: PromotionRequest) -> list[Contender]:
        """Return the parts of a stack and the best near misses, strongest evidence first."""
        parts = [self.changes[part] for part in request.parts if part in self.changes]
        return [*sorted(parts, key=_evidence), *self.near_misses]

    def next_trial(self, slice_: str, running: Iterable[ev.TrialStarted]) -> TrialRequest | None:
        """Return the trial that the open promotion needs next on a slice, if any."""
        if self.open is None:
            return None
        number = self.open.event.number
        taken = {
            self.open.request(trial.commit, trial.seed, trial.split, trial.share)
            for trial in running
            if trial.purpose == "promotion" and trial.check_number == number
        }
        for request in self.open.missing():
            owner = self.open.owners.get(request.seed, slice_)
            if request not in taken and owner == slice_:
                return request
        return None

    def next_sealed_trial(
        self, requests: Sequence[TrialRequest], slice_: str, running: Iterable[ev.TrialStarted]
    ) -> TrialRequest | None:
        """Return which of the sealed `requests` a slice may run: a seed's pair on one."""
        taken = {(trial.commit, trial.seed) for trial in running if trial.split == "sealed"}
        for request in requests:
            key = request.commit, request.seed
            free = key not in self.sealed_scores and key not in taken
            if free and self._owners.get(request.seed, slice_) == slice_:
                return request
        return None

    def finished(self) -> bool:
        """Return whether the open promotion has every score that its verdict needs."""
        return self.open is not None and not self.open.missing()

    def forget(self, experiment: int) -> None:
        """Drop the attribution of `experiment`, which ended without being kept."""
        self.attributions.pop(experiment, None)

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Take in the next event of the run; most do not concern promotions."""

    @apply.register
    def _run_opened(self, event: ev.RunOpened) -> None:
        self._run = event

    @apply.register
    def _run_resumed(self, event: ev.RunResumed) -> None:
        del event
        self._owners.clear()  # a resumed run may have other islands and slices
        if self.open is not None:
            self.open.owners.clear()

    @apply.register
    def _island_opened(self, event: ev.IslandOpened) -> None:
        self._slices.opened(event)

    @apply.register
    def _island_reassigned(self, event: ev.IslandReassigned) -> None:
        """Let any slice finish the seeds of the one that an island leaves: nobody may be there."""
        left = self._slices.left(event)
        for owners in (self._owners, self.open.owners if self.open is not None else {}):
            for seed in [seed for seed, owner in owners.items() if owner == left]:
                del owners[seed]

    @apply.register
    def _proposal_received(self, event: ev.ProposalReceived) -> None:
        self.attributions[event.experiment] = Attribution(
            event.island, event.agent, event.usage.usd, event.hypothesis
        )

    @apply.register
    def _migrant_offered(self, event: ev.MigrantOffered) -> None:
        origin = self.attributions.get(event.migrant.origin)
        agent = origin.agent if origin is not None else "migration"
        self.attributions[event.experiment] = Attribution(
            event.island, agent, 0.0, event.migrant.hypothesis
        )

    @apply.register
    def _verdict_reached(self, event: ev.VerdictReached) -> None:
        if event.gain is None or event.null:
            return
        change = Contender(event.experiment, event.parent, event.commit, event.gain)
        if event.verdict == "keep":
            self.changes[event.experiment] = change
        elif event.gain.pairs > 1 and event.gain.mean > 0:
            self.near_misses = sorted([*self.near_misses, change], key=_evidence)[:NEAR_MISSES]

    @apply.register
    def _commit_checked(self, event: ev.CommitChecked) -> None:
        if event.ok:
            self.checked.add(event.commit)
        elif event.promotion:
            self.failing[event.promotion] = event.reason

    @apply.register
    def _stack_check_started(self, event: ev.StackCheckStarted) -> None:
        self._bases[event.number] = event.base

    @apply.register
    def _stack_check_ended(self, event: ev.StackCheckEnded) -> None:
        self._checks.append((event, self._bases.pop(event.number)))
        self._choose_sound()

    @apply.register
    def _promotion_started(self, event: ev.PromotionStarted) -> None:
        if self.open is not None or self._run is None:
            raise ValueError(f"promotion {event.number} begins before the one before it ended")
        self.open = PromotionAttempt(event, self._run.direction, self._run.seed)
        self.starts[event.number] = event
        self._choose_sound()

    @apply.register
    def _trial_started(self, event: ev.TrialStarted) -> None:
        if event.purpose != "promotion":
            return
        if event.split == "sealed":
            self._owners.setdefault(event.seed, event.slice)
        elif self.open is not None:
            self.open.owners.setdefault(event.seed, event.slice)
        if event.split == "hidden":
            self.hidden_queries.add(event.check_number)

    @apply.register
    def _trial_ended(self, event: ev.TrialEnded) -> None:
        if event.started.purpose != "promotion":
            return
        trial, score = event.started, event.outcome.score
        if trial.split == "sealed":
            self.sealed_scores[trial.commit, trial.seed] = score
        elif self.open is not None and trial.check_number == self.open.event.number:
            request = self.open.request(trial.commit, trial.seed, trial.split, trial.share)
            self.open.scores[request] = score
        elif self.drafted is not None and trial.check_number == self.drafted.promotion:
            self.prefix_runs[trial.commit] = event.outcome.failure is None

    @apply.register
    def _promotion_ended(self, event: ev.PromotionEnded) -> None:
        self.ended.append(event)
        self.open = None

    @apply.register
    def _consensus_drafted(self, event: ev.ConsensusDrafted) -> None:
        self.drafted, self.prefix_runs = event, {}

    @apply.register
    def _consensus_moved(self, event: ev.ConsensusMoved) -> None:
        self._moves.append(event)
        self.sealed_scores.clear()  # of another consensus, maybe at another rung
        self._choose_sound()

    @apply.register
    def _commit_quarantined(self, event: ev.CommitQuarantined) -> None:
        self._quarantined |= {*event.commits}
        self.near_misses = [
            change for change in self.near_misses if change.commit not in self._quarantined
        ]
        self._choose_sound()

    @apply.register
    def _sealed_scored(self, event: ev.SealedScored) -> None:
        self.sealed = event

    def _choose_sound(self) -> None:
        """Take the latest sound results, and give up an open promotion that is not sound.

        Every event that could change the choice calls this: ledgers of older versions go on with
        checks and promotions of what was quarantined meanwhile.
        """
        sound_checks = (
            (ended, base)
            for ended, base in reversed(self._checks)
            if self._sound(base, ended.commit, ended.parts)
        )
        self.checked_stack = next(sound_checks, None)
        self.consensus = next(filter(self.is_sound, reversed(self._moves)), None)
        if self.open is not None and not self.is_sound(self.open.event):
            self.open = None

    def _sound(self, base: str, commit: str, parts: Iterable[int]) -> bool:
        changes = {self.changes[part].commit for part in parts if part in self.changes}
        return self._quarantined.isdisjoint({base, commit, *changes})


def _evidence(change: Contender) -> tuple[float, int]:
    """Return the sort key by gain in standard errors, strongest first."""
    before = change.before
    return (-before.mean / before.noise if before.noise else -math.inf, change.experiment)
