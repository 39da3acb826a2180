"""Bayesian inference over a stack check's evidence: what each part is worth, and what interacts.

Every part claims a gain, measured beside what its own island had kept by then. Models explain arms
and claims together: gains of parts, plus a few faults, each of which is a pair that interacts or a
claim that does not hold. All quantities are normal, so the evidence for a model has a closed form.
Models grow from the best ones, one fault at a time (a beam search), and results are averaged over
models by their weight. Everything is in units of the standard deviation of one paired difference.

Not covered: interactions of three or more parts, except through pairs; what a part is worth on one
seed and not on others (the claims are from other seeds); noise that differs between arms. Of parts
that break together more may be dropped than is to blame: an arm that broke has lost everything, so
what it would have been worth is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from islands.records import Gain
from islands.stacking.design import Arm, Array, Fault, Parts, Scores

NEGLIGIBLE = 0.25
"""A part that is worth no more than this, in standard deviations of a pair, is not missed."""

_SURE = 0.05
"""Chances below this, or above one less this, need no more trials."""

_TRIAL_VARIANCE = 0.5
"""Variance of one trial within its block: two of them make a pair's."""

_PRIOR_VARIANCE = 1e2
"""Variance of a part's gain before any evidence; that of a block's level is its square."""

_MIN_CLAIM_ERROR = 0.1
"""Least standard error of a claim: none is taken as known better than this."""

_EXPECTED_PAIRS = 0.5
"""Pairs that are expected to interact in a stack before it is measured."""

_MIN_LFSR = 0.01
"""Least prior chance that a claim does not hold."""

_MIN_INFORMATION = 1e-3
"""An arm that tells less than this is not worth a trial."""

_BEAM_WIDTH = 6
"""Models grown at a time."""

_MAX_FAULTS = 6
"""Faults of one model."""

_MAX_DEFICIT = 8.0
"""Models whose log evidence is this much below the best are dropped."""


@dataclass(frozen=True, slots=True)
class StackPart:
    """A kept change, as a part of a stack.

    number: the experiment that made it
    gain: the gain claimed for it, in units of a pair's standard deviation
    beside: the parts that it was measured beside
    """

    number: int
    gain: Gain
    beside: Parts = frozenset()


@dataclass(frozen=True, slots=True)
class EffectModel:
    """A model with a given set of faults, fitted to the evidence.

    faults: pairs that interact and claims that do not hold
    weight: its posterior probability
    mean: the effects, float[parts + faults]: the parts' gains, then what each fault adds (a claim's
        adds to no arm)
    covariance: of the effects, float[parts + faults, parts + faults]
    """

    faults: tuple[Fault, ...]
    weight: float
    mean: Array
    covariance: Array


@dataclass(frozen=True, slots=True)
class Worth:
    """An estimated gain.

    mean: the estimate, in units of a pair's standard deviation
    error: its standard error
    negligible: the chance that it is below NEGLIGIBLE
    """

    mean: float
    error: float
    negligible: float


