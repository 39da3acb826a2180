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
from swarm.agents.mutator.crossover import crossing
from swarm.agents.mutator.edit_sites import Site
from swarm.agents.mutator.history import MoveHistory, Trace
from swarm.agents.mutator.moves import Kind, Move, MovePart
from swarm.agents.mutator.parsed_file import ParsedFile
from swarm.agents.mutator.priors import RUNS, STRUCTURE, MovePriors, belief, option_prior
from swarm.agents.mutator.source import Edit
from swarm.agents.mutator.surrogate import (
    ChosenMove,
    GainSurrogate,
    Observation,
    normal_forecast,
    number_forecasts,
    option_forecasts,
)
from swarm.agents.mutator.transforms import Number, number

Evidence = TypeVar("Evidence", Observation, ChosenMove)

STRETCHES = (0.8, 0.9, 1.0, 1.12, 1.25)
"""What steps are multiplied with, so that values between the usual ones get tried as well."""

MOST_SITES = 200
MOST_MINOR = 24
"""Sites, and of numbers in bodies and changes of structure each, that a proposal looks at."""

LEAST_SIGMA = 2e-4
"""Of the score: gains are expected on no finer scale where seeds make no or hardly a difference."""

LEAST = 1e-6
"""Hope in units that is left to every move: where nothing is to be hoped, something is tried."""

FIRST = 4
"""Sites around which joint moves are built, those of the most hope."""


class SearchInputs(NamedTuple):
    """What a change of one value, kept elsewhere, says of its site here."""

    change: Change
    text: str
    evidence: Observation | ChosenMove


