"""One stack check under way: what it has found and what it needs next.

A combination of parts is first put together in the object database. A part that does not apply on
those before it is left out of that combination, and the check remembers it. All arms of a block run
on one seed and one slice, that of the block's first trial. A resumed check begins another block:
another seed, whole and base again, perhaps another slice.

Where the problem has checks, a combination must pass them before it is measured as a whole, and
what stays must pass them too: changes that pass one by one may fail together. Of a combination that
fails, the part with the weakest evidence goes without which the rest passes. If there is none, the
weakest go one by one: at most two checks a part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.contract import Direction
from islands import events as ev
from islands.ratchet.noise import gain_of
from islands.records import CheckRequest, Gain, Purpose, TrialRequest
from islands.rng import seed_of
from islands.stacking.design import Arm, Parts, budget, design
from islands.stacking.inference import Evidence, StackPart
from islands.stacking.verdict import Judgement, judge, next_arm, survivors

_NO_GAIN = Gain(0.0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Claim:
    """A kept change.

    experiment, island: where it was kept
    parent, commit: the change
    lines: lines added less lines removed
    gain: the gain it was kept for
    beside: the parts that its island had kept before it
    recorded: when it was kept
    """

    experiment: int
    island: str
    parent: str
    commit: str
    lines: int
    gain: Gain = _NO_GAIN
    beside: Parts = frozenset()
    recorded: float = 0.0

    @property
    def evidence(self) -> tuple[float, int]:
        """The key that sorts claims, the strongest evidence first."""
        return -self.gain.mean / (self.gain.noise or 1e-12), self.experiment


@dataclass(frozen=True, slots=True)
class Assemble:
    """Put a combination of parts together: apply these experiments' changes to `base` in order."""

    check: int
    base: str
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EndCheck:
    """Record the result of the check."""

    judged: ev.StackCheckEnded


Need = Assemble | CheckRequest | TrialRequest | EndCheck