class Evidence:
    """Measured arms and claims of a check, with the models that explain them."""

    def __init__(self, parts: Sequence[StackPart], scores: Scores) -> None:
        self.parts = tuple(parts)
        self.numbers = [part.number for part in parts]
        self.arms = list(scores)
        self.claims = np.array([part.gain.mean for part in parts])
        self._y = np.concatenate([np.array(list(scores.values())), self.claims])
        errors = [max(part.gain.noise, _MIN_CLAIM_ERROR) ** 2 for part in parts]
        self._noise = np.array([_TRIAL_VARIANCE] * len(self.arms) + errors)
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
        """Return what `parts` are worth beyond `less`, averaged over all models."""
        mean, square, negligible = 0.0, 0.0, 0.0
        for model in self.models:
            row = self._row(model, parts) - self._row(model, less)
            centre = float(row @ model.mean)
            variance = max(float(row @ model.covariance @ row), 1e-12)
            mean += model.weight * centre
            square += model.weight * (centre**2 + variance)
            beyond = (centre - NEGLIGIBLE) / math.sqrt(2 * variance)
            negligible += model.weight * 0.5 * math.erfc(beyond)
        return Worth(mean, math.sqrt(max(square - mean**2, 0.0)), negligible)

    def blame(self, fault: Fault) -> Worth:
        """Return what a fault adds (to a pair's sum or to a claim), averaged over its models."""
        faulty = [model for model in self.models if fault in model.faults]
        weights = np.array([model.weight for model in faulty])
        places = [len(self.parts) + model.faults.index(fault) for model in faulty]
        means = np.array([m.mean[at] for m, at in zip(faulty, places, strict=True)])
        spreads = np.array([m.covariance[at, at] for m, at in zip(faulty, places, strict=True)])
        weights /= weights.sum()
        mean = float(weights @ means)
        error = math.sqrt(float(weights @ (spreads + (means - mean) ** 2)))
        if len(fault) == 1:  # the claim is off by as much as it is too high
            mean = -mean
        return Worth(mean, error, 0.0)

    def culprits(self) -> list[Fault]:
        """Return the faults with a posterior probability above one half."""
        likely: dict[Fault, float] = {}
        for model in self.models:
            for fault in model.faults:
                likely[fault] = likely.get(fault, 0.0) + model.weight
        return [fault for fault, weight in sorted(likely.items()) if weight > 0.5]  # noqa: PLR2004

    def measured(self, parts: Parts) -> Worth:
        """Return what `parts` are worth by the arms alone, given the faults of the best model."""
        mute = np.concatenate([self._noise[: len(self.arms)], np.full(len(self.parts), 1e9)])
        faults = tuple(fault for fault in self.models[0].faults if len(fault) > 1)
        model = self._model(faults, 1.0, mute)
        row = self._row(model, parts)
        return Worth(float(row @ model.mean), math.sqrt(float(row @ model.covariance @ row)), 0.0)

    def misfit(self) -> float:
        """Return the Birge ratio: how much wider than stated the evidence spreads about the models.

        1.0 or more; weak interactions that no model names make it larger (Birge, "The calculation
        of errors by the method of least squares", Physical Review 1932).
        """
        ratio, scale = 0.0, 1 / np.sqrt(self._noise)
        for model in self.models:
            own = np.array([self._column(fault) for fault in model.faults])
            x = np.hstack([self._mains, own.reshape(-1, len(self._y)).T, self._level])
            x, y = x * scale[:, None], self._y * scale
            fit, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
            residual = y - x @ fit
            ratio += model.weight * float(residual @ residual) / max(len(y) - int(rank), 1)
        return math.sqrt(max(ratio, 1.0))

    def telling(self, whole: Parts, stay: Parts, options: Sequence[Arm]) -> Arm | None:
        """Return the most informative of `options`, None if none tells enough.

        An arm is informative if the models disagree on it, or if it narrows the estimate of a part
        of which it is unclear whether it is missed.
        """
        chances = {n: self.worth(stay | {n}, stay - {n}).negligible for n in sorted(whole)}
        unclear = [n for n, chance in chances.items() if _SURE < chance < 1 - _SURE]
        weights = np.array([model.weight for model in self.models])
        mean, narrowed = np.zeros((len(self.models), len(options))), np.zeros(len(options))
        for at, model in enumerate(self.models):
            rows = np.array([self._row(model, arm.parts) for arm in options])
            mean[at] = rows @ model.mean
            spread = np.einsum("ij,ij->i", rows @ model.covariance, rows) + _TRIAL_VARIANCE
            for n in unclear:
                of = self._row(model, stay | {n}) - self._row(model, stay - {n})
                narrowed += model.weight * (rows @ (model.covariance @ of)) ** 2 / spread
        information = weights @ (mean - weights @ mean) ** 2 + narrowed
        best = int(np.argmax(information))
        return options[best] if information[best] > _MIN_INFORMATION else None

    def _together(self, parts: Collection[int]) -> list[float]:
        """Return, for each arm and then each claim, 1 if it holds all of `parts`, else 0."""
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
        """Return the prior log odds of each fault; a claim's come from its lfsr."""
        lfsrs = [max(part.gain.lfsr, _MIN_LFSR) for part in self.parts]
        pairs = len(self._faults) - len(lfsrs)
        return np.asarray(np.log(lfsrs + [_EXPECTED_PAIRS / max(pairs, 1)] * pairs))

    def _search(self) -> list[EffectModel]:
        """Return the models that explain the evidence best; their weights add up to one.

        A beam search: of the models with k faults the _BEAM_WIDTH best grow by one fault each.
        """
        prior = self._prior()
        base = np.diag(self._noise) + _PRIOR_VARIANCE**2 * self._level @ self._level.T
        base += _PRIOR_VARIANCE * self._mains @ self._mains.T
        evidence: dict[frozenset[int], float] = {frozenset(): 0.0}  # log, relative to no fault
        edge: list[frozenset[int]] = [frozenset()]
        for _ in range(_MAX_FAULTS):
            grown: dict[frozenset[int], float] = {}
            for faults in edge:
                gains = self._grown(base, faults) + prior
                for at in np.argsort(-gains)[:_BEAM_WIDTH].tolist():
                    if at not in faults:
                        grown[faults | {at}] = evidence[faults] + float(gains[at])
            least = max(evidence.values()) - _MAX_DEFICIT
            order = sorted(grown, key=lambda faults: (-grown[faults], sorted(faults)))
            edge = [f for f in order[:_BEAM_WIDTH] if f not in evidence and grown[f] > least]
            evidence.update({faults: grown[faults] for faults in edge})
        best = max(evidence.values())
        likely = {
            f: math.exp(log - best) for f, log in evidence.items() if log > best - _MAX_DEFICIT
        }
        total = math.fsum(likely.values())
        order = sorted(likely, key=lambda faults: (-likely[faults], sorted(faults)))
        named = [tuple(self._faults[at] for at in sorted(faults)) for faults in order]
        weights = [likely[faults] / total for faults in order]
        return [self._model(*one, self._noise) for one in zip(named, weights, strict=True)]

    def _grown(self, base: Array, faults: frozenset[int]) -> Array:
        """Return the log evidence that each further fault adds to a model."""
        own = self._columns[:, sorted(faults)]
        inverse = np.linalg.inv(base + self._slab * own @ own.T)
        fit = self._columns.T @ (inverse @ self._y)
        inflation = 1 + self._slab * np.einsum("ij,ij->j", self._columns, inverse @ self._columns)
        return np.asarray(0.5 * (self._slab * fit**2 / inflation - np.log(inflation)))

    def _model(self, faults: tuple[Fault, ...], weight: float, noise: Array) -> EffectModel:
        own = np.zeros((len(self._y), len(faults)))
        for at, fault in enumerate(faults):
            own[:, at] = self._column(fault)
        x = np.hstack([self._mains, own, self._level])
        free = np.array(
            [_PRIOR_VARIANCE] * len(self.parts)
            + [self._slab] * len(faults)
            + [_PRIOR_VARIANCE**2] * self._level.shape[1]
        )
        covariance = np.linalg.inv((x.T / noise) @ x + np.diag(1 / free))
        mean = covariance @ (x.T @ (self._y / noise))
        many = len(self.parts) + len(faults)
        return EffectModel(faults, weight, mean[:many], covariance[:many, :many])

    def _row(self, model: EffectModel, parts: Parts) -> Array:
        """Return, for each effect of a model, 1 if the combination `parts` has it, else 0."""
        mains = [float(number in parts) for number in self.numbers]
        return np.array(mains + [float(len(f) > 1 and parts.issuperset(f)) for f in model.faults])
