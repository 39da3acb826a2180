"""A population with known truth: what every change is worth, and the noise that hides it.

Nothing is stored. Effects, interactions and noise are hashes of the world's seed and of what they
are for, so that a world is the same whatever order it is asked in, and two rules that are compared
in one world meet the very same proposals.

Changes are numbers. A genome is worth the sum of its changes' effects and of the interactions of
every two of them. A change without effect does nothing, and interacts with nothing.

A score is BASE less the genome's worth, plus noise of standard deviation sigma in three parts:
what all commits share on one seed (`rho` of the variance), what each trial has for itself
(`jitter`: on a small GPT of 10 s, repeats of one seed had 0.0027² of 0.0126²), and the rest, which
a commit has on a seed. The slice adds its own offset, and its drift.

Not covered: interactions of three; noise that is no normal one; gradual drift.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, combinations, product
from math import fsum, sqrt
from statistics import NormalDist

from swarm.simulation.mixtures import Mixture, unit

BASE = 1.0
"""The base's true score; the less, the better."""

_GAUSSIAN = NormalDist().inv_cdf


@dataclass(frozen=True, slots=True)
class Interactions:
    """How changes meet: the share of pairs that interact, and how much (standard deviation)."""

    share: float = 0.0
    size: float = 0.0


INTERACTIONS: Mapping[str, Interactions] = {
    "none": Interactions(),
    "sparse": Interactions(share=0.02, size=1.0),
    "strong": Interactions(share=0.2, size=1.0),
}


@dataclass(frozen=True, slots=True)
class Drift:
    """A slice that scores worse by `size` once a share `onset` of the night's trials has begun."""

    size: float
    slice: str = "s0"
    onset: float = 0.5


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that makes a world but its seed; sizes are counted in median gains of the mixture.

    `sigma` is the standard deviation of a score between seeds, `offsets` that of slices.
    """

    mixture: Mixture
    sigma: float = 1.0
    rho: float = 0.5
    jitter: float = 0.05
    interactions: Interactions = Interactions()
    drift: Drift | None = None
    offsets: float = 0.0

    def __post_init__(self) -> None:
        if min(self.rho, self.jitter) < 0 or self.rho + self.jitter > 1:
            raise ValueError("rho and jitter are shares of one variance")

    @property
    def noise(self) -> float:
        """Return sigma in units of the score."""
        return self.sigma * unit(self.mixture)


@dataclass(frozen=True, slots=True)
class Sample:
    """Where and when a commit is measured: `count` trials of the night began before this one."""

    commit: str
    seed: int
    slice: str
    count: int
    late: float


class World:
    """The truth of one night."""

    def __init__(self, conditions: Conditions, seed: int) -> None:
        self.conditions, self.seed = conditions, seed
        self._key = seed.to_bytes(8, "big")
        self._effects: dict[int, float] = {}
        self._unit = unit(conditions.mixture)
        own = max(0.0, 1 - conditions.rho - conditions.jitter)
        shares = (conditions.rho, own, conditions.jitter)
        self._sds = tuple(conditions.noise * sqrt(share) for share in shares)

    def effect(self, change: int) -> float:
        """Return what `change` is worth by itself."""
        known = self._effects.get(change)
        if known is None:
            pick, draw = self._uniform(f"kind/{change}"), self._normal(f"effect/{change}")
            known = self._effects[change] = self.conditions.mixture.effect(pick, draw)
        return known

    def breaks(self, change: int) -> bool:
        """Return whether a genome with `change` fails its trials."""
        share = self.conditions.mixture.broken
        return share > 0.0 and self._uniform(f"broken/{change}") < share

    def interaction(self, one: int, other: int) -> float:
        """Return what two changes are worth together beyond the sum of both."""
        met = self.conditions.interactions
        if met.share == 0.0 or self.effect(one) == 0.0 or self.effect(other) == 0.0:
            return 0.0
        pair = f"{min(one, other)}/{max(one, other)}"
        if self._uniform(f"meet/{pair}") >= met.share:
            return 0.0
        return self._unit * met.size * self._normal(f"interaction/{pair}")

    def gain(self, old: Collection[int], new: Collection[int]) -> float:
        """Return what the changes `new` are worth beyond `old`: exactly 0.0 where they do nothing.

        In time it is linear in what differs, so that heads may grow.
        """
        before, after = set(old), set(new)
        common = [change for change in new if change in before]
        added = [change for change in new if change not in before]
        removed = [change for change in old if change not in after]
        return self._worth(added, common) - self._worth(removed, common)

    def score(self, worth: float, at: Sample) -> float:
        """Return the score of a genome worth `worth`; `at.late` is the share of the night gone."""
        shared, own, jitter = self._sds
        noise = (
            shared * self._normal(f"seed/{at.seed}")
            + own * self._normal(f"own/{at.commit}/{at.seed}")
            + jitter * self._normal(f"jitter/{at.count}")
        )
        return BASE - worth + noise + self._slice(at.slice, at.late)

    def _slice(self, name: str, late: float) -> float:
        """Return how much worse than others a slice scores now."""
        conditions, drift = self.conditions, self.conditions.drift
        worse = 0.0
        if conditions.offsets:
            worse = conditions.offsets * self._normal(f"slice/{name}")
        if drift is not None and drift.slice == name and late >= drift.onset:
            worse += drift.size
        return self._unit * worse

    def _worth(self, changes: list[int], beside: list[int]) -> float:
        alone = fsum(self.effect(change) for change in changes)
        if not self.conditions.interactions.share:
            return alone
        pairs = chain(product(changes, beside), combinations(changes, 2))
        return alone + fsum(self.interaction(one, other) for one, other in pairs)

    def _uniform(self, what: str) -> float:
        """Return a number inside (0, 1), always the same for `what`."""
        digest = blake2b(what.encode(), digest_size=8, key=self._key).digest()
        return ((int.from_bytes(digest, "big") >> 11) + 0.5) / (1 << 53)

    def _normal(self, what: str) -> float:
        return _GAUSSIAN(self._uniform(what))
