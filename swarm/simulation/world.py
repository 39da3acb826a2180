"""A population with known truth: the worth of every change, and the noise that hides it.

Nothing is stored. Effects, interactions and noise are hashes of the world's seed and of what they
are for, so a world is the same in whatever order it is queried, and two rules that are compared in
one world meet the very same proposals.

Changes are numbers. A genome is worth the sum of its changes' effects and of the interactions of
each two of them. A change without effect does nothing, and interacts with nothing. Where changes
turn knobs, of which each has a few values, the last one of each knob counts: the more of them are
well set the less is left to gain, and what one change gains others offer again.

A score is BASE less the genome's worth, plus noise of standard deviation sigma in three parts: what
all commits share on one seed (`seed_correlation` of the variance), what each trial has for itself
(`jitter`: on a small GPT of 10 s, repeats of one seed had 0.0027² of 0.0126²), and the rest, which
a commit has on a seed. Each part is normal, or Student's t. The slice adds its own offset, and
whatever disturbs it (swarm/simulation/disturbances.py).

Not covered: interactions of three changes; noise whose size depends on the commit; agents that
know which knobs are well set; knobs beside trends, or where changes interact or break: these are
drawn by change, not by knob and value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, combinations, product
from math import fsum, sqrt
from statistics import NormalDist

from scipy.special import stdtrit

from swarm.simulation.disturbances import (
    NO_LOAD,
    NO_SPIKES,
    NO_THROTTLING,
    NO_TREND,
    NO_WANDER,
    Drift,
    Load,
    Spikes,
    Throttling,
    Trend,
    Wander,
)
from swarm.simulation.mixtures import Mixture, unit

BASE = 1.0
"""The base's true score; lower is better."""

MIN_TAILS = 2.0
"""Degrees of freedom up to which Student's t has no variance."""

_GAUSSIAN = NormalDist().inv_cdf


@dataclass(frozen=True, slots=True)
class Interactions:
    """How changes interact.

    - `share`: of all pairs of changes, those that interact
    - `size`: standard deviation of their interactions, in median gains of the mixture
    """

    share: float = 0.0
    size: float = 0.0


INTERACTIONS: Mapping[str, Interactions] = {
    "none": Interactions(),
    "sparse": Interactions(share=0.02, size=1.0),
    "strong": Interactions(share=0.2, size=1.0),
}


