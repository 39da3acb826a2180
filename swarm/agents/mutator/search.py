"""Search of the mutator: lists the moves on a head and ranks them by their merit.

The merit of a move is its expected improvement times the chance that the program still runs. The
order is drawn at random, weighted by merit, so that islands try different moves. Each site offers
its best value; the most promising sites are also combined in joint moves.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from islands.records import Brief, Change, Gain, Pending
from swarm.agents.mutator.crossover import find_crossover
from swarm.agents.mutator.descriptions import joined, taken_over, value_change
from swarm.agents.mutator.edit_sites import Site
from swarm.agents.mutator.history import MoveHistory, SiteHistory
from swarm.agents.mutator.moves import Move, MoveKind, MovePart, sites_of
from swarm.agents.mutator.parsed_file import ParsedFile
from swarm.agents.mutator.priors import (
    RUN_COUNTS,
    STRUCTURAL_GAINS,
    SearchParameters,
    number_prior,
    option_prior,
)
from swarm.agents.mutator.source import Edit
from swarm.agents.mutator.surrogate import (
    NumberModel,
    NumberObservation,
    OptionObservation,
    normal_forecast,
    number_forecasts,
    option_forecasts,
    same_move,
)
from swarm.agents.mutator.transforms import Number

ObservationT = TypeVar("ObservationT", NumberObservation, OptionObservation)

STEP_STRETCHES = (0.8, 0.9, 1.0, 1.12, 1.25)
"""Factors of the usual steps, so that values between them are tried as well."""

OTHER_STRETCHES = tuple(percent / 100 for percent in range(30, 141))
"""The same on a head that stays so long that the usual steps run out.

