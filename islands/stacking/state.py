"""Stack checks as a fold of events: what is claimed, the check under way, and past results.

A check tries on one base what all islands have kept since then. Pure: the same ledger always leads
to the same next step. A change that several islands kept is one part, in the form that the first of
them kept and that is not quarantined: copies add nothing.

Where a part of the open check, or of the stack that the last one came to, is quarantined, the check
is given up, or its result lost: the parts that are left are then due for a check of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import singledispatchmethod

from islands import events as ev
from islands.events import steering as se
from islands.island_slices import IslandSlices
from islands.records import Purpose
from islands.stacking.check import Claim, Need, StackCheck
from islands.stacking.design import MAX_PARTS, Parts, budget

PURPOSES: frozenset[Purpose] = frozenset({"stack", "ablation"})
"""Purposes of trials that belong to stack checks."""


@dataclass(frozen=True, slots=True)
class StackPolicy:
    """When stack checks run (`stack` in program.md).

    every: a check begins after so many more kept changes, before the trials run out, and after a
      quarantine that took a part of the last one; 0: never
    share: the largest fraction of the run's trials that all checks together may take
    """

    every: int = 0
    share: float = 0.25


NEVER = StackPolicy(every=0)


class StackChecks:
    """The fold of a run's stack checks: what islands claim, the open check, and past results."""

    def __init__(self) -> None:
        self.open: StackCheck | None = None
        self.under_way: dict[int, StackCheck] = {}
        """The open check and those that were given up: older ledgers go on with these."""
        self.judged: list[ev.StackCheckEnded] = []
        self.kept: dict[int, Claim] = {}
        self.left_out: dict[int, Mapping[int, str]] = {}
        """Why parts were left out, by the number of the check and the part."""
        self.count = 0
        self.spent = 0
        self._tried: frozenset[int] = frozenset()
        self.rest_due = False
        """Whether a quarantine took a part of the last check, and none has begun since."""
        self._origins: dict[int, int] = {}
        self._forms: dict[int, list[Claim]] = {}
        """By origin: what islands kept of one change and is not quarantined, the first first."""
        self._held: dict[str, list[int]] = {}
        self._slices = IslandSlices()
        self._run: ev.RunOpened | None = None

    @property
    def claimed(self) -> list[Claim]:
        """The kept changes that no check has tried yet, the strongest evidence first."""
        untried = [claim for number, claim in self.kept.items() if number not in self._tried]
        return sorted(untried, key=lambda claim: claim.evidence)

    def parts(self) -> tuple[int, ...]:
        """Return what a check would try now: the kept changes with the strongest evidence."""
        order = sorted(self.kept.values(), key=lambda claim: claim.evidence)
        return tuple(claim.experiment for claim in order[:MAX_PARTS])

    def due(self, policy: StackPolicy, trials: int, *, last: bool = False) -> tuple[int, ...]:
        """Return the parts of the check that should begin now, empty if none should.

        `trials` is the number of trials of the run so far; `last` means that few are left.
        """
        untried = len(self.kept.keys() - self._tried)
        enough = 1 if last or self.rest_due else policy.every
        if not policy.every or self.open is not None or untried < enough:
            return ()  # called before every experiment, so the usual answer must be cheap
        parts = self.parts()
        islands = {self.kept[number].island for number in parts}
        affordable = self.spent + budget(len(parts)) <= policy.share * trials
        return parts if affordable and len(islands) > 1 else ()

    def wanted(self, slice_: str) -> Need | None:
        """Return what the open check needs of an island on `slice_`, None for nothing."""
        if self.open is None or self.open.running or self.open.slice not in {"", slice_}:
            return None
        return self.open.next()

    def opening(self, base: str, parts: tuple[int, ...], pair: float) -> ev.StackCheckStarted:
        """Return the event that starts a check.

        `pair` is the standard deviation of a paired difference. If it is 0, every difference is
        real: the unit is then an eighth of the smallest claim.
        """
        claims = [abs(self.kept[number].gain.mean) for number in parts]
        least = min((claim for claim in claims if claim > 0), default=1.0)
        return ev.StackCheckStarted(self.count + 1, base, parts, pair or least / 8)

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Fold the next event of the run; most do not concern stack checks."""

    @apply.register
    def _run_opened(self, event: ev.RunOpened) -> None:
        self._run = event

    @apply.register
    def _run_resumed(self, event: ev.RunResumed) -> None:
        del event
        for check in self.under_way.values():
            check.on_resumed()

    @apply.register
    def _island_opened(self, event: ev.IslandOpened) -> None:
        self._slices.opened(event)

    @apply.register
    def _island_reassigned(self, event: ev.IslandReassigned) -> None:
        """Begin another block where an island leaves the slice of this one: nobody may be there."""
        left, check = self._slices.left(event), self.open
        if left and check is not None and check.slice == left and not check.running:
            check.on_resumed()

    @apply.register
    def _verdict_reached(self, event: ev.VerdictReached) -> None:
        if event.verdict != "keep" or event.gain is None or event.null:
            return
        origin = event.origin or event.experiment
        held = self._held.setdefault(event.island, [])
        claim = Claim(
            event.experiment,
            event.island,
            event.parent,
            event.commit,
            event.lines,
            event.gain,
            self._parts_of(held),
            event.recorded,
        )
        held.append(event.experiment)
        self._origins[event.experiment] = origin
        forms = self._forms.setdefault(origin, [])
        forms.append(claim)
        if len(forms) == 1:
            self.kept[event.experiment] = claim

    @apply.register
    def _head_adopted(self, event: ev.HeadAdopted) -> None:
        self._held[event.island] = [*self._held.get(event.source, ())]

    @apply.register
    def _island_restarted(self, event: se.IslandRestarted) -> None:
        self._held[event.island] = [*event.changes]

    @apply.register
    def _commit_quarantined(self, event: ev.CommitQuarantined) -> None:
        claims = [claim for forms in self._forms.values() for claim in forms]
        lost = {claim.experiment for claim in claims if claim.commit in set(event.commits)}
        if lost:
            self._forget(lost)
        checked = self.open.event.parts if self.open is not None else ()
        if not lost.isdisjoint(checked):
            self.open = None
        elif self.judged and self._is_lost(self.judged[-1], lost, event):
            checked = self.judged[-1].parts
        else:
            return
        self._tried -= {*checked}
        self.rest_due = True

    @apply.register
    def _stack_check_started(self, event: ev.StackCheckStarted) -> None:
        if self.open is not None or self._run is None:
            raise ValueError(f"stack check {event.number} begins before the last one ended")
        kept = [self.kept[number] for number in event.parts]
        claims = {
            claim.experiment: replace(claim, beside=self._parts_of(claim.beside)) for claim in kept
        }
        checks = bool(self._run.checks)
        self.open = StackCheck(event, claims, self._run.direction, self._run.seed, checks=checks)
        self.under_way[event.number] = self.open
        self.count = event.number
        self._tried, self.rest_due = frozenset(self.kept), False

    @apply.register
    def _stack_check_assembled(self, event: ev.StackCheckAssembled) -> None:
        self._check(event.number).on_assembled(event)

    @apply.register
    def _commit_checked(self, event: ev.CommitChecked) -> None:
        if event.stack:
            self._check(event.stack).on_checked(event)

    @apply.register
    def _stack_check_ended(self, event: ev.StackCheckEnded) -> None:
        check = self._check(event.number)
        if check.left_out:
            self.left_out[event.number] = check.left_out
        del self.under_way[event.number]
        if self.open is check:
            self.open = None
        self.judged.append(event)

    @apply.register
    def _trial_started(self, event: ev.TrialStarted) -> None:
        if event.purpose in PURPOSES:
            self.spent += 1
            self._check(event.check_number).on_trial_started(event)

    @apply.register
    def _trial_voided(self, event: ev.TrialVoided) -> None:
        check = self._running(event.started)
        if check is not None:
            check.running.remove(event.started.trial)
            self.spent -= 1

    @apply.register
    def _trial_ended(self, event: ev.TrialEnded) -> None:
        check = self._running(event.started)
        if check is not None:
            check.on_trial_ended(event.started, event.outcome.score)

    def _check(self, number: int) -> StackCheck:
        if number not in self.under_way:
            raise ValueError(f"stack check {number} is not under way")
        return self.under_way[number]

    def _running(self, trial: ev.TrialStarted) -> StackCheck | None:
        """Return the check that a trial runs for, None for a trial of something else."""
        check = self.under_way.get(trial.check_number) if trial.purpose in PURPOSES else None
        return check if check is not None and trial.trial in check.running else None

    def _forget(self, lost: set[int]) -> None:
        """Drop quarantined changes; another island's form of one takes its place."""
        sound = {
            origin: [claim for claim in forms if claim.experiment not in lost]
            for origin, forms in self._forms.items()
        }
        self._forms = {origin: forms for origin, forms in sound.items() if forms}
        self.kept = {forms[0].experiment: forms[0] for forms in self._forms.values()}
        self._held = {
            island: [number for number in held if number not in lost]
            for island, held in self._held.items()
        }

    def _parts_of(self, experiments: Iterable[int]) -> Parts:
        """Return the parts that these kept changes are forms of."""
        forms = (self._forms.get(self._origins[number]) for number in experiments)
        return frozenset(each[0].experiment for each in forms if each)

    @staticmethod
    def _is_lost(judged: ev.StackCheckEnded, lost: set[int], event: ev.CommitQuarantined) -> bool:
        """Return whether a quarantine took the stack that a check came to, or a part of it."""
        return judged.commit in event.commits or not lost.isdisjoint(judged.parts)
