"""Guards: second measures that must not get worse while the metric gets better.

A guard bounds a measure of the candidate, absolutely (`peak_mib: "<= 64"`) or as a multiple of what
its head has (`accuracy: ">= 0.99x"`; `memory: 1.1` is "<= 1.1x"). Any number that the harness takes
or that a trial prints can be guarded.

A guard is judged as the score is: on the seeds that candidate and head have in common, with the
standard error of their mean margin to the limit. A violation that is sure is a discard, whatever
the score. Where a keep hangs on a guard that is not sure either way, more pairs are bought; once
there are as many as a candidate may get, the mean decides.

Not covered: a guard of a run that prints its own number, which is a claim. Margins are taken for
normal; with the few pairs that there are, sure means about one mistake in twenty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.contract import MAX_NUMBER, Outcome
from islands.ratchet.noise import Noise, spread, weigh

UNITS = {"memory": "MiB of peak memory", "seconds": "s of wall time", "lines": "lines of genome"}
"""Unit of each measure whose name does not say it."""

SURE_ERRORS = 1.645
"""Standard errors of a margin beyond which it is sure: one mistake in twenty."""

HARNESS_OWN = frozenset({"memory", "seconds", "parameters", "lines"})
"""Measures that only the harness takes: printing them counts for nothing."""

MAX_TIMES = 1e6
"""The largest multiple of the head's measure: the square of what it bounds is a number, too."""

BySeed = Mapping[int, float]
"""A measure of one commit by the seed of the trial."""

GuardState = Literal["kept", "open", "violated"]

_NUMBER = r"[-+]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_BOUND = re.compile(rf"\s*(?P<sign><=|>=)\s*(?P<limit>{_NUMBER})\s*(?P<times>[xX]?)\s*")


@dataclass(frozen=True, slots=True)
class Guard:
    """A bound on one measure.

    - `name`: of the measure
    - `limit`: the bound, in the measure's unit, or times the head's
    - `relative`: whether it is times the head's
    - `at_most`: whether the measure may not exceed it, else it may not fall below
    """

    name: str
    limit: float
    relative: bool = True
    at_most: bool = True

    def margins(self, candidate: BySeed, head: BySeed) -> list[float]:
        """Return how far the candidate is on the allowed side, seed by seed."""
        sign = 1 if self.at_most else -1
        if not self.relative:
            return [sign * (self.limit - value) for value in candidate.values()]
        common = [seed for seed in candidate if seed in head]
        return [sign * (self.limit * head[seed] - candidate[seed]) for seed in common]

    def noise(self, base: BySeed) -> Noise:
        """Return what is known of the noise of a margin before any is seen: the base's spread."""
        sigma = spread(list(base.values()))
        # a pair differs by both of its values, the head's times the limit
        scale = math.sqrt((1 + self.limit**2) / 2) if self.relative else math.sqrt(0.5)
        return Noise(sigma * scale, len(base))


@dataclass(frozen=True, slots=True)
class Guards:
    """The guards of a run, in the order in which they are judged."""

    all: tuple[Guard, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the guarded measures."""
        return tuple(guard.name for guard in self.all)


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """Whether all guards hold; `reason` says of which one they do not, or not for sure."""

    state: GuardState
    reason: str = ""


def parse_guard(name: str, written: float | str) -> Guard:
    """Return the guard that program.md writes. Raises ValueError if it is none."""
    if isinstance(written, str):
        match = _BOUND.fullmatch(written)
        if match is None:
            raise ValueError(written)
        guard = Guard(name, float(match["limit"]), bool(match["times"]), match["sign"] == "<=")
    elif name in HARNESS_OWN and written > 0:
        guard = Guard(name, float(written))
    else:
        raise ValueError(written)
    if not abs(guard.limit) <= (MAX_TIMES if guard.relative else MAX_NUMBER):
        raise ValueError(written)
    return guard


def measures(outcome: Outcome) -> dict[str, float]:
    """Return the numbers of a trial that can be guarded, by name: the harness's before claims."""
    printed = {name: value for name, value in outcome.claims.items() if name not in HARNESS_OWN}
    own = {"memory": outcome.peak_mib, "seconds": outcome.seconds.get("budget", 0.0)}
    return {**printed, **outcome.facts, **own}


def missing_guards(guards: Guards, base: Mapping[str, BySeed]) -> str:
    """Return, in a line, which guards name no number that the base's trials have; "" for none."""
    missing = [name for name in guards.names if not base.get(name)]
    if not missing:
        return ""
    known = ", ".join(sorted(base)) or "none"
    return f"guards: {', '.join(missing)} is no number of its trials, which have {known}"


def judge_guards(
    guards: Guards,
    head: Mapping[str, BySeed],
    candidate: Mapping[str, BySeed],
    base: Mapping[str, BySeed],
    *,
    last: bool = False,
) -> GuardVerdict:
    """Return whether `candidate` keeps all guards; `last`: no more pairs will be measured.

    `base` shows how much each measure varies between seeds.
    """
    verdicts = [_judge(guard, head, candidate, base, last=last) for guard in guards.all]
    for state in ("violated", "open"):
        for verdict in verdicts:
            if verdict.state == state:
                return verdict
    return GuardVerdict("kept")


def _judge(
    guard: Guard,
    head: Mapping[str, BySeed],
    candidate: Mapping[str, BySeed],
    base: Mapping[str, BySeed],
    *,
    last: bool,
) -> GuardVerdict:
    mine, theirs = candidate.get(guard.name, {}), head.get(guard.name, {})
    if not mine:
        return GuardVerdict("violated", f"guard: {guard.name} was not printed")
    margins = guard.margins(mine, theirs)
    if not margins:
        return GuardVerdict("open", f"guard: {guard.name} has no seed in common with the head")
    margin = weigh(margins, guard.noise(base.get(guard.name, {})))
    sure = SURE_ERRORS * margin.noise
    state: GuardState = "open"
    if margin.mean < -sure or (last and margin.mean < 0):
        state = "violated"
    elif margin.mean >= sure or last:
        state = "kept"
    return GuardVerdict(state, _reason(guard, list(mine.values()), list(theirs.values()), sure))


def _reason(guard: Guard, mine: Sequence[float], theirs: Sequence[float], sure: float) -> str:
    unit = UNITS.get(guard.name, guard.name)
    error = f" ± {sure / SURE_ERRORS:.2g}" if sure else ""
    bound = "at most" if guard.at_most else "at least"
    allowed = f"{bound} {guard.limit:,.6g} is allowed"
    if guard.relative:
        other = f"the head has {_mean(theirs):,.6g}" if theirs else "the head has none"
        allowed = f"{other}; {bound} {guard.limit:g} times that is allowed"
    return f"guard: {_mean(mine):,.6g}{error} {unit}, {allowed}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
