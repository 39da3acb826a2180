"""Do kept changes add up? Pure design and judgement of a stack check.

Every part claims a gain, measured beside what its own island had kept by then. The check measures
combinations of parts (arms) on one common seed and slice: the whole, the base, and a
Plackett-Burman design between them, so that one trial an arm tells something of all parts at once
(Plackett & Burman, "The design of optimum multifactorial experiments", Biometrika 1946).

What explains arms and claims together is searched among models: gains of parts, plus a few
faults, each of which is a pair that interacts or a claim that does not hold. All is normal, so
that the evidence for each model has a closed form; models are grown from the best ones fault by
fault, and what follows is averaged over them by their weight. Arms after the design go where the
models that are left disagree most, or where a part may not be missed, until the budget is spent.
Then, part by part, what is likely not missed is left out.
All is in units of one paired difference's standard deviation.

Not covered: interactions of three parts, but for what pairs make of them; what one part is worth
on one seed and not on others (the claims are of other seeds); noise that is unlike between arms. Of
parts that break together more may be dropped than is to blame: an arm that broke has lost all, and
what it would have been worth is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from islands.events import StackVerdict
from islands.records import Gain

Array = NDArray[np.float64]

Parts = frozenset[int]

NOTHING = 0.25
"""A part that is worth no more than this is not missed."""

LIKELY = 0.35
"""Chance of not being missed from which a part is left out: simpler is better in doubt."""

MEASURABLE = 2.2
"""Standard errors that a part of a faulty pair must be worth to be told from nothing."""

TOP = 20
"""Parts, the best, that one check takes."""

_SURE = 0.05
"""Chances below this, or above one less this, need no more trials."""

_TRIAL = 0.5
"""Variance of one trial within its block: two of them make a pair's."""

_VAGUE = 1e2
"""Variance of a part's gain before anything is known of it; a block's level has its square."""

_SHARP = 0.1
"""No claim is taken to be known better than this."""

_FAULTS = 0.5
"""Pairs that are expected to interact in a stack before it is measured."""

_DOUBT = 0.01
"""Least chance beforehand that a claim does not hold."""

_BEAM, _DEEP, _WORSE = 6, 6, 8.0
"""Models grown at a time, faults of one model, log evidence below the best that is let go."""


@dataclass(frozen=True, slots=True)
class StackPart:
    """A kept change: its claimed gain, and the parts that it was measured beside."""

    number: int
    gain: Gain
    beside: Parts = frozenset()


@dataclass(frozen=True, slots=True)
class Arm:
    """A combination of parts, measured within a block: on one seed and slice."""

    parts: Parts
    block: int = 0


Scores = Mapping[Arm, float]
"""Measured arms; above is better, and only differences within a block count."""

Fault = tuple[int, ...]
"""A pair that interacts (two parts) or a claim that does not hold (one)."""


def budget(count: int) -> int:
    """Return the trials that a check of `count` parts may take."""
    return math.floor(4 * math.log2(count) + count) if count else 0


def design(numbers: Sequence[int]) -> list[Parts]:
    """Return the arms that every check measures: whole and base, and the halves between them."""
    return list(dict.fromkeys([frozenset(numbers), frozenset(), *_halves(numbers)]))


def _halves(numbers: Sequence[int]) -> list[Parts]:
    rows = hadamard(len(numbers) + 1)[1:, 1 : len(numbers) + 1]
    return [frozenset(n for n, on in zip(numbers, row, strict=True) if on > 0) for row in rows]


