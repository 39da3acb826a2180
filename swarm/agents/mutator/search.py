"""Ranks the moves that a head offers by what is to be hoped of each.

Hope is the gain expected of a move where it gains, times the chance that the program still runs.
Which move comes first is drawn, the more hope the likelier, so that islands differ in what they
try. Every site offers its best value; the sites with the most to be expected also go together.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from islands.records import Brief, Change, Gain
from swarm.agents.mutator.crossover import find_crossover
from swarm.agents.mutator.edit_sites import Site
from swarm.agents.mutator.history import MoveHistory, SiteHistory
from swarm.agents.mutator.moves import Move, MoveKind, MovePart
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
)
from swarm.agents.mutator.transforms import Number, parse_number

Evidence = TypeVar("Evidence", NumberObservation, OptionObservation)

STEP_STRETCHES = (0.8, 0.9, 1.0, 1.12, 1.25)
"""What steps are multiplied with, so that values between the usual ones get tried as well."""

MAX_MAJOR_SITES = 200
MAX_MINOR_SITES = 24
"""Sites, and of numbers in bodies and changes of structure each, that a proposal looks at."""

MIN_SIGMA_SHARE = 2e-4
"""Of the score: gains are expected on no finer scale where seeds make no or hardly a difference."""

MIN_MERIT_UNITS = 1e-6
"""Hope in units that is left to every move: where nothing is to be hoped, something is tried."""

JOINT_STARTS = 4
"""Sites around which joint moves are built, those of the most hope."""


class ImportedValue(NamedTuple):
    """What a change of one value, kept elsewhere, says of its site here."""

    change: Change
    text: str
    observation: NumberObservation | OptionObservation


class Search:
    """Draws up the moves for one brief."""

    def __init__(
        self,
        brief: Brief,
        files: Mapping[str, ParsedFile],
        history: MoveHistory,
        head: str,
        parameters: SearchParameters,
    ) -> None:
        self.brief, self.history, self.head, self.parameters = brief, history, head, parameters
        finest = MIN_SIGMA_SHARE * abs(brief.score)
        self.unit = min(max(brief.sigma, finest, 1e-9), 1e60)  # squares of it are still numbers
        self.margin = parameters.margin * self.unit
        self.random = random.Random(brief.seed)
        self.sites = {site.id: site for one in files.values() for site in one.sites}
        self.structural_edits = [a for one in files.values() for a in one.structural_edits]
        crossings = (find_crossover(change, files) for change in brief.elsewhere)
        self.crossovers = [one for one in crossings if one is not None]
        self.imported = dict(self._imported_values())

    def ranked(self) -> list[Move]:
        """Return the moves, the one to be proposed first."""
        singles = [*self._site_moves(), *self._structural_moves()]
        moves = [*singles, *self._joint_moves(singles), *self._crossover_moves()]
        moves = [move for move in moves if not self.history.was_tried(self.head, move.edit_id)]
        drawn = [(self._draw(move), place, move) for place, move in enumerate(moves)]
        return [move for _, _, move in sorted(drawn, key=lambda one: one[:2], reverse=True)]

    def _draw(self, move: Move) -> float:
        """Return a draw whose order is that of lots in proportion to hope ** greed."""
        hope = max(move.merit, MIN_MERIT_UNITS * self.unit)
        return hope / max(self.random.weibullvariate(1.0, self.parameters.greed), 1e-9)

    def _site_moves(self) -> Iterator[Move]:
        sites = list(self.sites.values())
        self.random.shuffle(sites)
        major = [site for site in sites if site.rank != "inner"][:MAX_MAJOR_SITES]
        minor = [site for site in sites if site.rank == "inner"][:MAX_MINOR_SITES]
        for site in major + minor:
            if site.number is None:
                prior = option_prior(site, self.parameters)
                edits = {option: (site.edit(option),) for option in site.options}
                moves = self._option_moves("option", site.id, site.text, edits, prior)
                yield from self._best_move(site, moves)
            else:
                yield from self._best_move(site, self._number_moves(site, site.number))

    def _best_move(self, site: Site, moves: list[Move]) -> list[Move]:
        """Return the move of most hope, if any, with the words for it."""
        if not moves:
            return []
        best = max(moves, key=lambda move: move.merit)
        told = self.imported.get(site.id)
        if told is not None and told.text == best.parts[0].new:
            return [replace(best, description=_import_description(told.change))]
        change = f"{site.label}: {best.parts[0].old} to {best.parts[0].new}"
        return [replace(best, description=f"{change} ({self._reason(site.id, best.parts[0])})")]

    def _reason(self, site: str, part: MovePart) -> str:
        attempts = self.history.site(site).attempts
        if not attempts:
            return "not tried before"
        forecast = Gain(part.forecast.mean, math.sqrt(part.forecast.variance), attempts)
        times = "once" if attempts == 1 else f"{attempts} times"
        return f"tried {times}, forecast {forecast.format()}"

    def _number_moves(self, site: Site, here: Number) -> list[Move]:
        steps = self._steps(site, here)
        if not steps:
            return []
        told = self.imported.get(site.id)
        trace = self.history.site(site.id)
        seen = [self._discounted(one, age) for age, one in trace.number_observations]
        seen += (
            [told.observation] if told and isinstance(told.observation, NumberObservation) else []
        )
        known = NumberModel(number_prior(site, self.parameters), here.place, tuple(seen))
        forecasts = number_forecasts(known, tuple(steps.values()), self.unit, self.margin)
        runs = self._chance_to_run("number", trace)
        moves = []
        for (text, step), forecast in zip(steps.items(), forecasts, strict=True):
            end = here.place + step
            part = MovePart(site.id, site.text, text, forecast, here.place, end)
            hope = (
                forecast.expected_improvement * runs * _chance_before_walls(trace, here.place, step)
            )
            moves.append(Move("number", (part,), (site.edit(text),), hope, ""))
        return moves

    def _steps(self, site: Site, here: Number) -> dict[str, float]:
        """Return the values to try that were not tried on this head, and their distances."""
        told = self.imported.get(site.id)
        told_step = {}
        if (
            told is not None
            and isinstance(told.observation, NumberObservation)
            and told.text != site.text
        ):
            told_step = {told.text: told.observation.end - here.place}
        # the usual steps run out on a head that stands for long; any other is as good then
        for stretch in (self.random.choice(STEP_STRETCHES), self.random.uniform(0.3, 1.4)):
            steps = told_step | here.steps(stretch)
            untried = {text: s for text, s in steps.items() if not self._was_tried(site.id, text)}
            if untried:
                return untried
        return {}

    def _option_moves(
        self,
        kind: MoveKind,
        site: str,
        present: str,
        edits: Mapping[str, tuple[Edit, ...]],
        prior: tuple[float, float],
    ) -> list[Move]:
        """Return a move for each option; `prior` is the mean and spread of a gain, in units."""
        options = [option for option in edits if not self._was_tried(site, option)]
        if not options:
            return []
        trace = self.history.site(site)
        chosen = [self._discounted(one, age) for age, one in trace.option_observations]
        told = self.imported.get(site)
        chosen += (
            [told.observation] if told and isinstance(told.observation, OptionObservation) else []
        )
        mean, spread = (self.unit * share for share in prior)
        forecasts = option_forecasts(present, options, chosen, (mean, spread), self.margin)
        moves = []
        for option, forecast in zip(options, forecasts, strict=True):
            runs = self._chance_to_run(kind, trace) * (
                0.1 if option in trace.broken_options else 1.0
            )
            part = MovePart(site, present, option, forecast)
            moves.append(
                Move(kind, (part,), edits[option], forecast.expected_improvement * runs, "")
            )
        return moves

    def _structural_moves(self) -> Iterator[Move]:
        some = self.random.sample(
            self.structural_edits, min(MAX_MINOR_SITES, len(self.structural_edits))
        )
        for one in some:
            edits = {"altered": (one.edit,)}
            moves = self._option_moves(one.kind, one.id, "", edits, STRUCTURAL_GAINS[one.kind])
            yield from (replace(move, description=one.description) for move in moves)

    def _joint_moves(self, singles: list[Move]) -> list[Move]:
        """Return moves of several sites, each of which is expected to gain by itself.

        Gains too small to be told from noise one by one are kept together.
        """
        floor = self.parameters.joint_from * self.unit
        good = [move for move in singles if move.parts[0].forecast.mean > floor]
        good.sort(key=lambda move: move.merit, reverse=True)
        grown = [self._joined(first, good) for first in good[:JOINT_STARTS]]
        return [move for move in grown if len(move.parts) > 1]

    def _joined(self, move: Move, others: list[Move]) -> Move:
        for other in others:
            if len(move.parts) >= self.parameters.joint:
                break
            if other.parts[0].site in {part.site for part in move.parts}:
                continue
            parts = move.parts + other.parts
            mean = sum(part.forecast.mean for part in parts)
            variance = sum(part.forecast.variance for part in parts)
            hope = normal_forecast(mean, variance, self.margin).expected_improvement
            if hope > move.merit:
                words = f"{move.description}; {other.description}"
                move = Move("joint", parts, move.edits + other.edits, hope, words)
        return move

    def _crossover_moves(self) -> Iterator[Move]:
        """Yield the changes from elsewhere that are more than one value of one site."""
        for one in self.crossovers:
            change = one.change
            edits = one.edits_for(self.sites)
            if len(one.values) == 1 or not edits:
                continue
            mean, variance = self._expected_gain(change)
            prior = (mean / self.unit, math.sqrt(variance) / self.unit)
            site = f"cross:{change.island}:{change.experiment}"
            for move in self._option_moves("cross", site, "", {"taken": edits}, prior):
                yield replace(move, description=_import_description(change))

    def _imported_values(self) -> Iterator[tuple[str, ImportedValue]]:
        for one in self.crossovers:
            if len(one.values) != 1:
                continue
            ((id_, (old, new)),) = one.values.items()
            site = self.sites.get(id_)
            if site is None:
                continue
            mean, variance = self._expected_gain(one.change)
            if site.number is None:
                chosen = OptionObservation(old, new, mean, variance)
                yield (
                    id_,
                    ImportedValue(one.change, new, self._discounted(chosen, self.history.keeps)),
                )
                continue
            unbounded = site.number.scale == "log"
            before, after = parse_number(old, unbounded), parse_number(new, unbounded)
            if before is not None and after is not None:
                seen = NumberObservation(before.place, after.place, mean, variance)
                yield (
                    id_,
                    ImportedValue(one.change, new, self._discounted(seen, self.history.keeps)),
                )

    def _expected_gain(self, change: Change) -> tuple[float, float]:
        """Return the mean and variance of what a change kept elsewhere gains here."""
        gain, tuning = change.gain, self.parameters
        spread = tuning.elsewhere * gain.mean
        return tuning.shrink * gain.mean, gain.noise**2 + spread**2

    def _discounted(self, one: Evidence, age: int) -> Evidence:
        """Return evidence as it counts today: less sure the more was kept since, the larger it is.

        The model is no more than a likeness, and a large loss says little of the other side.
        """
        tuning, since = self.parameters, self.history.keeps - age
        share = tuning.crush if one.gain < 0 else tuning.stretch
        misfit = (tuning.misfit**2 + tuning.drift**2 * since) * self.unit**2
        variance = one.variance + misfit + (share * one.gain) ** 2
        return replace(one, variance=variance)

    def _chance_to_run(self, kind: MoveKind, trace: SiteHistory) -> float:
        """Return the chance that a move of this kind at this site leaves a program that runs."""
        good, bad = RUN_COUNTS[kind]
        ran, broke = self.history.run_counts(kind)
        usual = (good + ran) / (good + bad + ran + broke)
        return (usual + trace.ran) / (1 + trace.attempts)

    def _was_tried(self, site: str, to: str) -> bool:
        return self.history.was_tried(self.head, f"{site}={to}")


def _chance_before_walls(trace: SiteHistory, here: float, step: float) -> float:
    """Return the chance that a step runs, given where this number broke the program before."""
    chance = 1.0
    for start, end in trace.walls:
        wall = end - here
        if (end - start) * step > 0 and wall * step > 0:
            share = abs(step / wall)
            chance *= 0.1 if share >= 1 else 1 - 0.5 * share**2
    return chance


def _import_description(change: Change) -> str:
    return f"Take over from {change.island}: {change.hypothesis}"
