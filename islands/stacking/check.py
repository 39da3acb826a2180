"""Stack checks as a fold of events: what is claimed, what a check has found, what it needs next.

A check tries on one base what all islands have kept since then (islands/stacking/inference.py
designs and
judges it). A combination of parts is put together in the object database first; where a part does
not go on those before it, it is left out of that combination, and what is learnt so is the fold's
to remember. All arms of a block run on one seed and on one slice, the one that took the first of
them. A resumed check begins another block: another seed, whole and base anew, maybe another slice.

Pure: the same ledger always leads to the same next step.

A change that several islands kept is one part, as the first of them has it: copies add nothing.

Not covered: a part that is set apart while it is checked (the check goes on, and what comes of it
is not promoted).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod

from harness.contract import Direction
from islands import events as ev
from islands.ratchet.noise import gain_of
from islands.records import Gain, Purpose, TrialRequest
from islands.rng import seed_of
from islands.stacking.inference import (
    TOP,
    Arm,
    Evidence,
    Judgement,
    Parts,
    StackPart,
    budget,
    design,
    judge,
    next_arm,
    survivors,
)

PURPOSES: frozenset[Purpose] = frozenset({"stack", "ablation"})


NONE = Gain(0.0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class StackPolicy:
    """What program.md's `stack` says.

    A check begins whenever `every` more changes were kept (0: never), and before the trials run
    out, as long as all checks together take at most `share` of the run's trials.
    """

    every: int = 0
    share: float = 0.25


NEVER = StackPolicy(every=0)


@dataclass(frozen=True, slots=True)
class Claim:
    """A kept change, and the experiments that its island had kept before it."""

    experiment: int
    island: str
    parent: str
    commit: str
    lines: int
    gain: Gain = NONE
    beside: Parts = frozenset()

    @property
    def evidence(self) -> tuple[float, int]:
        """Return what orders claims, the strongest first."""
        return -self.gain.mean / (self.gain.noise or 1e-12), self.experiment


@dataclass(frozen=True, slots=True)
class Assemble:
    """Put a combination of parts together: the experiments, in order."""

    check: int
    base: str
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EndCheck:
    """Record what the check came to."""

    judged: ev.StackCheckEnded


Need = Assemble | TrialRequest | EndCheck


@dataclass(slots=True)
class StackCheck:
    """A stack check under way, and what it has found so far (a score of None: the arm broke)."""

    event: ev.StackCheckStarted
    claims: dict[int, Claim]
    direction: Direction
    run_seed: int
    made: dict[Parts, str] = field(default_factory=dict)
    stuck: dict[Parts, int] = field(default_factory=dict)
    scores: dict[Arm, float | None] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    block: int = 0
    slice: str = ""
    need: Need | None = None

    def __post_init__(self) -> None:
        self.made[frozenset()] = self.event.base

    @property
    def cost(self) -> int:
        """Return the trials that it may still take."""
        return max(0, budget(len(self.event.parts)) - len(self.scores) - len(self.running))

    def fit(self, parts: Parts) -> Parts:
        """Return what of `parts` goes on the base together, as far as it is known."""
        while parts in self.stuck:
            parts -= {self.stuck[parts]}
        return parts

    def next(self) -> Need:
        """Return what it needs next."""
        if self.need is None:
            self.need = self._next()
        return self.need

    def _next(self) -> Need:
        whole = self.fit(frozenset(self.event.parts))
        if whole not in self.made:
            return self._assemble(whole)
        if len(whole) < 2:  # noqa: PLR2004 - there is nothing to add up
            return EndCheck(self._conflict(whole))
        designed = self._designed(whole)
        if designed is not None:
            return designed
        evidence = self.evidence(whole)
        if len(self.scores) < budget(len(whole)):
            arm = next_arm(evidence, whole, self.block, self.fit)
            if arm is not None:
                return self._measure(arm.parts, "ablation")
        return self._close(evidence, whole)

    def early(self) -> Need | None:
        """Return what closes the check on what is known, None where its design is incomplete."""
        whole = self.fit(frozenset(self.event.parts))
        if whole not in self.made or len(whole) < 2 or self._designed(whole):  # noqa: PLR2004
            return None
        return self._close(self.evidence(whole), whole)

    def _close(self, evidence: Evidence, whole: Parts) -> Need:
        stay = survivors(evidence, whole, self.fit)
        if stay not in self.made:
            return self._assemble(stay)
        return EndCheck(self._judged(judge(evidence, whole, self.fit), whole))

    def _designed(self, whole: Parts) -> Need | None:
        """Return the first arm of the design that is missing, whole and base in every block."""
        numbers = [number for number in self.event.parts if number in whole]
        for place, wanted in enumerate(design(numbers)):
            parts = self.fit(wanted)
            blocks = [self.block] if place < 2 else range(self.block + 1)  # noqa: PLR2004
            if not any(Arm(parts, block) in self.scores for block in blocks):
                return self._measure(parts, "stack")
        return None

    def evidence(self, whole: Parts) -> Evidence:
        """Return what is known of the parts of `whole`, in units of a paired difference.

        An arm that broke counts as less than the worst one that did not: it has lost everything.
        """
        claims = [self.claims[number] for number in self.event.parts if number in whole]
        unit = self.event.unit
        parts = [
            StackPart(each.experiment, _scaled(each.gain, 1 / unit), each.beside & whole)
            for each in claims
        ]
        known = {arm: gain_of(0.0, score, self.direction) / unit for arm, score in self._scored()}
        most = max((part.gain.mean for part in parts), default=0.0)
        floor = min(known.values(), default=0.0) - max(most, 1.0)
        return Evidence(parts, {arm: known.get(arm, floor) for arm in self.scores})

    def _scored(self) -> list[tuple[Arm, float]]:
        return [(arm, score) for arm, score in self.scores.items() if score is not None]

    def _measure(self, parts: Parts, purpose: Purpose) -> Need:
        commit = self.made.get(parts)
        if commit is None:
            return self._assemble(parts)
        seed = seed_of(self.run_seed, "stack", self.event.check, self.block)
        return TrialRequest(commit, seed, purpose, check=self.event.check)

    def _assemble(self, parts: Parts) -> Assemble:
        return Assemble(self.event.check, self.event.base, self._ordered(parts))

    def _ordered(self, parts: Parts) -> tuple[int, ...]:
        return tuple(number for number in self.event.parts if number in parts)

    def _judged(self, found: Judgement, whole: Parts) -> ev.StackCheckEnded:
        unit, dropped = self.event.unit, whole - found.stay
        return ev.StackCheckEnded(
            check=self.event.check,
            verdict=found.verdict,
            commit=self.made[found.stay],
            parts=self._ordered(found.stay),
            dropped=self._ordered(frozenset(self.event.parts) - found.stay),
            culprits=found.culprits,
            expected=_scaled(found.expected, unit),
            observed=_scaled(found.observed, unit),
            interaction=_scaled(found.interaction, unit),
            lines_saved=sum(self.claims[number].lines for number in dropped),
            blame=tuple(_scaled(gain, unit) for gain in found.blame),
            gain=_scaled(found.gain, unit),
        )

    def _conflict(self, whole: Parts) -> ev.StackCheckEnded:
        """Return the end of a check whose parts do not go on one base together."""
        out = frozenset(self.event.parts) - whole
        return ev.StackCheckEnded(
            check=self.event.check,
            verdict="conflict",
            commit=self.made[whole],
            parts=self._ordered(whole),
            dropped=self._ordered(out),
            culprits=(self.event.parts,),
            expected=NONE,
            observed=NONE,
            interaction=NONE,
        )

    def took(self, event: ev.StackCheckAssembled) -> None:
        """Take in that a combination was put together, or could not be."""
        parts = frozenset(event.parts)
        if event.commit:
            self.made[parts] = event.commit
        else:
            self.stuck[parts] = event.stuck
        self.need = None

    def began(self, trial: ev.TrialStarted) -> None:
        """Take in that one of its trials runs."""
        self.running.add(trial.trial)
        self.slice = self.slice or trial.slice

    def ended(self, trial: ev.TrialStarted, score: float | None) -> None:
        """Take in what one of its trials came to."""
        self.running.remove(trial.trial)
        parts = next(parts for parts, commit in self.made.items() if commit == trial.commit)
        self.scores[Arm(parts, self.block)] = score
        self.need = None

    def resumed(self) -> None:
        """Begin another block: the slice may be another one, or have drifted."""
        self.block += any(arm.block == self.block for arm in self.scores)
        self.slice, self.need = "", None


class StackChecks:
    """The fold: what islands claim, the check under way, and all that were judged."""

    def __init__(self) -> None:
        self.open: StackCheck | None = None
        self.judged: list[ev.StackCheckEnded] = []
        self.kept: dict[int, Claim] = {}
        self.conflicts: dict[int, str] = {}
        self.count = 0
        self.spent = 0
        self._tried: frozenset[int] = frozenset()
        self._part_of: dict[int, int] = {}
        self._held: dict[str, list[int]] = {}
        self._run: ev.RunOpened | None = None

    @property
    def claimed(self) -> list[Claim]:
        """Return the kept changes that no check has tried yet, the strongest evidence first."""
        fresh = [each for number, each in self.kept.items() if number not in self._tried]
        return sorted(fresh, key=lambda each: each.evidence)

    def parts(self) -> tuple[int, ...]:
        """Return what a check would try now: all that is kept, the strongest evidence first."""
        order = sorted(self.kept.values(), key=lambda each: each.evidence)
        return tuple(each.experiment for each in order[:TOP])

    def due(self, policy: StackPolicy, trials: int, *, last: bool = False) -> tuple[int, ...]:
        """Return the parts of the check that should begin now, none where none should.

        `trials` are all of the run so far; `last`: soon there are no more.
        """
        fresh = len(self.kept.keys() - self._tried)
        if not policy.every or self.open is not None or fresh < (1 if last else policy.every):
            return ()  # asked before every experiment: most often without a look at all of them
        parts = self.parts()
        islands = {self.kept[number].island for number in parts}
        affordable = self.spent + budget(len(parts)) <= policy.share * trials
        return parts if affordable and len(islands) > 1 else ()

    def wanted(self, slice_: str) -> Need | None:
        """Return what the check under way needs of an island on `slice_`, None for nothing."""
        if self.open is None or self.open.running or self.open.slice not in {"", slice_}:
            return None
        return self.open.next()

    def opening(self, base: str, parts: tuple[int, ...], pair: float) -> ev.StackCheckStarted:
        """Return the event that begins a check; `pair` is the spread of a paired difference.

        Where nothing varies, every difference is real: the unit is below the smallest claim.
        """
        claims = [abs(self.kept[number].gain.mean) for number in parts]
        least = min((claim for claim in claims if claim > 0), default=1.0)
        return ev.StackCheckStarted(self.count + 1, base, parts, pair or least / 8)

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Take in the next event of the run; most are no concern of stack checks."""

    @apply.register
    def _(self, event: ev.RunOpened) -> None:
        self._run = event

    @apply.register
    def _(self, event: ev.RunResumed) -> None:
        del event
        if self.open is not None:
            self.open.resumed()

    @apply.register
    def _(self, event: ev.VerdictReached) -> None:
        if event.verdict != "keep" or event.gain is None or event.null:
            return
        origin = event.origin or event.experiment
        held = self._held.setdefault(event.island, [])
        beside, part = frozenset(held), self._part_of.setdefault(origin, event.experiment)
        held.append(part)
        if part != event.experiment:
            return
        self.kept[event.experiment] = Claim(
            event.experiment,
            event.island,
            event.parent,
            event.commit,
            event.lines,
            event.gain,
            beside,
        )

    @apply.register
    def _(self, event: ev.HeadAdopted) -> None:
        self._held[event.island] = [*self._held.get(event.source, ())]

    @apply.register
    def _(self, event: ev.CommitQuarantined) -> None:
        apart = set(event.commits)
        self.kept = {n: each for n, each in self.kept.items() if each.commit not in apart}

    @apply.register
    def _(self, event: ev.StackCheckStarted) -> None:
        if self.open is not None or self._run is None:
            raise ValueError(f"stack check {event.check} begins before the one before it ended")
        claims = {number: self.kept[number] for number in event.parts}
        self.open = StackCheck(event, claims, self._run.direction, self._run.seed)
        self.count, self.conflicts = event.check, {}
        self._tried = frozenset(self.kept)

    @apply.register
    def _(self, event: ev.StackCheckAssembled) -> None:
        self._at(event.check).took(event)
        if event.stuck:
            self.conflicts[event.stuck] = event.conflict

    @apply.register
    def _(self, event: ev.StackCheckEnded) -> None:
        self._at(event.check)
        self.open = None
        self.judged.append(event)

    @apply.register
    def _(self, event: ev.TrialStarted) -> None:
        if event.purpose in PURPOSES:
            self.spent += 1
            self._at(event.check).began(event)

    @apply.register
    def _(self, event: ev.TrialVoided) -> None:
        if self.open is not None and event.started.trial in self.open.running:
            self.open.running.remove(event.started.trial)
            self.spent -= 1

    @apply.register
    def _(self, event: ev.TrialEnded) -> None:
        if self.open is not None and event.started.trial in self.open.running:
            self.open.ended(event.started, event.outcome.score)

    def _at(self, check: int) -> StackCheck:
        if self.open is None or self.open.event.check != check:
            raise ValueError(f"stack check {check} is not under way")
        return self.open


def _scaled(gain: Gain, by: float) -> Gain:
    return Gain(gain.mean * by, gain.noise * by, gain.pairs, gain.lfsr)