@dataclass(slots=True)
class StackCheck:
    """A stack check under way.

    event: the event that started it
    claims: the kept changes that it tries, by number
    direction, run_seed: of the run
    checks: whether combinations must pass the problem's checks
    made: the commit of each combination put together
    stuck: combinations that do not apply or fail the checks, each with the part to leave out
    failed: why each combination that was checked fails, "" if it passes
    left_out: why each part in `stuck` is left out
    several: whether a combination failed the checks without any one of its parts too
    scores: score of each measured arm, None if its trial failed
    running: ids of its trials under way
    block: number of the current block
    slice: slice of the current block, empty until its first trial starts
    need: what it needs next, None if not worked out yet
    """

    event: ev.StackCheckStarted
    claims: dict[int, Claim]
    direction: Direction
    run_seed: int
    checks: bool = False
    made: dict[Parts, str] = field(default_factory=dict)
    stuck: dict[Parts, int] = field(default_factory=dict)
    failed: dict[Parts, str] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    several: bool = False
    scores: dict[Arm, float | None] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    block: int = 0
    slice: str = ""
    need: Need | None = None

    def __post_init__(self) -> None:
        self.made[frozenset()] = self.event.base

    @property
    def cost(self) -> int:
        """The number of trials that it may still take."""
        return max(0, budget(len(self.event.parts)) - len(self.scores) - len(self.running))

    def fit(self, parts: Parts) -> Parts:
        """Return which of `parts` work on the base together, as far as is known."""
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
        if unready := self._unready(whole):
            return unready
        if len(whole) < 2:  # noqa: PLR2004 - one part alone does not interact
            return EndCheck(self._conflict(whole))
        missing = self._missing_arm(whole)
        if missing is not None:
            return missing
        evidence = self.evidence(whole)
        if len(self.scores) < budget(len(whole)):
            arm = next_arm(evidence, whole, self.block, self.fit)
            if arm is not None:
                return self._measure(arm.parts, "ablation")
        return self._close(evidence, whole)

    def early(self) -> Need | None:
        """Return what ends the check on the evidence so far, None if its design is incomplete."""
        whole = self.fit(frozenset(self.event.parts))
        if whole not in self.made or len(whole) < 2 or self._missing_arm(whole):  # noqa: PLR2004
            return None
        return self._close(self.evidence(whole), whole)

    def _close(self, evidence: Evidence, whole: Parts) -> Need:
        stay = survivors(evidence, whole, self.fit)
        if unready := self._unready(stay):
            return unready
        return EndCheck(self._ended(judge(evidence, whole, self.fit), whole))

    def _unready(self, parts: Parts) -> Need | None:
        """Return what is needed before `parts` can be taken as a whole, None if nothing is."""
        if parts not in self.made:
            return self._assemble(parts)
        passes = self._passes(parts)
        if passes is None:
            return CheckRequest(self.made[parts], stack=self.event.number)
        if passes:
            return None
        rests = (self.fit(parts - {part}) for part in self._weakest_first(parts))
        return self._unready(next(rest for rest in rests if self._passes(rest) is None))

    def _passes(self, parts: Parts) -> bool | None:
        """Return whether `parts` pass the checks, None if they have not been checked."""
        if not self.checks or len(parts) < 2:  # noqa: PLR2004 - one part alone was checked and kept
            return True
        return not self.failed[parts] if parts in self.failed else None

    def _weakest_first(self, parts: Parts) -> tuple[int, ...]:
        return self._ordered(parts)[::-1]

    def _leave_out(self) -> None:
        """Decide which part to leave out of each combination that fails the checks, if known."""
        for parts, reason in sorted(self.failed.items(), key=lambda item: len(item[0])):
            if reason and parts not in self.stuck and (part := self._culprit(parts)) is not None:
                self.stuck[parts] = part
                self.left_out[part] = f"with the others it fails a check: {reason}"

    def _culprit(self, parts: Parts) -> int | None:
        """Return the part to leave out of `parts`, None while a check is missing."""
        weakest_first = self._weakest_first(parts)
        for part in () if self.several else weakest_first:
            passes = self._passes(self.fit(parts - {part}))
            if passes is not False:
                return part if passes else None
        self.several = True
        return weakest_first[0]

    def _missing_arm(self, whole: Parts) -> Need | None:
        """Return a trial of the first arm of the design that is not measured, None if all are.

        Whole and base are measured in every block, the other arms in any.
        """
        numbers = [number for number in self.event.parts if number in whole]
        for place, combination in enumerate(design(numbers)):
            parts = self.fit(combination)
            blocks = [self.block] if place < 2 else range(self.block + 1)  # noqa: PLR2004 - whole, base
            if not any(Arm(parts, block) in self.scores for block in blocks):
                return self._measure(parts, "stack")
        return None

    def evidence(self, whole: Parts) -> Evidence:
        """Return the evidence on the parts of `whole`, in units of a pair's standard deviation.

        An arm whose trial failed counts as worse than every arm that has a score.
        """
        claims = [self.claims[number] for number in self.event.parts if number in whole]
        unit = self.event.pair_sd
        parts = [
            StackPart(claim.experiment, _scaled(claim.gain, 1 / unit), claim.beside & whole)
            for claim in claims
        ]
        gains = {arm: gain_of(0.0, score, self.direction) / unit for arm, score in self._scored()}
        best = max((part.gain.mean for part in parts), default=0.0)
        floor = min(gains.values(), default=0.0) - max(best, 1.0)
        return Evidence(parts, {arm: gains.get(arm, floor) for arm in self.scores})

    def _scored(self) -> list[tuple[Arm, float]]:
        return [(arm, score) for arm, score in self.scores.items() if score is not None]

    def _measure(self, parts: Parts, purpose: Purpose) -> Need:
        commit = self.made.get(parts)
        if commit is None:
            return self._assemble(parts)
        seed = seed_of(self.run_seed, "stack", self.event.number, self.block)
        return TrialRequest(commit, seed, purpose, check_number=self.event.number)

    def _assemble(self, parts: Parts) -> Assemble:
        return Assemble(self.event.number, self.event.base, self._ordered(parts))

    def _ordered(self, parts: Parts) -> tuple[int, ...]:
        return tuple(number for number in self.event.parts if number in parts)

    def _ended(self, judgement: Judgement, whole: Parts) -> ev.StackCheckEnded:
        unit, dropped = self.event.pair_sd, whole - judgement.stay
        return ev.StackCheckEnded(
            number=self.event.number,
            verdict=judgement.verdict,
            commit=self.made[judgement.stay],
            parts=self._ordered(judgement.stay),
            dropped=self._ordered(frozenset(self.event.parts) - judgement.stay),
            culprits=judgement.culprits,
            expected=_scaled(judgement.expected, unit),
            observed=_scaled(judgement.observed, unit),
            interaction=_scaled(judgement.interaction, unit),
            lines_saved=sum(self.claims[number].lines for number in dropped),
            blame=tuple(_scaled(gain, unit) for gain in judgement.blame),
            gain=_scaled(judgement.gain, unit),
        )

    def _conflict(self, whole: Parts) -> ev.StackCheckEnded:
        """Return the end of a check whose parts do not apply on one base together."""
        out = frozenset(self.event.parts) - whole
        return ev.StackCheckEnded(
            number=self.event.number,
            verdict="conflict",
            commit=self.made[whole],
            parts=self._ordered(whole),
            dropped=self._ordered(out),
            culprits=(self.event.parts,),
            expected=_NO_GAIN,
            observed=_NO_GAIN,
            interaction=_NO_GAIN,
        )

    def on_assembled(self, event: ev.StackCheckAssembled) -> None:
        """Record that a combination was put together, or that it conflicts."""
        parts = frozenset(event.parts)
        if event.commit:
            self.made[parts] = event.commit
        else:
            self.stuck[parts] = event.stuck
            self.left_out[event.stuck] = f"conflicts in {event.conflict}"
            self._leave_out()
        self.need = None

    def on_checked(self, event: ev.CommitChecked) -> None:
        """Record whether a combination passed the problem's checks."""
        for parts, commit in self.made.items():
            if commit == event.commit:
                self.failed[parts] = "" if event.ok else event.reason
        self._leave_out()
        self.need = None

    def on_trial_started(self, trial: ev.TrialStarted) -> None:
        """Record that one of its trials runs."""
        self.running.add(trial.trial)
        self.slice = self.slice or trial.slice

    def on_trial_ended(self, trial: ev.TrialStarted, score: float | None) -> None:
        """Record the score of one of its trials, None if it failed."""
        self.running.remove(trial.trial)
        parts = next(parts for parts, commit in self.made.items() if commit == trial.commit)
        self.scores[Arm(parts, self.block)] = score
        self.need = None

    def on_resumed(self) -> None:
        """Begin another block: the slice may be another one, or may have drifted."""
        self.block += any(arm.block == self.block for arm in self.scores)
        self.slice, self.need = "", None


def _scaled(gain: Gain, by: float) -> Gain:
    return Gain(gain.mean * by, gain.noise * by, gain.pairs, gain.lfsr)
