"""Promotion: a stack that was found on a cheap rung is measured again on the next one.

The stack and the base run on common fresh seeds of the higher rung, audited sharply; then its
parts and the best near misses, each against its own parent (the very two commits that its gain on
the rung below compares), by successive halving: all that the budget allows on two seeds, the
better half on four, and so on. Where the task holds out a hidden part, it is asked for one bit: is
the stack better there, too? Its scores stay in the ledger and reach no agent.

*Time to target* is how many of the rung's seconds the stack needs for what the base reaches in all
of them. A candidate's own log could claim anything, and a checkpoint on the way is not what a
shorter run ends with, since schedules end with the budget. So the stack is trained on a share of
the seconds instead: half of them, then a quarter or 0.71, whichever side the target lies on. What
lies between two such budgets is interpolated in the logarithm of time. The two budgets that the
target lies between are told beside it: they are its resolution, a factor of 1.4 to 2.

Everything here is a fold of events or a pure function of it. All trials of one seed run on one
slice, the one that took the seed first.

Not covered: interactions of higher order with depth; the noise of time to target; after a resume
the rest of a seed may run on another slice than its beginning did.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from harness.contract import Direction, Part
from islands import events as ev
from islands.ratchet import Noise, seed_of, signed
from islands.records import NULL, Agreement, Contender, Gain, Measured

Vector = NDArray[np.float64]

CERTAIN = 0.05
"""Doubt below which a gain transfers; above its counterpart it reverses."""

NEAR_MISSES = 4
"""Near misses, the best, that a promotion takes along."""

HIDDEN_SEEDS = 2
TIMED_SEEDS = 2

HALF, QUARTER, ROOT = 0.5, 0.25, math.sqrt(0.5)
"""Shares of the rung's seconds on which time to target is sought."""

_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Policy:
    """What program.md's `promotion` says.

    `auto`: promote each stack that was judged. `seeds` pairs on the stack, `trials` at most for
    all of a promotion, `hidden` queries of the hidden part in the run's life.
    """

    auto: bool = True
    seeds: int = 4
    trials: int = 32
    hidden: int = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """One trial that a promotion needs."""

    commit: str
    seed: int
    part: Part = "dev"
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A stack that could be promoted to `rung`; `stack` is its check, 0 for an island's head."""

    rung: int
    base: str
    commit: str
    parts: tuple[int, ...]
    before: Gain
    stack: int = 0


