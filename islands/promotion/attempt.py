"""Promotion attempt: a stack found on a cheap rung is measured again on the next one.

The stack and the base run on common fresh seeds of the higher rung, fully audited; then the stack's
parts and the best near misses, each against its own parent (the two commits that its gain on the
rung below compares), by successive halving: all that the budget allows on two seeds, the better
half on four, and so on. If the task has a hidden split, one bit is queried: is the stack better
there too? Its scores stay in the ledger and are shown to no agent.

*Time to target* is how many of the rung's seconds the stack needs to reach what the base reaches in
all of them. A candidate's log could claim anything, and a checkpoint differs from the result of a
shorter run, since schedules end with the budget. So the stack is trained on a share of the seconds
instead: a half, then a quarter or 0.71, depending on the side that the target lies on. Between two
such budgets, time is interpolated on a logarithmic scale; the two budgets are reported as its
resolution, a factor of 1.4 to 2. It is not measured where a rung's seconds are only a limit, as for
a benchmark that ends when it is done (islands/state/time_use.py).

Pure functions of events. All trials of one seed run on one slice, the first that ran that seed.

Not covered: interactions of higher order with depth; the noise of time to target; after a resume,
or where an island leaves a slice, the rest of a seed may run on another slice than its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from harness.contract import FULL_AUDIT, Direction, Split
from islands import events as ev
from islands.promotion.transfer import agreement, transfer, weighed
from islands.ratchet.noise import Noise, gain_of
from islands.records import Contender, Gain, Measured, TrialRequest
from islands.rng import seed_of

HIDDEN_SEEDS = 2
TIMED_SEEDS = 2

HALF, QUARTER, ROOT = 0.5, 0.25, math.sqrt(0.5)
"""Shares of the rung's seconds on which time to target is measured."""


@dataclass(frozen=True, slots=True)
class PromotionPolicy:
    """The settings of program.md's `promotion`.

    auto: promote each stack that a check has judged
    seeds: pairs of the stack and its base
    trials: most trials of one promotion
    hidden: most queries of the hidden split in the whole run
    """

    auto: bool = True
    seeds: int = 4
    trials: int = 32
    hidden: int = 16


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """A stack that could be promoted.

    rung: level of fidelity to measure it at
    base, commit, parts: what it is compared with, the stack, and its experiments
    before: its gain at the rung below
    stack: number of the stack check that it comes from, 0 for an island's head
    """

    rung: int
    base: str
    commit: str
    parts: tuple[int, ...]
    before: Gain
    stack: int = 0