@lru_cache(maxsize=32)
def hadamard(least: int) -> Array:
    """Return a Hadamard matrix of `least` rows or a few more, its first row and column all 1.

    Paley's construction over primes q = 3 (mod 4) gives q + 1 rows, doubling it the rest.
    """
    order = max(4, -(-least // 4) * 4)
    while True:
        if _prime(order - 1):
            return _normal(_paley(order - 1))
        if order % 8 == 0 and _prime(order // 2 - 1):
            return _normal(np.kron(np.array([[1.0, 1.0], [1.0, -1.0]]), _paley(order // 2 - 1)))
        order += 4


def _normal(found: Array) -> Array:
    rows = found * found[0]
    return np.asarray(rows * rows[:, :1])


def _prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def _paley(prime: int) -> Array:
    squares = {number * number % prime for number in range(1, prime)}
    sign = np.array([0.0] + [1.0 if n in squares else -1.0 for n in range(1, prime)])
    skew = np.zeros((prime + 1, prime + 1))
    skew[0, 1:], skew[1:, 0] = 1.0, -1.0
    skew[1:, 1:] = sign[(np.arange(prime)[None, :] - np.arange(prime)[:, None]) % prime]
    return np.asarray(skew + np.eye(prime + 1))


@dataclass(frozen=True, slots=True)
class EffectModel:
    """What a set of faults makes of the evidence: its weight, and effects with their covariance.

    The effects are the parts' gains, and then what each fault adds (a claim's adds to no arm).
    """

    faults: tuple[Fault, ...]
    weight: float
    mean: Array
    covariance: Array


@dataclass(frozen=True, slots=True)
class Worth:
    """A gain with its error, and the chance that it is next to nothing."""

    mean: float
    error: float
    nothing: float


class Evidence:
    """All that is known of the parts: arms measured, and claims."""

    def __init__(self, parts: Sequence[StackPart], scores: Scores) -> None:
        self.parts = tuple(parts)
        self.numbers = [part.number for part in parts]
        self.arms = list(scores)
        self.claims = np.array([part.gain.mean for part in parts])
        self._y = np.concatenate([np.array(list(scores.values())), self.claims])
        errors = [max(part.gain.noise, _SHARP) ** 2 for part in parts]
        self._noise = np.array([_TRIAL] * len(self.arms) + errors)
        blocks = sorted({arm.block for arm in self.arms})
        self._level = np.zeros((len(self._y), len(blocks)))
        for at, arm in enumerate(self.arms):
            self._level[at, blocks.index(arm.block)] = 1.0
        self._mains = np.array([self._together((number,)) for number in self.numbers]).T
        self._faults: list[Fault] = [(n,) for n in self.numbers]
        self._faults += list(combinations(sorted(self.numbers), 2))
        self._columns = np.array([self._column(fault) for fault in self._faults]).T
        self._slab = max(float(np.mean(self.claims**2)), 1.0)
        self.models = self._search()

    def worth(self, parts: Parts, less: Parts = frozenset()) -> Worth:
        """Return what `parts` are worth beyond `less`, over all models."""
        mean, square, nothing = 0.0, 0.0, 0.0
        for model in self.models:
            row = self._row(model, parts) - self._row(model, less)
            centre = float(row @ model.mean)
            variance = max(float(row @ model.covariance @ row), 1e-12)
            mean += model.weight * centre
            square += model.weight * (centre**2 + variance)
            beyond = (centre - NOTHING) / math.sqrt(2 * variance)
            nothing += model.weight * 0.5 * math.erfc(beyond)
        return Worth(mean, math.sqrt(max(square - mean**2, 0.0)), nothing)

    def blame(self, fault: Fault) -> Worth:
        """Return what a fault adds where models have it: to a pair's sum, or to a claim."""
        having = [model for model in self.models if fault in model.faults]
        weights = np.array([model.weight for model in having])
        places = [len(self.parts) + model.faults.index(fault) for model in having]
        means = np.array([m.mean[at] for m, at in zip(having, places, strict=True)])
        spreads = np.array([m.covariance[at, at] for m, at in zip(having, places, strict=True)])
        weights /= weights.sum()
        mean = float(weights @ means)
        error = math.sqrt(float(weights @ (spreads + (means - mean) ** 2)))
        if len(fault) == 1:  # the claim is off by as much as it is too high
            mean = -mean
        return Worth(mean, error, 0.0)

    def culprits(self) -> list[Fault]:
        """Return the faults that are likelier there than not."""
        likely: dict[Fault, float] = {}
        for model in self.models:
            for fault in model.faults:
                likely[fault] = likely.get(fault, 0.0) + model.weight
        return [fault for fault, weight in sorted(likely.items()) if weight > 0.5]  # noqa: PLR2004

    def measured(self, parts: Parts) -> Worth:
        """Return what `parts` are worth by the arms alone, the best model's faults given."""
        mute = np.concatenate([self._noise[: len(self.arms)], np.full(len(self.parts), 1e9)])
        faults = tuple(fault for fault in self.models[0].faults if len(fault) > 1)
        model = self._model(faults, 1.0, mute)
        row = self._row(model, parts)
        return Worth(float(row @ model.mean), math.sqrt(float(row @ model.covariance @ row)), 0.0)

    def telling(self, whole: Parts, stay: Parts, options: Sequence[Arm]) -> Arm | None:
        """Return the option that most is learnt from, None where nothing is unclear.

        That is how much models disagree on it, and how much it narrows what may not be missed.
        """
        chances = {n: self.worth(stay | {n}, stay - {n}).nothing for n in sorted(whole)}
        unclear = [n for n, chance in chances.items() if _SURE < chance < 1 - _SURE]
        weights = np.array([model.weight for model in self.models])
        mean, narrowed = np.zeros((len(self.models), len(options))), np.zeros(len(options))
        for at, model in enumerate(self.models):
            rows = np.array([self._row(model, arm.parts) for arm in options])
            mean[at] = rows @ model.mean
            spread = np.einsum("ij,ij->i", rows @ model.covariance, rows) + _TRIAL
            for n in unclear:
                of = self._row(model, stay | {n}) - self._row(model, stay - {n})
                narrowed += model.weight * (rows @ (model.covariance @ of)) ** 2 / spread
        told = weights @ (mean - weights @ mean) ** 2 + narrowed
        best = int(np.argmax(told))
        return options[best] if told[best] > 1e-3 else None  # noqa: PLR2004

    def _together(self, parts: Collection[int]) -> list[float]:
        """Return where all of `parts` are: in an arm, or in what a claim is of."""
        among = set(parts)
        arms = [float(among <= arm.parts) for arm in self.arms]
        claims = [
            float(part.number in among and among - {part.number} <= part.beside)
            for part in self.parts
        ]
        return arms + claims

    def _column(self, fault: Fault) -> list[float]:
        if len(fault) > 1:
            return self._together(fault)
        return [0.0] * len(self.arms) + [float(n == fault[0]) for n in self.numbers]

    def _prior(self) -> Array:
        """Return the log odds of each fault beforehand: a claim's are what its keep doubted."""
        doubts = [max(part.gain.lfsr, _DOUBT) for part in self.parts]
        pairs = len(self._faults) - len(doubts)
        return np.asarray(np.log(doubts + [_FAULTS / max(pairs, 1)] * pairs))

    def _search(self) -> list[EffectModel]:
        """Return the models that explain the evidence best, their weights adding up to one."""
        prior = self._prior()
        base = np.diag(self._noise) + _VAGUE**2 * self._level @ self._level.T
        base += _VAGUE * self._mains @ self._mains.T
        seen: dict[frozenset[int], float] = {frozenset(): 0.0}
        edge: list[frozenset[int]] = [frozenset()]
        for _ in range(_DEEP):
            grown: dict[frozenset[int], float] = {}
            for faults in edge:
                gains = self._grown(base, faults) + prior
                for at in np.argsort(-gains)[:_BEAM].tolist():
                    if at not in faults:
                        grown[faults | {at}] = seen[faults] + float(gains[at])
            least = max(seen.values()) - _WORSE
            order = sorted(grown, key=lambda each: (-grown[each], sorted(each)))
            edge = [each for each in order[:_BEAM] if each not in seen and grown[each] > least]
            seen.update({each: grown[each] for each in edge})
        best = max(seen.values())
        likely = {each: math.exp(log - best) for each, log in seen.items() if log > best - _WORSE}
        total = math.fsum(likely.values())
        order = sorted(likely, key=lambda each: (-likely[each], sorted(each)))
        named = [tuple(self._faults[at] for at in sorted(each)) for each in order]
        weights = [likely[each] / total for each in order]
        return [self._model(*one, self._noise) for one in zip(named, weights, strict=True)]

    def _grown(self, base: Array, faults: frozenset[int]) -> Array:
        """Return the log evidence that each further fault adds to a model."""
        own = self._columns[:, sorted(faults)]
        inverse = np.linalg.inv(base + self._slab * own @ own.T)
        fit = self._columns.T @ (inverse @ self._y)
        room = 1 + self._slab * np.einsum("ij,ij->j", self._columns, inverse @ self._columns)
        return np.asarray(0.5 * (self._slab * fit**2 / room - np.log(room)))

    def _model(self, faults: tuple[Fault, ...], weight: float, noise: Array) -> EffectModel:
        own = np.zeros((len(self._y), len(faults)))
        for at, fault in enumerate(faults):
            own[:, at] = self._column(fault)
        x = np.hstack([self._mains, own, self._level])
        free = np.array(
            [_VAGUE] * len(self.parts)
            + [self._slab] * len(faults)
            + [_VAGUE**2] * self._level.shape[1]
        )
        covariance = np.linalg.inv((x.T / noise) @ x + np.diag(1 / free))
        mean = covariance @ (x.T @ (self._y / noise))
        many = len(self.parts) + len(faults)
        return EffectModel(faults, weight, mean[:many], covariance[:many, :many])

    def _row(self, model: EffectModel, parts: Parts) -> Array:
        """Return which of a model's effects a combination has."""
        mains = [float(number in parts) for number in self.numbers]
        return np.array(mains + [float(len(f) > 1 and parts.issuperset(f)) for f in model.faults])


Fit = Callable[[Parts], Parts]
"""What of a combination goes on together, as far as it is known."""


def everything(parts: Parts) -> Parts:
    """Return `parts`: nothing conflicts."""
    return parts


def survivors(evidence: Evidence, whole: Parts, fit: Fit = everything) -> Parts:
    """Return what stays of `whole` when what is likely not missed is left out, in turn.

    What cannot stand without a part that is left out goes with it, where neither is missed.
    """
    stay = whole
    while len(stay) > 1:
        losses = {n: evidence.worth(stay, fit(stay - {n})).nothing for n in sorted(stay)}
        least = max(losses, key=lambda n: losses[n])
        if losses[least] < LIKELY or not fit(stay - {least}):
            break
        stay = fit(stay - {least})
    return stay


def next_arm(evidence: Evidence, whole: Parts, block: int, fit: Fit = everything) -> Arm | None:
    """Return the arm to measure next in `block`, None where no arm would tell anything."""
    stay, known = survivors(evidence, whole, fit), set(evidence.arms)
    numbers = [number for number in evidence.numbers if number in whole]
    halves = _halves(numbers)
    found = [*halves, *(whole - half for half in halves), whole, stay]
    found += [each for n in sorted(whole) for each in (stay ^ {n}, whole - {n}, frozenset({n}))]
    for fault in sorted({f for m in evidence.models for f in m.faults if len(f) > 1}):
        found += [frozenset(fault), whole - set(fault)]
    arms = dict.fromkeys(Arm(fit(parts), block) for parts in found)
    options = [arm for arm in arms if arm not in known]
    return evidence.telling(whole, stay, options) if options else None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a check came to, gains in the unit of the parts' own: see events.StackJudged."""

    verdict: StackVerdict
    stay: Parts
    culprits: tuple[Fault, ...]
    blame: tuple[Gain, ...]
    expected: Gain
    observed: Gain
    interaction: Gain
    gain: Gain


def judge(evidence: Evidence, whole: Parts, fit: Fit = everything) -> Judgement:
    """Judge what has been measured of the parts that `whole` holds."""
    stay, culprits = survivors(evidence, whole, fit), evidence.culprits()
    pairs = len(evidence.arms)
    blame = tuple(_gain(evidence.blame(fault), pairs) for fault in culprits)
    claims = [part.gain for part in evidence.parts if part.number in whole]
    noise = math.sqrt(math.fsum(gain.noise**2 for gain in claims))
    count = sum(gain.pairs for gain in claims)
    expected = Gain(math.fsum(gain.mean for gain in claims), noise, count)
    observed = _gain(evidence.measured(whole), pairs)
    off = Gain(observed.mean - expected.mean, math.hypot(observed.noise, noise), pairs)
    return Judgement(
        verdict=_verdict(evidence, whole, [f for f in culprits if evidence.blame(f).mean < 0]),
        stay=stay,
        culprits=tuple(culprits),
        blame=blame,
        expected=expected,
        observed=observed,
        interaction=off,
        gain=_gain(evidence.worth(stay), pairs),
    )


def _verdict(evidence: Evidence, whole: Parts, against: Sequence[Fault]) -> StackVerdict:
    """Return what the whole comes to, by what the parts are worth in it that are `against` it."""
    if not against:
        return "additive"
    parts = sorted({number for fault in against for number in fault})
    left = [evidence.worth(whole, whole - {number}) for number in parts]
    if any(each.mean < -max(NOTHING, MEASURABLE * each.error) for each in left):
        return "antagonistic"
    pair = any(len(fault) > 1 for fault in against)
    alike = any(each.mean <= max(NOTHING, MEASURABLE * each.error) for each in left)
    return "redundant" if pair and alike else "short"


def _gain(worth: Worth, pairs: int) -> Gain:
    return Gain(worth.mean, worth.error, pairs)