@dataclass(slots=True)
class Open:
    """A promotion under way: what it has measured (None: failed) and which slice has which seed."""

    event: ev.PromotionOpened
    direction: Direction
    run_seed: int
    known: dict[Asked, float | None] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """Return its seeds, which nothing else has run on."""
        check, count = self.event.check, self.event.seeds
        return [seed_of(self.run_seed, "promotion", check, k) for k in range(count)]

    def missing(self) -> list[Asked]:
        """Return the trials that come next, none where all is known."""
        for stage in (self._whole(), *self._rounds(), self._hidden(), self._timed()):
            left = [asked for asked in stage if asked not in self.known]
            if left:
                return left
        return []

    def pairs(
        self, old: str, new: str, part: Part = "dev", share: float = 1.0, count: int | None = None
    ) -> list[float]:
        """Return the gains of `new`, on a share of the time, over `old` on the first seeds."""
        found = []
        for seed in self.seeds[:count]:
            before = self.known.get(Asked(old, seed, part))
            after = self.known.get(Asked(new, seed, part, share))
            if before is not None and after is not None:
                found.append(signed(before, after, self.direction))
        return found

    def _whole(self) -> list[Asked]:
        """Stack and base by turns, whichever comes first changing from seed to seed."""
        commits = [self.event.base, self.event.commit]
        return [
            Asked(commit, seed)
            for n, seed in enumerate(self.seeds)
            for commit in commits[:: 1 if n % 2 else -1]
        ]

    def _rounds(self) -> Iterator[list[Asked]]:
        """Successive halving of the contenders: each round asks more of fewer."""
        planned = set(self._whole())
        left = self.event.trials - self._reserved()
        field_, take = list(self.event.contenders), min(2, self.event.seeds)
        while field_:
            asked = self._of(field_, take, planned)
            while len(asked) > left:
                field_.pop()
                asked = self._of(field_, take, planned)
            yield asked
            planned.update(asked)
            left -= len(asked)
            if take >= self.event.seeds or any(each not in self.known for each in asked):
                return
            field_ = sorted(field_, key=self._standing)[: (len(field_) + 1) // 2]
            take = min(2 * take, self.event.seeds)

    def _of(self, field_: Sequence[Contender], take: int, planned: set[Asked]) -> list[Asked]:
        wanted = {
            Asked(commit, seed): None
            for seed in self.seeds[:take]
            for each in field_
            for commit in (each.parent, each.commit)
        }
        return [asked for asked in wanted if asked not in planned]

    def _standing(self, contender: Contender) -> float:
        pairs = self.pairs(contender.parent, contender.commit)
        return -fmean(pairs) if pairs else math.inf

    def _reserved(self) -> int:
        hidden = 2 * min(HIDDEN_SEEDS, self.event.seeds) if self.event.hidden else 0
        timed = 2 * min(TIMED_SEEDS, self.event.seeds) if self.event.timed else 0
        return 2 * self.event.seeds + hidden + timed

    def _gains(self) -> bool:
        pairs = self.pairs(self.event.base, self.event.commit)
        return bool(pairs) and fmean(pairs) > 0

    def _hidden(self) -> list[Asked]:
        if not self.event.hidden or not self._gains():
            return []
        commits = (self.event.commit, self.event.base)
        seeds = self.seeds[:HIDDEN_SEEDS]
        return [Asked(commit, seed, "hidden") for seed in seeds for commit in commits]

    def _timed(self) -> list[Asked]:
        if not self.event.timed or not self._gains():
            return []
        commit, seeds = self.event.commit, self.seeds[:TIMED_SEEDS]
        half = [Asked(commit, seed, share=HALF) for seed in seeds]
        if any(asked not in self.known for asked in half):
            return half
        lead = self._lead(HALF)
        if lead is None:
            return half
        other = QUARTER if lead >= 0 else ROOT
        return [*half, *(Asked(commit, seed, share=other) for seed in seeds)]

    def _lead(self, share: float) -> float | None:
        """Return by how much the stack on `share` of the time beats the base on all of it."""
        pairs = self.pairs(self.event.base, self.event.commit, share=share, count=TIMED_SEEDS)
        return fmean(pairs) if pairs else None

    def time_to_target(self, seconds: float) -> tuple[float, tuple[float, float]]:
        """Return the seconds to the base's score on all `seconds`, and what they lie between.

        Where the least share that was tried reaches it already, that share's seconds stand for
        both (they bound it from above); zeros where it was not measured or not reached.
        """
        leads = {share: self._lead(share) for share in (QUARTER, HALF, ROOT, 1.0)}
        points = [(share, lead) for share, lead in leads.items() if lead is not None]
        if not self.event.timed or len(points) < 2 or points[-1] != (1.0, leads[1.0]):  # noqa: PLR2004
            return 0.0, (0.0, 0.0)
        reached = [share for share, lead in points if lead >= 0]
        if not reached:
            return 0.0, (0.0, 0.0)
        place = [share for share, _ in points].index(reached[0])
        high, ahead = points[place]
        if place == 0:
            return high * seconds, (0.0, high * seconds)
        low, behind = points[place - 1]
        part = behind / (behind - ahead)
        at = math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
        return at * seconds, (low * seconds, high * seconds)

    def judged(self, seconds: float) -> ev.Promoted:
        """Return how the promotion to a rung of so many `seconds` ends, once nothing is missing."""
        event, noise = self.event, self._noise()
        after = weighed(self.pairs(event.base, event.commit), noise)
        hidden = self._bit()
        verdict, reason = self._verdict(after, hidden)
        measured = tuple(self._measured(noise))
        reached, (low, high) = self.time_to_target(seconds)
        target = [self.known.get(Asked(event.base, seed)) for seed in self.seeds[:TIMED_SEEDS]]
        scores = [score for score in target if score is not None]
        return ev.Promoted(
            check=event.check,
            rung=event.rung,
            base=event.base,
            commit=event.commit,
            parts=event.parts,
            verdict=verdict,
            reason=reason,
            before=event.before,
            after=after,
            contenders=measured,
            agreement=agreement(measured, self.run_seed),
            hidden=hidden,
            target=fmean(scores) if reached else 0.0,
            reached=reached,
            low=low,
            high=high,
        )

    def _verdict(self, after: Gain, hidden: bool | None) -> tuple[ev.Transfer, str]:
        before = f"{self.event.before.mean:+.4g}"
        now = f"{before} before, {after.mean:+.4g} ± {after.noise:.2g} at rung {self.event.rung}"
        if after.pairs == 0:
            asked = [Asked(self.event.base, seed) for seed in self.seeds]
            base = all(self.known.get(each) is None for each in asked)
            who = "the base" if base else "the stack"
            return "fades" if base else "reverses", f"{who} has no score at this rung"
        verdict = transfer(after)
        if verdict == "transfers" and hidden is False:
            return "fades", f"{now}, and not better on the hidden part"
        return verdict, now + (", better on the hidden part, too" if hidden else "")

    def _bit(self) -> bool | None:
        pairs = self.pairs(self.event.base, self.event.commit, "hidden")
        asked = any(each.part == "hidden" for each in self.known)
        return (bool(pairs) and fmean(pairs) > 0) if asked else None

    def _noise(self) -> Noise:
        """Return the spread of pairs at this rung, pooled over the stack and its contenders.

        The base's own spread between seeds is left out: of common seeds most of it cancels.
        """
        contrasts = {(each.parent, each.commit) for each in self.event.contenders}
        residual, freedom = 0.0, 0
        for old, new in sorted(contrasts | {(self.event.base, self.event.commit)}):
            pairs = self.pairs(old, new)
            if len(pairs) > 1:
                mean = fmean(pairs)
                residual += math.fsum((pair - mean) ** 2 for pair in pairs)
                freedom += len(pairs) - 1
        return Noise(0.0, 0, residual, freedom)

    def _measured(self, noise: Noise) -> Iterator[Measured]:
        for each in self.event.contenders:
            after = weighed(self.pairs(each.parent, each.commit), noise)
            if after.pairs:
                yield Measured(each.experiment, each.kinds, each.before, after, transfer(after))


def weighed(pairs: Sequence[float], noise: Noise) -> Gain:
    """Return the mean of `pairs`, its error by the spread `noise`, and the doubt by Student's t."""
    if not pairs:
        return Gain(0.0, 0.0, 0, 1.0)
    error = noise.pair / math.sqrt(len(pairs))
    return _doubted(fmean(pairs), error, len(pairs), noise.known_by)


def _doubted(mean: float, error: float, pairs: int, freedom: int) -> Gain:
    if error <= 0 or freedom < 1:
        doubt = 0.5 if mean == 0 or error > 0 or freedom < 1 else float(mean < 0)
        return Gain(mean, max(error, 0.0), pairs, doubt)
    return Gain(mean, error, pairs, round(tail(mean / error, freedom), 12))


def compared(
    known: Mapping[Asked, float | None],
    old: str,
    new: str,
    seeds: Sequence[int],
    direction: Direction,
) -> Gain:
    """Return the gain of `new` over `old` on the sealed part, by the scores that are known."""
    sides = [[known.get(Asked(each, seed, "sealed")) for seed in seeds] for each in (old, new)]
    pairs = [
        signed(before, after, direction)
        for before, after in zip(*sides, strict=True)
        if before is not None and after is not None
    ]
    if not pairs:
        return weighed(pairs, Noise(0.0, 0))
    mean = fmean(pairs)
    residual = math.fsum((pair - mean) ** 2 for pair in pairs)
    return weighed(pairs, Noise(0.0, 0, residual, len(pairs) - 1))


def transfer(after: Gain) -> ev.Transfer:
    """Return what a gain at the higher rung says of a change that gained at the lower one."""
    if after.doubt <= CERTAIN:
        return "transfers"
    return "reverses" if after.doubt >= 1 - CERTAIN else "fades"


def tail(t: float, freedom: int) -> float:
    """Return the chance that Student's t with `freedom` degrees exceeds `t`.

    With t = sqrt(freedom) tan a its density is that of cos(a) to the power freedom - 1; the
    trapezoidal rule over 4,001 points is good to 1e-6.
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    whole = np.linspace(0.0, math.pi / 2, 4001)
    above = np.linspace(angle, math.pi / 2, 4001)
    mass = [np.trapezoid(np.cos(at) ** (freedom - 1), at) for at in (whole, above)]
    share = float(mass[1] / mass[0]) / 2
    return share if t >= 0 else 1 - share


def kendall(one: Vector, other: Vector) -> float:
    """Return Kendall's tau (a) of two rankings of two or more things; ties count for neither."""
    first, second = np.sign(np.subtract.outer(one, one)), np.sign(np.subtract.outer(other, other))
    count = len(one)
    return float((first * second).sum() / (count * (count - 1)))


def agreement(measured: Sequence[Measured], seed: int) -> Agreement | None:
    """Return how far two rungs rank the same contenders alike, None for fewer than three.

    The interval is a parametric bootstrap: both rungs' gains are drawn anew from their errors, and
    tau is taken of each draw (middle 95 %). It tells of these contenders, not of others.
    """
    if len(measured) < 3:  # noqa: PLR2004  two can but agree or not
        return None
    before = np.array([[each.before.mean, each.before.noise] for each in measured])
    after = np.array([[each.after.mean, each.after.noise] for each in measured])
    dice = np.random.default_rng(seed)
    draws = [kendall(_redrawn(before, dice), _redrawn(after, dice)) for _ in range(_DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    tau = kendall(before[:, 0], after[:, 0])
    return Agreement(tau, float(low), float(high), len(measured))


def _redrawn(side: Vector, dice: np.random.Generator) -> Vector:
    return np.asarray(side[:, 0] + side[:, 1] * dice.standard_normal(len(side)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Credit:
    """Whose a change is: the island it was kept on, who proposed it, and what that cost."""

    island: str
    agent: str
    usd: float
    hypothesis: str


class Promotions:
    """The fold of a run's promotions, its consensus and its queries of held-out parts."""

    def __init__(self) -> None:
        self.open: Open | None = None
        self.last: ev.PromotionOpened | None = None
        self.done: list[ev.Promoted] = []
        self.consensus: ev.ConsensusMoved | None = None
        self.drafted: ev.ConsensusDrafted | None = None
        self.runs: dict[str, bool] = {}
        self.sealed: ev.SealedScored | None = None
        self.sealed_scores: dict[Asked, float | None] = {}
        self.hidden: set[int] = set()
        self.near: list[Contender] = []
        self.changes: dict[int, Contender] = {}
        self.credits: dict[int, Credit] = {}
        self.judged: tuple[ev.StackJudged, str] | None = None
        self._bases: dict[int, str] = {}
        self._run: ev.RunOpened | None = None
        self._sketches: dict[int, Contender] = {}
        self._running: dict[str, tuple[int, Asked]] = {}
        self._own: dict[str, ev.TrialStarted] = {}
        self._owners: dict[int, str] = {}

    def checks(self) -> int:
        """Return how many promotions have been opened."""
        return self.last.check if self.last is not None else 0

    def unbuilt(self) -> ev.Promoted | None:
        """Return the last promotion if it transfers and the consensus is not yet its stack."""
        last = self.done[-1] if self.done else None
        if last is None or last.verdict != "transfers":
            return None
        built = self.consensus is not None and self.consensus.check >= last.check
        return None if built else last

    def unrun(self) -> list[str]:
        """Return the drafted commits of which it is not known whether they run."""
        taken = {asked.commit for _, asked in self._running.values()}
        prefixes = self.drafted.changes[:-1] if self.drafted is not None else ()
        return [each for each in prefixes if each not in self.runs and each not in taken]

    def drafted_runs(self) -> bool:
        """Return whether it is known of all drafted commits whether they run."""
        return self.drafted is not None and all(
            each in self.runs for each in self.drafted.changes[:-1]
        )

    def due(self) -> Wish | None:
        """Return the stack that comes next: the last one judged, at the next rung that it earns."""
        if self.open is not None or self.judged is None or self._run is None:
            return None
        stack, base = self.judged
        gain = stack.gain or stack.observed
        if stack.verdict == "conflict" or not stack.parts or gain.mean <= 0:
            return None
        return self.climbed(Wish(1, base, stack.commit, stack.parts, gain, stack.check))

    def climbed(self, wish: Wish) -> Wish | None:
        """Return `wish` at the lowest rung that it has not been promoted to, None if it may not."""
        top = len(self._run.rungs) - 1 if self._run is not None else 0
        rung, before = min(1, top), wish.before
        for each in self.done:
            if each.commit == wish.commit and each.base == wish.base:
                if each.verdict != "transfers" or each.rung >= top:
                    return None
                rung, before = each.rung + 1, each.after
        return Wish(rung, wish.base, wish.commit, wish.parts, before, wish.stack)

    def contenders(self, wish: Wish) -> list[Contender]:
        """Return the parts of a stack and the best near misses, strongest evidence first."""
        parts = [self.changes[part] for part in wish.parts if part in self.changes]
        return [*sorted(parts, key=_evidence), *self.near]

    def wanted(self, slice_: str) -> Asked | None:
        """Return the trial that the open promotion wants of a slice, if any."""
        if self.open is None:
            return None
        taken = {asked for check, asked in self._running.values() if check == self.open.event.check}
        for asked in self.open.missing():
            owner = self.open.owners.get(asked.seed, slice_)
            if asked not in taken and owner == slice_:
                return asked
        return None

    def sealed_wanted(self, asked: Sequence[Asked], slice_: str) -> Asked | None:
        """Return which of the sealed trials in `asked` a slice may run: a seed's pair on one."""
        taken = {each for _, each in self._running.values()}
        for each in asked:
            free = each not in self.sealed_scores and each not in taken
            if free and self._owners.get(each.seed, slice_) == slice_:
                return each
        return None

    def finished(self) -> bool:
        """Return whether the open promotion has all that its verdict needs."""
        return self.open is not None and not self.open.missing()

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Take in the next event of the run; most are no concern of promotions."""

    @apply.register
    def _(self, event: ev.RunOpened) -> None:
        self._run = event

    @apply.register
    def _(self, event: ev.RunResumed) -> None:
        del event
        self._owners.clear()  # islands, and their slices, may be others now
        if self.open is not None:
            self.open.owners.clear()

    @apply.register
    def _(self, event: ev.ProposalReceived) -> None:
        self.credits[event.experiment] = Credit(
            event.island, event.agent, event.usage.usd, event.hypothesis
        )

    @apply.register
    def _(self, event: ev.MigrantOffered) -> None:
        origin = self.credits.get(event.migrant.origin)
        agent = origin.agent if origin is not None else "migration"
        self.credits[event.experiment] = Credit(event.island, agent, 0.0, event.migrant.hypothesis)

    @apply.register
    def _(self, event: ev.ProposalRefused) -> None:
        self.credits.pop(event.experiment, None)

    @apply.register
    def _(self, event: ev.CandidateAdmitted | ev.CandidateRebased) -> None:
        none = Gain(0.0, 0.0, 0)
        self._sketches[event.experiment] = Contender(
            event.experiment, event.parent, event.commit, none
        )

    @apply.register
    def _(self, event: ev.CandidateDropped) -> None:
        self.credits.pop(event.experiment, None)
        self._sketches.pop(event.experiment, None)

    @apply.register
    def _(self, event: ev.VerdictReached) -> None:
        sketch = self._sketches.pop(event.experiment, None)
        if sketch is None or event.gain is None:
            self.credits.pop(event.experiment, None)
            return
        change = replace(sketch, before=event.gain)
        if event.verdict == "keep":
            self.changes[event.experiment] = change
            return
        credit = self.credits.pop(event.experiment, None)
        real = credit is None or credit.agent != NULL
        if real and event.gain.pairs > 1 and event.gain.mean > 0:
            self.near = sorted([*self.near, change], key=_evidence)[:NEAR_MISSES]

    @apply.register
    def _(self, event: ev.StackOpened) -> None:
        self._bases[event.check] = event.base

    @apply.register
    def _(self, event: ev.StackJudged) -> None:
        self.judged = (event, self._bases.pop(event.check))

    @apply.register
    def _(self, event: ev.PromotionOpened) -> None:
        if self.open is not None or self._run is None:
            raise ValueError(f"promotion {event.check} begins before the one before it ended")
        self.open = Open(event, self._run.direction, self._run.seed)
        self.last = event

    @apply.register
    def _(self, event: ev.TrialStarted) -> None:
        if event.purpose != "promotion":
            self._own[event.trial] = event
            return
        asked = Asked(event.commit, event.seed, event.part, event.share)
        self._running[event.trial] = (event.check, asked)
        if event.part == "sealed":
            self._owners.setdefault(event.seed, event.slice)
        elif self.open is not None:
            self.open.owners.setdefault(event.seed, event.slice)
        if event.part == "hidden":
            self.hidden.add(event.check)

    @apply.register
    def _(self, event: ev.TrialVoided) -> None:
        self._own.pop(event.trial, None)
        self._running.pop(event.trial, None)

    @apply.register
    def _(self, event: ev.TrialEnded) -> None:
        own = self._own.pop(event.trial, None)
        if own is not None:
            self._forget_broken(own, event)
            return
        check, asked = self._running.pop(event.trial)
        if asked.part == "sealed":
            self.sealed_scores[asked] = event.outcome.score
        elif self.open is not None and check == self.open.event.check:
            self.open.known[asked] = event.outcome.score
        elif self.drafted is not None and check == self.drafted.check:
            self.runs[asked.commit] = event.outcome.failure is None

    def _forget_broken(self, trial: ev.TrialStarted, event: ev.TrialEnded) -> None:
        sketch = self._sketches.get(trial.experiment)
        if event.outcome.failure is not None and sketch and sketch.commit == trial.commit:
            del self._sketches[trial.experiment]
            self.credits.pop(trial.experiment, None)

    @apply.register
    def _(self, event: ev.Promoted) -> None:
        self.done.append(event)
        self.open = None

    @apply.register
    def _(self, event: ev.ConsensusDrafted) -> None:
        self.drafted, self.runs = event, {}

    @apply.register
    def _(self, event: ev.ConsensusMoved) -> None:
        self.consensus = event

    @apply.register
    def _(self, event: ev.SealedScored) -> None:
        self.sealed = event


def _evidence(change: Contender) -> tuple[float, int]:
    """Order changes by gain in standard errors, the strongest first."""
    before = change.before
    return (-before.mean / before.noise if before.noise else -math.inf, change.experiment)