@dataclass(slots=True)
class PromotionAttempt:
    """An open promotion.

    event: the event that started it
    direction, run_seed: of the run
    scores: its scores, None for a failed trial
    owners: the slice that runs each seed
    """

    event: ev.PromotionStarted
    direction: Direction
    run_seed: int
    scores: dict[TrialRequest, float | None] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """Its seeds, which no other trial uses."""
        check, count = self.event.number, self.event.seeds
        return [seed_of(self.run_seed, "promotion", check, k) for k in range(count)]

    def request(
        self, commit: str, seed: int, split: Split = "dev", share: float = 1.0
    ) -> TrialRequest:
        """Return the request for one of its trials."""
        return trial_request(self.event, commit, seed, split, share)

    def missing(self) -> list[TrialRequest]:
        """Return the missing trials of the first incomplete stage, none if all are complete."""
        for stage in (self._whole(), *self._rounds(), self._hidden(), self._timed()):
            missing = [request for request in stage if request not in self.scores]
            if missing:
                return missing
        return []

    def pairs(
        self, old: str, new: str, split: Split = "dev", share: float = 1.0, count: int | None = None
    ) -> list[float]:
        """Return the gains of `new`, on a share of the time, over `old` on the first seeds."""
        gains = []
        for seed in self.seeds[:count]:
            before = self.scores.get(self.request(old, seed, split))
            after = self.scores.get(self.request(new, seed, split, share))
            if before is not None and after is not None:
                gains.append(gain_of(before, after, self.direction))
        return gains

    def _whole(self) -> list[TrialRequest]:
        """Return the trials of stack and base; which runs first alternates between seeds."""
        commits = [self.event.base, self.event.commit]
        return [
            self.request(commit, seed)
            for n, seed in enumerate(self.seeds)
            for commit in commits[:: 1 if n % 2 else -1]
        ]

    def _rounds(self) -> Iterator[list[TrialRequest]]:
        """Yield the rounds of successive halving: each runs fewer contenders on more seeds."""
        planned = set(self._whole())
        budget = self.event.trials - self._reserved()
        field_, take = list(self.event.contenders), min(2, self.event.seeds)
        while field_:
            requests = self._of(field_, take, planned)
            while len(requests) > budget:
                field_.pop()
                requests = self._of(field_, take, planned)
            yield requests
            planned.update(requests)
            budget -= len(requests)
            if take >= self.event.seeds or any(trial not in self.scores for trial in requests):
                return
            field_ = sorted(field_, key=self._standing)[: (len(field_) + 1) // 2]
            take = min(2 * take, self.event.seeds)

    def _of(
        self, field_: Sequence[Contender], take: int, planned: set[TrialRequest]
    ) -> list[TrialRequest]:
        requests = {
            self.request(commit, seed): None
            for seed in self.seeds[:take]
            for contender in field_
            for commit in (contender.parent, contender.commit)
        }
        return [request for request in requests if request not in planned]

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

    def _hidden(self) -> list[TrialRequest]:
        if not self.event.hidden or not self._gains():
            return []
        commits = (self.event.commit, self.event.base)
        seeds = self.seeds[:HIDDEN_SEEDS]
        return [self.request(commit, seed, "hidden") for seed in seeds for commit in commits]

    def _timed(self) -> list[TrialRequest]:
        if not self.event.timed or not self._gains():
            return []
        commit, seeds = self.event.commit, self.seeds[:TIMED_SEEDS]
        half = [self.request(commit, seed, share=HALF) for seed in seeds]
        if any(request not in self.scores for request in half):
            return half
        lead = self._lead(HALF)
        if lead is None:
            return half
        other = QUARTER if lead >= 0 else ROOT
        return [*half, *(self.request(commit, seed, share=other) for seed in seeds)]

    def _lead(self, share: float) -> float | None:
        """Return the gain of the stack on `share` of the time over the base on all of it."""
        pairs = self.pairs(self.event.base, self.event.commit, share=share, count=TIMED_SEEDS)
        return fmean(pairs) if pairs else None

    def time_to_target(self, seconds: float) -> tuple[float, tuple[float, float]]:
        """Return the seconds to the base's score on all `seconds`, and their lower and upper bound.

        If the least share that was tried already reaches it, its seconds are both the value and
        the upper bound, and the lower bound is 0. All are 0 if it was not measured or not reached.
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

    def judged(self, seconds: float) -> ev.PromotionEnded:
        """Return the end of the promotion to a rung of `seconds`, once no trial is missing."""
        event, noise = self.event, self._noise()
        after = weighed(self.pairs(event.base, event.commit), noise)
        hidden = self._bit()
        verdict, reason = self._verdict(after, hidden)
        measured = tuple(self._measured(noise))
        reached, (low, high) = self.time_to_target(seconds)
        target = [
            self.scores.get(self.request(event.base, seed)) for seed in self.seeds[:TIMED_SEEDS]
        ]
        scores = [score for score in target if score is not None]
        return ev.PromotionEnded(
            number=event.number,
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
        before = self.event.before.format()
        now = f"{before} before, {after.format()} at rung {self.event.rung}"
        if after.pairs == 0:
            requests = [self.request(self.event.base, seed) for seed in self.seeds]
            base_failed = all(self.scores.get(request) is None for request in requests)
            failed = "the base" if base_failed else "the stack"
            return "fades" if base_failed else "reverses", f"{failed} has no score at this rung"
        verdict = transfer(after)
        if verdict == "transfers" and hidden is False:
            return "fades", f"{now}, and not better on the hidden split"
        return verdict, now + (", better on the hidden split, too" if hidden else "")

    def _bit(self) -> bool | None:
        """Return whether the stack is better on the hidden split, None if it was not queried."""
        pairs = self.pairs(self.event.base, self.event.commit, "hidden")
        queried = any(request.split == "hidden" for request in self.scores)
        return (bool(pairs) and fmean(pairs) > 0) if queried else None

    def _noise(self) -> Noise:
        """Return the spread of pairs at this rung, pooled over the stack and its contenders.

        The base's own spread between seeds is left out: of common seeds most of it cancels.
        """
        contrasts = {(part.parent, part.commit) for part in self.event.contenders}
        residual, freedom = 0.0, 0
        for old, new in sorted(contrasts | {(self.event.base, self.event.commit)}):
            pairs = self.pairs(old, new)
            if len(pairs) > 1:
                mean = fmean(pairs)
                residual += math.fsum((pair - mean) ** 2 for pair in pairs)
                freedom += len(pairs) - 1
        return Noise(0.0, 0, residual, freedom)

    def _measured(self, noise: Noise) -> Iterator[Measured]:
        for part in self.event.contenders:
            after = weighed(self.pairs(part.parent, part.commit), noise)
            if after.pairs:
                yield Measured(part.experiment, part.kinds, part.before, after, transfer(after))


def trial_request(
    promotion: ev.PromotionStarted, commit: str, seed: int, split: Split = "dev", share: float = 1.0
) -> TrialRequest:
    """Return the request for a fully audited trial of `promotion`."""
    return TrialRequest(
        commit,
        seed,
        "promotion",
        rung=promotion.rung,
        split=split,
        audit=FULL_AUDIT,
        check_number=promotion.number,
        share=share,
    )


def compared(
    scores: Mapping[tuple[str, int], float | None],
    old: str,
    new: str,
    seeds: Sequence[int],
    direction: Direction,
) -> Gain:
    """Return the gain of `new` over `old` on the sealed split; failed trials make no pair."""
    sides = [[scores.get((commit, seed)) for seed in seeds] for commit in (old, new)]
    pairs = [
        gain_of(before, after, direction)
        for before, after in zip(*sides, strict=True)
        if before is not None and after is not None
    ]
    if not pairs:
        return weighed(pairs, Noise(0.0, 0))
    mean = fmean(pairs)
    residual = math.fsum((pair - mean) ** 2 for pair in pairs)
    return weighed(pairs, Noise(0.0, 0, residual, len(pairs) - 1))