class Search:
    """Draws up the moves for one brief."""

    def __init__(
        self,
        brief: Brief,
        surveys: Mapping[str, ParsedFile],
        memory: MoveHistory,
        head: str,
        tuning: MovePriors,
    ) -> None:
        self.brief, self.memory, self.head, self.tuning = brief, memory, head, tuning
        finest = LEAST_SIGMA * abs(brief.score)
        self.unit = min(max(brief.sigma, finest, 1e-9), 1e60)  # squares of it are still numbers
        self.margin = tuning.margin * self.unit
        self.random = random.Random(brief.seed)
        self.sites = {site.id: site for one in surveys.values() for site in one.sites}
        self.alterations = [a for one in surveys.values() for a in one.alterations]
        crossings = (crossing(change, surveys) for change in brief.elsewhere)
        self.crossings = [one for one in crossings if one is not None]
        self.told = dict(self._tell())

    def ranked(self) -> list[Move]:
        """Return the moves, the one to be proposed first."""
        singles = [*self._of_sites(), *self._of_structure()]
        moves = [*singles, *self._joint(singles), *self._crossed()]
        moves = [move for move in moves if not self.memory.tried(self.head, move.edit)]
        drawn = [(self._draw(move), place, move) for place, move in enumerate(moves)]
        return [move for _, _, move in sorted(drawn, key=lambda one: one[:2], reverse=True)]

    def _draw(self, move: Move) -> float:
        """Return a draw whose order is that of lots in proportion to hope ** greed."""
        hope = max(move.hope, LEAST * self.unit)
        return hope / max(self.random.weibullvariate(1.0, self.tuning.greed), 1e-9)

    def _of_sites(self) -> Iterator[Move]:
        sites = list(self.sites.values())
        self.random.shuffle(sites)
        major = [site for site in sites if site.rank != "inner"][:MOST_SITES]
        minor = [site for site in sites if site.rank == "inner"][:MOST_MINOR]
        for site in major + minor:
            if site.number is None:
                prior = option_prior(site, self.tuning)
                edits = {option: (site.edit(option),) for option in site.options}
                moves = self._options("option", site.id, site.text, edits, prior)
                yield from self._best(site, moves)
            else:
                yield from self._best(site, self._numbers(site, site.number))

    def _best(self, site: Site, moves: list[Move]) -> list[Move]:
        """Return the move of most hope, if any, with the words for it."""
        if not moves:
            return []
        best = max(moves, key=lambda move: move.hope)
        told = self.told.get(site.id)
        if told is not None and told.text == best.parts[0].new:
            return [replace(best, words=_taken_over(told.change))]
        change = f"{site.label}: {best.parts[0].old} to {best.parts[0].new}"
        return [replace(best, words=f"{change} ({self._reason(site.id, best.parts[0])})")]

    def _reason(self, site: str, part: MovePart) -> str:
        attempts = self.memory.trace(site).attempts
        if not attempts:
            return "not tried before"
        forecast = Gain(part.forecast.mean, math.sqrt(part.forecast.variance), attempts)
        times = "once" if attempts == 1 else f"{attempts} times"
        return f"tried {times}, forecast {forecast.format()}"

    def _numbers(self, site: Site, here: Number) -> list[Move]:
        steps = self._steps(site, here)
        if not steps:
            return []
        told = self.told.get(site.id)
        trace = self.memory.trace(site.id)
        seen = [self._aged(one, age) for age, one in trace.seen]
        seen += [told.evidence] if told and isinstance(told.evidence, Observation) else []
        known = GainSurrogate(belief(site, self.tuning), here.place, tuple(seen))
        forecasts = number_forecasts(known, tuple(steps.values()), self.unit, self.margin)
        runs = self._runs("number", trace)
        moves = []
        for (text, step), forecast in zip(steps.items(), forecasts, strict=True):
            end = here.place + step
            part = MovePart(site.id, site.text, text, forecast, here.place, end)
            hope = forecast.promise * runs * _before_walls(trace, here.place, step)
            moves.append(Move("number", (part,), (site.edit(text),), hope, ""))
        return moves

    def _steps(self, site: Site, here: Number) -> dict[str, float]:
        """Return the values to try that were not tried on this head, and their distances."""
        told = self.told.get(site.id)
        told_step = {}
        if told is not None and isinstance(told.evidence, Observation) and told.text != site.text:
            told_step = {told.text: told.evidence.end - here.place}
        # the usual steps run out on a head that stands for long; any other is as good then
        for stretch in (self.random.choice(STRETCHES), self.random.uniform(0.3, 1.4)):
            steps = told_step | here.steps(stretch)
            untried = {text: s for text, s in steps.items() if not self._tried(site.id, text)}
            if untried:
                return untried
        return {}

    def _options(
        self,
        kind: Kind,
        site: str,
        present: str,
        edits: Mapping[str, tuple[Edit, ...]],
        prior: tuple[float, float],
    ) -> list[Move]:
        """Return a move for each option; `prior` is the mean and spread of a gain, in units."""
        options = [option for option in edits if not self._tried(site, option)]
        if not options:
            return []
        trace = self.memory.trace(site)
        chosen = [self._aged(one, age) for age, one in trace.chosen]
        told = self.told.get(site)
        chosen += [told.evidence] if told and isinstance(told.evidence, ChosenMove) else []
        mean, spread = (self.unit * share for share in prior)
        forecasts = option_forecasts(present, options, chosen, (mean, spread), self.margin)
        moves = []
        for option, forecast in zip(options, forecasts, strict=True):
            runs = self._runs(kind, trace) * (0.1 if option in trace.failed else 1.0)
            part = MovePart(site, present, option, forecast)
            moves.append(Move(kind, (part,), edits[option], forecast.promise * runs, ""))
        return moves

    def _of_structure(self) -> Iterator[Move]:
        some = self.random.sample(self.alterations, min(MOST_MINOR, len(self.alterations)))
        for one in some:
            edits = {"altered": (one.edit,)}
            moves = self._options(one.kind, one.id, "", edits, STRUCTURE[one.kind])
            yield from (replace(move, words=one.words) for move in moves)

    def _joint(self, singles: list[Move]) -> list[Move]:
        """Return moves of several sites, each of which is expected to gain by itself.

        Gains too small to be told from noise one by one are kept together.
        """
        floor = self.tuning.joint_from * self.unit
        good = [move for move in singles if move.parts[0].forecast.mean > floor]
        good.sort(key=lambda move: move.hope, reverse=True)
        grown = [self._grown(first, good) for first in good[:FIRST]]
        return [move for move in grown if len(move.parts) > 1]

    def _grown(self, move: Move, others: list[Move]) -> Move:
        for other in others:
            if len(move.parts) >= self.tuning.joint:
                break
            if other.parts[0].site in {part.site for part in move.parts}:
                continue
            parts = move.parts + other.parts
            mean = sum(part.forecast.mean for part in parts)
            variance = sum(part.forecast.variance for part in parts)
            hope = normal_forecast(mean, variance, self.margin).promise
            if hope > move.hope:
                words = f"{move.words}; {other.words}"
                move = Move("joint", parts, move.edits + other.edits, hope, words)
        return move

    def _crossed(self) -> Iterator[Move]:
        """Yield the changes from elsewhere that are more than one value of one site."""
        for one in self.crossings:
            change = one.change
            edits = one.onto(self.sites)
            if len(one.values) == 1 or not edits:
                continue
            mean, variance = self._expected(change)
            prior = (mean / self.unit, math.sqrt(variance) / self.unit)
            site = f"cross:{change.island}:{change.experiment}"
            for move in self._options("cross", site, "", {"taken": edits}, prior):
                yield replace(move, words=_taken_over(change))

    def _tell(self) -> Iterator[tuple[str, SearchInputs]]:
        for one in self.crossings:
            if len(one.values) != 1:
                continue
            ((id_, (old, new)),) = one.values.items()
            site = self.sites.get(id_)
            if site is None:
                continue
            mean, variance = self._expected(one.change)
            if site.number is None:
                chosen = ChosenMove(old, new, mean, variance)
                yield id_, SearchInputs(one.change, new, self._aged(chosen, self.memory.keeps))
                continue
            unbounded = site.number.scale == "log"
            before, after = number(old, unbounded), number(new, unbounded)
            if before is not None and after is not None:
                seen = Observation(before.place, after.place, mean, variance)
                yield id_, SearchInputs(one.change, new, self._aged(seen, self.memory.keeps))

    def _expected(self, change: Change) -> tuple[float, float]:
        """Return the mean and variance of what a change kept elsewhere gains here."""
        gain, tuning = change.gain, self.tuning
        spread = tuning.elsewhere * gain.mean
        return tuning.shrink * gain.mean, gain.noise**2 + spread**2

    def _aged(self, one: Evidence, age: int) -> Evidence:
        """Return evidence as it counts today: less sure the more was kept since, the larger it is.

        The model is no more than a likeness, and a large loss says little of the other side.
        """
        tuning, since = self.tuning, self.memory.keeps - age
        share = tuning.crush if one.gain < 0 else tuning.stretch
        misfit = (tuning.misfit**2 + tuning.drift**2 * since) * self.unit**2
        variance = one.variance + misfit + (share * one.gain) ** 2
        return replace(one, variance=variance)

    def _runs(self, kind: Kind, trace: Trace) -> float:
        """Return the chance that a move of this kind at this site leaves a program that runs."""
        good, bad = RUNS[kind]
        ran, broke = self.memory.record(kind)
        usual = (good + ran) / (good + bad + ran + broke)
        return (usual + trace.ran) / (1 + trace.attempts)

    def _tried(self, site: str, to: str) -> bool:
        return self.memory.tried(self.head, f"{site}={to}")


def _before_walls(trace: Trace, here: float, step: float) -> float:
    """Return the chance that a step runs, given where this number broke the program before."""
    chance = 1.0
    for start, end in trace.walls:
        wall = end - here
        if (end - start) * step > 0 and wall * step > 0:
            share = abs(step / wall)
            chance *= 0.1 if share >= 1 else 1 - 0.5 * share**2
    return chance


def _taken_over(change: Change) -> str:
    return f"Take over from {change.island}: {change.hypothesis}"