@dataclass(frozen=True, slots=True)
class Knobs:
    """What changes turn.

    - `count`: number of knobs; 0: each change is another one
    - `values`: of one knob, with an effect each
    """

    count: int = 0
    values: int = 3


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that makes a world but its seed. Sizes are in median gains of the mixture.

    - `mixture`: distribution of true effects
    - `sigma`: standard deviation of a score between seeds
    - `seed_correlation`: share of that variance that all commits have in common on one seed
    - `jitter`: share of it that differs between repeats of one commit and seed
    - `drift`, `load`, `throttling`, `wander`: what changes the level of slices
    - `slice_spread`: standard deviation of slices' offsets
    - `spikes`: scores far off
    - `tails`: degrees of freedom of the noise, above 2; 0: normal
    - `calm`: noise is divided by 1 plus this for each median gain that a genome is worth
    - `uneven`: standard deviation of what a change is worth between seeds, as a share of it
    - `still`: share of the run in which no score varies
    - `trend`: how proposals change in the course of a run
    - `knobs`: what changes have in common
    """

    mixture: Mixture
    sigma: float = 1.0
    seed_correlation: float = 0.5
    jitter: float = 0.05
    interactions: Interactions = Interactions()
    drift: Drift | None = None
    slice_spread: float = 0.0
    load: Load = NO_LOAD
    throttling: Throttling = NO_THROTTLING
    wander: Wander = NO_WANDER
    spikes: Spikes = NO_SPIKES
    tails: float = 0.0
    calm: float = 0.0
    uneven: float = 0.0
    still: float = 0.0
    trend: Trend = NO_TREND
    knobs: Knobs = Knobs()

    def __post_init__(self) -> None:
        if 0 < self.tails <= MIN_TAILS:
            raise ValueError(f"tails of {self.tails:g} degrees of freedom have no variance")
        if min(self.seed_correlation, self.jitter) < 0 or self.seed_correlation + self.jitter > 1:
            raise ValueError("seed_correlation and jitter are shares of one variance")

    @property
    def noise(self) -> float:
        """Return sigma in units of the score."""
        return self.sigma * unit(self.mixture)


@dataclass(frozen=True, slots=True)
class Sample:
    """Where and when a commit is measured.

    - `trial_number`: trials of the run that began before this one
    - `progress`: the same as a share of the run's trials
    """

    commit: str
    seed: int
    slice: str
    trial_number: int
    progress: float


class World:
    """The truth of one run."""

    def __init__(self, conditions: Conditions, seed: int) -> None:
        self.conditions, self.seed = conditions, seed
        self._key = seed.to_bytes(8, "big")
        self._effects: dict[int, float] = {}
        self._unit = unit(conditions.mixture)
        own = max(0.0, 1 - conditions.seed_correlation - conditions.jitter)
        shares = (conditions.seed_correlation, own, conditions.jitter)
        self._sds = tuple(conditions.noise * sqrt(share) for share in shares)

    def effect(self, change: int) -> float:
        """Return what `change` is worth by itself."""
        effect = self._effects.get(change)
        if effect is None:
            effect = self._effects[change] = self._drawn(self._same(change))
        return effect

    def _same(self, change: int) -> int:
        """Return the number that stands for all changes that turn one knob to one value."""
        knobs = self.conditions.knobs
        if not knobs.count:
            return change
        return self._knob(change) + knobs.count * self._choice(f"value/{change}", knobs.values)

    def _knob(self, change: int) -> int:
        return self._choice(f"knob/{change}", self.conditions.knobs.count)

    def _choice(self, key: str, count: int) -> int:
        return int(self._uniform(key) * count)

    def _drawn(self, change: int) -> float:
        mixture, trend = self.conditions.mixture, self.conditions.trend
        effect = mixture.effect(self._uniform(f"kind/{change}"), self._normal(f"effect/{change}"))
        if effect <= 0.0 and trend.redrawn(change, self._uniform):
            pick, draw = self._uniform(f"again/{change}"), self._normal(f"again/effect/{change}")
            effect = mixture.effect(pick, draw)
        return 0.0 if effect > 0.0 and trend.dried(change, self._uniform) else effect

    def in_force(self, changes: Collection[int]) -> Collection[int]:
        """Return the changes that no later one of the same knob undoes."""
        if not self.conditions.knobs.count:
            return changes
        return list({self._knob(change): change for change in changes}.values())

    def breaks(self, change: int) -> bool:
        """Return whether a genome with `change` fails its trials."""
        share = self.conditions.mixture.broken
        return share > 0.0 and self._uniform(f"broken/{change}") < share

    def interaction(self, one: int, other: int) -> float:
        """Return what two changes are worth together beyond the sum of both."""
        interactions = self.conditions.interactions
        if interactions.share == 0.0 or self.effect(one) == 0.0 or self.effect(other) == 0.0:
            return 0.0
        pair = f"{min(one, other)}/{max(one, other)}"
        if self._uniform(f"meet/{pair}") >= interactions.share:
            return 0.0
        return self._unit * interactions.size * self._normal(f"interaction/{pair}")

    def gain(self, old: Collection[int], new: Collection[int]) -> float:
        """Return what the changes `new` are worth beyond `old`: exactly 0.0 where they do nothing.

        Takes time in proportion to what differs, where changes turn no knobs, not to the size of
        the heads.
        """
        old, new = self.in_force(old), self.in_force(new)
        before, after = set(old), set(new)
        common = [change for change in new if change in before]
        added = [change for change in new if change not in before]
        removed = [change for change in old if change not in after]
        return self._worth(added, common) - self._worth(removed, common)

    def unevenness(self, changes: Collection[int], seed: int) -> float:
        """Return what `changes` are worth on one seed beyond what they are on average."""
        if not self.conditions.uneven:
            return 0.0
        return self.conditions.uneven * fsum(
            self.effect(change) * self._normal(f"uneven/{change}/{seed}")
            for change in self.in_force(changes)
        )

    def score(self, worth: float, sample: Sample) -> float:
        """Return the score of a genome worth `worth`."""
        conditions = self.conditions
        worse = self._unit * self._level(sample)
        if sample.progress < conditions.still:
            return BASE - worth + worse
        shared, own, jitter = self._sds
        noise = (
            shared * self._noise(f"seed/{sample.seed}")
            + own * self._noise(f"own/{sample.commit}/{sample.seed}")
            + jitter * self._noise(f"jitter/{sample.trial_number}")
        )
        spike = conditions.spikes.level(
            sample.commit, sample.seed, sample.trial_number, self._uniform
        )
        noise /= 1 + conditions.calm * max(worth, 0.0) / self._unit
        return BASE - worth + worse + noise + conditions.noise * spike

    def _level(self, sample: Sample) -> float:
        """Return how much worse than at its best a slice scores now."""
        conditions, name, progress = self.conditions, sample.slice, sample.progress
        worse = conditions.throttling.level(progress)
        worse += conditions.wander.level(name, sample.trial_number, self._normal)
        if conditions.slice_spread:
            worse += conditions.slice_spread * self._normal(f"slice/{name}")
        if conditions.drift is not None:
            worse += conditions.drift.level(name, progress)
        if conditions.load.size:
            load = conditions.load
            worse += load.level(progress, sample.trial_number, self._normal, self._uniform)
        return worse

    def _worth(self, changes: list[int], beside: list[int]) -> float:
        alone = fsum(self.effect(change) for change in changes)
        if not self.conditions.interactions.share:
            return alone
        pairs = chain(product(changes, beside), combinations(changes, 2))
        return alone + fsum(self.interaction(one, other) for one, other in pairs)

    def _uniform(self, key: str) -> float:
        """Return a number inside (0, 1), always the same for `key`."""
        digest = blake2b(key.encode(), digest_size=8, key=self._key).digest()
        return ((int.from_bytes(digest, "big") >> 11) + 0.5) / (1 << 53)

    def _normal(self, key: str) -> float:
        return _GAUSSIAN(self._uniform(key))

    def _noise(self, key: str) -> float:
        """Return a number of variance one, normal or with the tails asked for."""
        tails = self.conditions.tails
        if not tails:
            return self._normal(key)
        return float(stdtrit(tails, self._uniform(key))) * sqrt(1 - MIN_TAILS / tails)