A number is exhausted once all that they lead to is tried. Drawn from a range instead, they led to
another value whenever they were drawn again: runs stopped with "nothing left to try", and went on
with more of the same when they were resumed.
"""

MAX_MAJOR_SITES = 200
MAX_MINOR_SITES = 24
"""Sites considered for one proposal; numbers in bodies, and structural edits (each)."""

MIN_SIGMA_SHARE = 2e-4
"""Smallest scale of gains, as a share of the score, for scores that hardly vary by seed."""

MIN_MERIT_UNITS = 1e-6
"""Least merit of a move, in units: even if no move promises a gain, one is proposed."""

MAX_BREAKS = 2
"""Changes of a site, or to an option, that may break the program before it is left alone."""

JOINT_STARTS = 4
"""Moves from which joint moves are grown: those of the highest merit."""


class ImportedValue(NamedTuple):
    """A value that another island kept at one site, as an observation of that site here."""

    change: Change
    text: str
    observation: NumberObservation | OptionObservation


class Search:
    """Lists and ranks the moves for one brief. Deterministic: randomness is the brief's seed.

    `unit` is the scale of gains: the spread of a score between seeds, bounded from below.
    """

    def __init__(
        self,
        brief: Brief,
        files: Mapping[str, ParsedFile],
        history: MoveHistory,
        head: str,
        parameters: SearchParameters,
    ) -> None:
        self.pending, claimed = map(_count_sites, (brief.pending, brief.claims))
        self.under_way = self.pending + claimed
        self.brief, self.history, self.head, self.parameters = brief, history, head, parameters
        finest = MIN_SIGMA_SHARE * abs(brief.score)
        self.unit = min(max(brief.sigma, finest, 1e-9), 1e60)  # its square must stay finite
        self.margin = parameters.margin * self.unit
        self.random = random.Random(brief.seed)
        self.sites = {site.id: site for file in files.values() for site in file.sites}
        self.structural_edits = [edit for file in files.values() for edit in file.structural_edits]
        crossovers = (find_crossover(change, files) for change in brief.elsewhere)
        self.crossovers = [crossover for crossover in crossovers if crossover is not None]
        self.imported = dict(self._imported_values())

    def ranked(self) -> list[Move]:
        """Return the untried moves in the order to propose them."""
        singles = [*self._site_moves(), *self._structural_moves()]
        moves = [*singles, *self._joint_moves(singles), *self._crossover_moves()]
        moves = [move for move in moves if not self.history.was_tried(self.head, move.edit_id)]
        drawn = [(self._draw(move), index, move) for index, move in enumerate(moves)]
        return [move for _, _, move in sorted(drawn, key=lambda row: row[:2], reverse=True)]

    def _draw(self, move: Move) -> float:
        """Return a random key; sorting by it samples in proportion to merit ** greed.

        A race of exponential variables samples by weight (Gumbel-max); a Weibull variable of shape
        `greed` is an exponential one to the power 1 / greed.
        """
        merit = max(move.merit, MIN_MERIT_UNITS * self.unit)
        merit *= self.parameters.crowded ** max(self.under_way[part.site] for part in move.parts)
        return merit / max(self.random.weibullvariate(1.0, self.parameters.greed), 1e-9)

    def _site_moves(self) -> Iterator[Move]:
        sites = [site for site in self.sites.values() if not self._is_hopeless(site.id)]
        self.random.shuffle(sites)
        major = [site for site in sites if site.rank != "inner"]
        minor = [site for site in sites if site.rank == "inner"]
        if not self.parameters.exhaustive:
            major, minor = major[:MAX_MAJOR_SITES], minor[:MAX_MINOR_SITES]
        for site in major + minor:
            if site.number is None:
                prior = option_prior(site, self.parameters)
                edits = {option: (site.edit(option),) for option in site.options}
                moves = self._option_moves("option", site.id, site.text, edits, prior)
                yield from self._best_move(site, moves)
            else:
                yield from self._best_move(site, self._number_moves(site, site.number))

    def _best_move(self, site: Site, moves: list[Move]) -> list[Move]:
        """Return the move of the highest merit, with its description; [] if there is none."""
        if not moves:
            return []
        best = max(moves, key=lambda move: move.merit)
        imported = self.imported.get(site.id)
        if imported is not None and imported.text == best.parts[0].new:
            return [_imported(best, imported.change)]
        (part,) = best.parts
        subject = value_change(site.label, part.old, part.new, _sizes(site, part.new))
        return [replace(best, description=subject, details=self._details(site, part))]

    def _details(self, site: Site, part: MovePart) -> str:
        attempts = self.history.site(site.id).attempts
        if not attempts:
            return f"{site.label} was not changed before."
        forecast = Gain(part.forecast.mean, math.sqrt(part.forecast.variance), attempts)
        times = "once" if attempts == 1 else f"{attempts} times"
        return f"{site.label} was changed {times} before; forecast {forecast.format()}."

    def _number_moves(self, site: Site, number: Number) -> list[Move]:
        steps = self._steps(site, number)
        if not steps:
            return []
        imported = self.imported.get(site.id)
        history = self.history.site(site.id)
        observed = [self._discounted(seen, age) for age, seen in history.number_observations]
        if imported is not None and isinstance(imported.observation, NumberObservation):
            observed += _unless_known(imported.observation, observed)
        model = NumberModel(number_prior(site, self.parameters), number.place, tuple(observed))
        forecasts = number_forecasts(model, tuple(steps.values()), self.unit, self.margin)
        runs = self._chance_to_run("number", history)
        moves = []
        for (text, step), forecast in zip(steps.items(), forecasts, strict=True):
            end = number.place + step
            part = MovePart(site.id, site.text, text, forecast, number.place, end)
            merit = forecast.expected_improvement * runs
            merit *= _chance_before_walls(history, number.place, step)
            moves.append(Move("number", (part,), (site.edit(text),), merit, ""))
        return moves

    def _steps(self, site: Site, number: Number) -> dict[str, float]:
        """Return the values not yet tried on this head, with their distances on the scale."""
        imported, imported_step = self.imported.get(site.id), {}
        if (
            imported is not None
            and isinstance(imported.observation, NumberObservation)
            and imported.text != site.text
        ):
            imported_step = {imported.text: imported.observation.end - number.place}
        for stretch in self._stretches():
            steps = imported_step | number.steps(stretch)
            untried = {text: s for text, s in steps.items() if not self._was_tried(site.id, text)}
            if untried:
                return untried
        return {}

    def _stretches(self) -> list[float]:
        usual = self.random.choice(STEP_STRETCHES)
        if self.parameters.exhaustive:
            return [usual, *self.random.sample(OTHER_STRETCHES, len(OTHER_STRETCHES))]
        return [usual, self.random.choice(OTHER_STRETCHES)]

    def _option_moves(
        self,
        kind: MoveKind,
        site: str,
        present: str,
        edits: Mapping[str, tuple[Edit, ...]],
        prior: tuple[float, float],
    ) -> list[Move]:
        """Return a move for each untried option; `prior`: mean and spread of a gain, in units."""
        history = self.history.site(site)
        broken = Counter(history.broken_options)
        options = [
            option
            for option in edits
            if not self._was_tried(site, option) and broken[option] < MAX_BREAKS
        ]
        if not options:
            return []
        observed = [self._discounted(seen, age) for age, seen in history.option_observations]
        imported = self.imported.get(site)
        if imported is not None and isinstance(imported.observation, OptionObservation):
            observed += _unless_known(imported.observation, observed)
        mean, spread = (self.unit * share for share in prior)
        forecasts = option_forecasts(present, options, observed, (mean, spread), self.margin)
        moves = []
        for option, forecast in zip(options, forecasts, strict=True):
            runs = self._chance_to_run(kind, history)
            runs *= 0.1 if option in history.broken_options else 1.0
            part = MovePart(site, present, option, forecast)
            merit = forecast.expected_improvement * runs
            moves.append(Move(kind, (part,), edits[option], merit, ""))
        return moves

    def _structural_moves(self) -> Iterator[Move]:
        possible = [edit for edit in self.structural_edits if not self._is_hopeless(edit.id)]
        count = len(possible) if self.parameters.exhaustive else min(MAX_MINOR_SITES, len(possible))
        for edit in self.random.sample(possible, count):
            edits = {"altered": (edit.edit,)}
            moves = self._option_moves(edit.kind, edit.id, "", edits, STRUCTURAL_GAINS[edit.kind])
            yield from (replace(move, description=edit.description) for move in moves)

    def _joint_moves(self, singles: list[Move]) -> list[Move]:
        """Return moves of several sites, each of which is expected to gain by itself.

        Together, gains too small to be told from noise one by one can be kept.
        """
        floor = self.parameters.joint_from * self.unit
        good = [move for move in singles if move.parts[0].forecast.mean > floor]
        good.sort(key=lambda move: move.merit, reverse=True)
        joined = [self._joined(first, good) for first in good[:JOINT_STARTS]]
        return [move for move in joined if len(move.parts) > 1]

    def _joined(self, move: Move, others: list[Move]) -> Move:
        """Return `move` joined greedily with those of `others` that raise its merit."""
        for other in others:
            if len(move.parts) >= self.parameters.joint:
                break
            if other.parts[0].site in {part.site for part in move.parts}:
                continue
            parts = move.parts + other.parts
            mean = sum(part.forecast.mean for part in parts)
            variance = sum(part.forecast.variance for part in parts)
            merit = normal_forecast(mean, variance, self.margin).expected_improvement
            if merit > move.merit:
                move = Move("joint", parts, move.edits + other.edits, merit, "")
        if len(move.parts) == 1:
            return move
        by_site = {single.parts[0].site: single for single in others}
        singles = [by_site[part.site] for part in move.parts]
        lines = [f"{single.description}. {single.details}".strip() for single in singles]
        subject = joined([single.description for single in singles])
        return replace(move, description=subject, details="\n".join(lines))

    def _crossover_moves(self) -> Iterator[Move]:
        """Yield the moves that take over a change kept elsewhere, other than single values."""
        for crossover in self.crossovers:
            change = crossover.change
            edits = crossover.edits_for(self.sites)
            if len(crossover.values) == 1 or not edits:
                continue
            mean, variance = self._expected_gain(change)
            prior = (mean / self.unit, math.sqrt(variance) / self.unit)
            site = f"cross:{change.island}:{change.experiment}"
            for move in self._option_moves("cross", site, "", {"taken": edits}, prior):
                yield _imported(move, change)

    def _imported_values(self) -> Iterator[tuple[str, ImportedValue]]:
        """Yield the single values that other islands kept, by the id of their site."""
        for crossover in self.crossovers:
            if len(crossover.values) != 1:
                continue
            change, keeps = crossover.change, self.history.keeps
            ((id_, (old, new)),) = crossover.values.items()
            site = self.sites.get(id_)
            if site is None:
                continue
            mean, variance = self._expected_gain(change)
            if site.number is None:
                option = OptionObservation(old, new, mean, variance)
                yield id_, ImportedValue(change, new, self._discounted(option, keeps))
                continue
            before, after = site.number.sibling(old), site.number.sibling(new)
            if before is not None and after is not None:
                step = NumberObservation(before.place, after.place, mean, variance)
                yield id_, ImportedValue(change, new, self._discounted(step, keeps))

    def _expected_gain(self, change: Change) -> tuple[float, float]:
        """Return the mean and variance of the gain here of a change kept elsewhere."""
        gain, parameters = change.gain, self.parameters
        spread = parameters.elsewhere * gain.mean
        return parameters.shrink * gain.mean, gain.noise**2 + spread**2

    def _discounted(self, observation: ObservationT, age: int) -> ObservationT:
        """Return `observation` with more variance: the older it is, and the larger its gain.

        `age`: keeps before the attempt. The surrogate is only approximate, its error grows with
        each keep, and a large loss says little about the opposite direction.
        """
        parameters, keeps_since = self.parameters, self.history.keeps - age
        share = parameters.crush if observation.gain < 0 else parameters.stretch
        misfit = parameters.misfit**2 + parameters.drift**2 * keeps_since
        variance = observation.variance + misfit * self.unit**2 + (share * observation.gain) ** 2
        return replace(observation, variance=variance)

    def _chance_to_run(self, kind: MoveKind, history: SiteHistory) -> float:
        """Return the chance that the program still runs after such a move at this site."""
        good, bad = RUN_COUNTS[kind]
        ran, broke = self.history.run_counts(kind)
        usual = (good + ran) / (good + bad + ran + broke)
        return (usual + history.ran) / (1 + history.attempts)

    def _is_hopeless(self, site: str) -> bool:
        """Return whether every change of a site broke the program, or may yet turn out to have.

        Changes under way count as broken, so that none is the third.
        """
        known = self.history.site(site)
        return not known.ran and known.broke + self.pending[site] >= MAX_BREAKS

    def _was_tried(self, site: str, to: str) -> bool:
        return self.history.was_tried(self.head, f"{site}={to}")


def _count_sites(moves: Iterable[Pending]) -> Counter[str]:
    """Return how many of the moves change each site."""
    return Counter(site for move in moves for site in sites_of(move.notes))


def _unless_known(
    imported: ObservationT, observed: Sequence[ObservationT]
) -> Iterator[ObservationT]:
    """Yield a move that another island kept, unless its mutator has told of it already."""
    if not any(same_move(imported, seen) for seen in observed):
        yield imported


def _chance_before_walls(history: SiteHistory, place: float, step: float) -> float:
    """Return the chance that the program runs after `step`, given the steps that broke it before.

    It falls with the share of the way to the nearest breaking value in the same direction.
    """
    chance = 1.0
    for start, end in history.walls:
        wall = end - place
        if (end - start) * step > 0 and wall * step > 0:
            share = abs(step / wall)
            chance *= 0.1 if share >= 1 else 1 - 0.5 * share**2
    return chance


def _imported(move: Move, change: Change) -> Move:
    details = f"Island {change.island} kept this change."
    return replace(move, description=taken_over(change), details=details)


def _sizes(site: Site, new: str) -> tuple[float, float] | None:
    """Return the values before and after, None if they are not both numbers."""
    if site.number is not None:
        number, sign = site.number.sibling(new), -1 if site.number.negative else 1
        return (sign * site.number.value, sign * number.value) if number else None
    try:
        return float(site.text), float(new)
    except ValueError:
        return None
