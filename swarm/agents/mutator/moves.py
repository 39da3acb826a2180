"""Every move that a head offers, each with the gain expected of it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from islands.records import Brief
from swarm.agents.mutator import tuning as tune
from swarm.agents.mutator.cross import crossing
from swarm.agents.mutator.memory import Memory, Trace
from swarm.agents.mutator.model import (
    Chosen,
    Forecast,
    Seen,
    normal_forecast,
    number_forecasts,
    option_forecasts,
)
from swarm.agents.mutator.scales import number
from swarm.agents.mutator.sites import Site
from swarm.agents.mutator.source import Edit
from swarm.agents.mutator.survey import Survey


@dataclass(frozen=True, slots=True)
class Part:
    """One site's share of a move; `start` and `end` are places on a number's scale."""

    site: str
    name: str
    old: str
    new: str
    edits: tuple[Edit, ...]
    forecast: Forecast
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """What may be proposed: its parts, and how much is to be hoped of it."""

    kind: str
    parts: tuple[Part, ...]
    hope: float
    words: str = ""

    @property
    def edit(self) -> str:
        return " & ".join(sorted(f"{part.site}={part.new}" for part in self.parts))

    @property
    def edits(self) -> tuple[Edit, ...]:
        return tuple(edit for part in self.parts for edit in part.edits)


# how often a change of this kind leaves a program that runs, as successes and failures in advance
RUNS = {
    "number": (9.0, 1.0), "option": (9.0, 1.0), "cross": (19.0, 1.0), "joint": (9.0, 1.0),
    "term": (3.0, 2.0), "statement": (3.0, 2.0), "swap": (3.0, 2.0),
}  # fmt: skip
STRUCTURE = {"term": (-3.0, 2.0), "statement": (-3.0, 2.0), "swap": (-2.5, 2.0)}
MINOR = 24
STRETCHES = (0.8, 0.9, 1.0, 1.12, 1.25)


class Moves:
    """Draws up the moves for one brief."""

    def __init__(
        self,
        brief: Brief,
        surveys: Mapping[str, Survey],
        memory: Memory,
        head: str,
        tuning: tune.Tuning,
    ) -> None:
        self.brief, self.surveys, self.memory = brief, surveys, memory
        self.head, self.tuning = head, tuning
        self.random = random.Random(brief.seed)
        self.unit = brief.sigma if brief.sigma > 0 else max(0.002 * abs(brief.score), 1e-6)
        self.margin = tuning.margin * self.unit
        self.sites = {s.id: s for one in surveys.values() for s in one.sites}
        self.crossings = [c for c in (crossing(x, surveys) for x in brief.elsewhere) if c]
        self.told = self._told()

    def ranked(self) -> list[Move]:
        """Return the moves, the first to be proposed first."""
        singles = self.singles()
        moves = singles + self.joints(singles) + self.crosses()
        moves = [m for m in moves if m.hope > 0 and not self.memory.tried(self.head, m.edit)]
        drawn = [(self._draw(move.hope), move) for move in moves]
        return [move for _, move in sorted(drawn, key=lambda d: d[0], reverse=True)]

    def _draw(self, hope: float) -> float:
        return hope * self.random.weibullvariate(1.0, self.tuning.greed) ** -1.0

    # one site

    def singles(self) -> list[Move]:
        major = [site for site in self.sites.values() if site.rank != "inner"]
        minor = [site for site in self.sites.values() if site.rank == "inner"]
        self.random.shuffle(minor)
        found = [m for site in major + minor[:MINOR] for m in self.of_site(site)]
        changes = [a for one in self.surveys.values() for a in one.alterations]
        self.random.shuffle(changes)
        for change in changes[:MINOR]:
            site = Site(
                change.id, change.edit.path, change.old, "inner", 0, 0, "", options=("cut",)
            )
            prior = STRUCTURE[change.kind]
            found += self._options(
                site, change.kind, prior, (change.edit,), (change.old, change.new)
            )
        return found

    def of_site(self, site: Site) -> list[Move]:
        if site.number is None:
            rank = {"knob": 1.0, "named": self.tuning.named, "inner": self.tuning.inner}[site.rank]
            mean, sd = self.tuning.option
            return self._options(site, "option", (mean / rank**0.5, sd))
        return self._numbers(site)

    def _numbers(self, site: Site) -> list[Move]:
        assert site.number is not None
        here = site.number.place
        steps = site.number.steps(self.random.choice(STRETCHES))
        told = [one for id_, one in self.told if id_ == site.id and isinstance(one, Seen)]
        for one in told:  # what paid elsewhere is worth trying to the same value
            text = site.number.at(one.end, 0.0)
            if text is not None:
                steps.setdefault(text, one.end - here)
        steps = {t: d for t, d in steps.items() if not self._tried(site, t)}
        if not steps:
            return []
        trace = self.memory.trace(site.id)
        belief = tune.belief(site, self.tuning)
        seen = [self._weighed(one, age) for age, one in trace.seen]
        forecasts = number_forecasts(
            belief, here, (*seen, *told), tuple(steps.values()), self.unit, self.margin
        )
        moves = []
        for (text, step), forecast in zip(steps.items(), forecasts, strict=True):
            ok = self._runs("number", trace) * _beyond_walls(trace, here, step)
            part = Part(
                site.id, site.name, site.text, text, (site.edit(text),), forecast, here, here + step
            )
            moves.append(Move("number", (part,), forecast.promise * ok))
        return [max(moves, key=lambda m: m.hope)]

    def _options(
        self,
        site: Site,
        kind: str,
        prior: tuple[float, float],
        edits: tuple[Edit, ...] = (),
        words: tuple[str, str] | None = None,
    ) -> list[Move]:
        options = [o for o in site.options if not self._tried(site, o)]
        if not options:
            return []
        trace = self.memory.trace(site.id)
        chosen = [replace(c, variance=self._aged(c.variance, age)) for age, c in trace.chosen]
        chosen += [one for id_, one in self.told if id_ == site.id and isinstance(one, Chosen)]
        mean, sd = prior[0] * self.unit, prior[1] * self.unit
        forecasts = option_forecasts(site.text, options, chosen, (mean, sd), self.margin)
        moves = []
        for option, forecast in zip(options, forecasts, strict=True):
            ok = self._runs(kind, trace) * (0.1 if option in trace.failed else 1.0)
            part = Part(
                site.id, site.name, site.text, option, edits or (site.edit(option),), forecast
            )
            said = "" if words is None else _say_structure(kind, *words)
            moves.append(Move(kind, (part,), forecast.promise * ok, said))
        return [max(moves, key=lambda m: m.hope)]

    # several sites

    def joints(self, singles: list[Move]) -> list[Move]:
        floor = self.tuning.joint_from * self.unit
        good = [m for m in singles if m.parts[0].forecast.mean > floor]
        good.sort(key=lambda m: m.hope, reverse=True)
        found: list[Move] = []
        for first in good[:4]:
            parts, hope, ok = list(first.parts), first.hope, 1.0
            for other in good:
                if len(parts) >= self.tuning.joint or other.parts[0].site in {
                    p.site for p in parts
                }:
                    continue
                trial = [*parts, *other.parts]
                mean = sum(p.forecast.mean for p in trial)
                variance = sum(p.forecast.variance for p in trial)
                forecast = normal_forecast(mean, variance, self.margin)
                if forecast.promise * ok > hope:
                    parts, hope = trial, forecast.promise * ok
            if len(parts) > 1:
                found.append(Move("joint", tuple(parts), hope))
        return found

    def crosses(self) -> list[Move]:
        found = []
        for one in self.crossings:
            gain, change = one.change.gain, one.change
            id_ = f"cross:{change.island}:{change.experiment}"
            edits = one.edits or tuple(
                site.edit(new)
                for key, (_, new) in one.values.items()
                if (site := self.sites.get(key)) is not None and site.text != new
            )
            if not edits:
                continue
            prior = (
                self.tuning.shrink * gain.mean,
                (gain.noise**2 + (0.4 * gain.mean) ** 2) ** 0.5,
            )
            trace = self.memory.trace(id_)
            chosen = [c for _, c in trace.chosen]
            forecast = option_forecasts("", ["taken"], chosen, prior, self.margin)[0]
            ok = self._runs("cross", trace) * (0.1 if trace.failed else 1.0)
            part = Part(id_, id_, "", "taken", edits, forecast)
            said = f"Take over from {change.island}: {change.hypothesis}"
            found.append(Move("cross", (part,), forecast.promise * ok, said))
        return found

    # what is known

    def _told(self) -> list[tuple[str, Seen | Chosen]]:
        """Return what other islands' keeps of a single value say of that site."""
        told: list[tuple[str, Seen | Chosen]] = []
        for one in self.crossings:
            if len(one.values) != 1:
                continue
            (id_, (old, new)), gain = next(iter(one.values.items())), one.change.gain
            variance = gain.noise**2 + (0.4 * gain.mean) ** 2
            site = self.sites.get(id_)
            if site is None:
                continue
            unbounded = site.number is not None and site.number.scale == "log"
            before, after = number(old, unbounded), number(new, unbounded)
            if site.number is not None and before is not None and after is not None:
                told.append((id_, Seen(before.place, after.place, gain.mean, variance)))
            elif site.number is None:
                told.append((id_, Chosen(old, new, gain.mean, variance)))
        return told

    def _aged(self, variance: float, age: int) -> float:
        since = self.memory.keeps - age
        tuning = self.tuning
        return variance + (tuning.misfit**2 + tuning.drift**2 * since) * self.unit**2

    def _weighed(self, one: Seen, age: int) -> Seen:
        crush = (self.tuning.crush * min(one.gain, 0.0)) ** 2
        return replace(one, variance=self._aged(one.variance, age) + crush)

    def _runs(self, kind: str, trace: Trace) -> float:
        good, bad = RUNS[kind]
        ran, broke = self.memory.runs.get(kind, (0.0, 0.0))
        usual = (good + ran) / (good + bad + ran + broke)
        return (usual + trace.ran) / (1 + trace.ran + trace.broke)

    def _tried(self, site: Site, to: str) -> bool:
        return self.memory.tried(self.head, f"{site.id}={to}")


def _beyond_walls(trace: Trace, here: float, step: float) -> float:
    """Return the chance that a step runs, given where this number broke the program before."""
    chance = 1.0
    for start, end in trace.broken:
        wall = end - here
        if (end - start) * step <= 0 or wall * step <= 0:
            continue
        share = abs(step) / abs(wall)
        chance *= 0.1 if share >= 1 else 1 - 0.5 * share**2
    return chance


def _say_structure(kind: str, old: str, new: str) -> str:
    if kind == "statement":
        return f"Do without `{old}`"
    return f"Put `{new}` for `{old}`"
