"""Sections of program.md on judging: the ratchet, stack checks, promotions, migration, guards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from islands.migration import Migration
from islands.promotion.attempt import PromotionPolicy
from islands.ratchet.acceptance import AcceptanceRule
from islands.ratchet.fixed_margin import FixedMarginRule
from islands.ratchet.guards import MAX_TIMES, Guards, parse_guard
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.policy import RatchetPolicy
from islands.ratchet.simpler import SimplerRule
from islands.stacking.state import StackPolicy
from swarm.project.schema.fields import FROM_ONE, FROM_ZERO, STRICT, Count, CountOrNone, described


def _bound(written: float | str) -> float | str:
    """Return what a guard says. Raises ValueError if it is no bound."""
    if isinstance(written, str):
        parse_guard("", written)
    elif not 0 < written <= MAX_TIMES:
        raise ValueError(written)
    return written


Bound = Annotated[float | str, AfterValidator(_bound)]
"""A bound on a number, as `islands.ratchet.guards.parse_guard` reads it."""

NumberName = Annotated[str, Field(pattern=r"^[^\s:=][^:=\n]{0,79}$")]


def guards_of(written: Mapping[str, float | str]) -> Guards:
    """Return the guards of the ratchet."""
    return Guards(tuple(parse_guard(name, bound) for name, bound in written.items()))


@dataclass(frozen=True, slots=True, config=STRICT)
class RatchetSection:
    """Conditions on which a candidate is kept.

    - `baseline_seeds`: trials of the base at the start of a run
    - `fdr`: expected share of keeps that are no gain, at most (false discovery rate); 0: ask for
      `margin` standard errors instead
    - `max_pairs`: pairs of trials, candidate and head, that a candidate gets at most
    - `margin`: standard errors that a gain must exceed on all pairs, where `fdr` is 0
    - `simpler`: standard deviations of a pair that an island may lose to candidates that are kept
      for their fewer lines of code; 0: none is
    - `null_rate`: share of proposals that change nothing, to measure how often one is kept
    - `sentinel_every`: trials on a slice from one repetition of the base to the next, which shows
      whether the slice has drifted; 0: never
    """

    baseline_seeds: Annotated[
        int, Field(ge=2, le=100), described("a whole number from 2 to 100", "4")
    ] = 4
    fdr: Annotated[float, Field(ge=0, le=0.5), described("a share from 0 to 0.5", "0.05")] = 0.05
    max_pairs: Annotated[
        int, Field(ge=2, le=100), described("a whole number from 2 to 100", "8")
    ] = 8
    margin: Annotated[
        float, Field(ge=0, le=100), described("a number of standard errors from 0 to 100", "2")
    ] = 2.0
    simpler: Annotated[
        float, Field(ge=0, le=10), described("standard deviations of a pair, 0 to 10", "0.5")
    ] = 0.5
    null_rate: Annotated[float, Field(ge=0, le=0.5), described("a share from 0 to 0.5", "0.02")] = (
        0.02
    )
    sentinel_every: Annotated[CountOrNone, described(FROM_ZERO, "40")] = 40

    def policy(self, guards: Guards) -> RatchetPolicy:
        """Return how candidates are judged, with `guards` on the other measures."""
        rule: AcceptanceRule = FixedMarginRule(self.max_pairs, margin=self.margin)
        if self.fdr:
            rule = LfsrRule(self.fdr, self.max_pairs)
        return RatchetPolicy(
            rule,
            guards,
            guard_pairs=self.max_pairs,
            simpler=SimplerRule(self.simpler, self.fdr, self.max_pairs),
            null_rate=self.null_rate,
            sentinel_every=self.sentinel_every,
        )


@dataclass(frozen=True, slots=True, config=STRICT)
class StackSection:
    """Schedule of stack checks: kept changes of all islands, measured together.

    - `every`: keeps from one stack check to the next (0: never); one more precedes the run's end
    - `max_share`: share of the run's trials that all stack checks may take together
    """

    every: Annotated[CountOrNone, described(FROM_ZERO, "8")] = 8
    max_share: Annotated[float, Field(gt=0, le=1), described("a share above 0, to 1", "0.25")] = (
        0.25
    )

    def policy(self) -> StackPolicy:
        """Return when stack checks run."""
        return StackPolicy(self.every, self.max_share)


@dataclass(frozen=True, slots=True, config=STRICT)
class PromotionSection:
    """Settings of promotions: stacks measured again at the next rung.

    - `auto`: whether each judged stack is promoted, where the limits leave room
    - `stack_pairs`: pairs of trials, stack and base, in one promotion
    - `max_trials`: trials of one promotion, parts and near misses included
    - `hidden_queries`: queries of the hidden split in the whole run, one bit each
    """

    auto: Annotated[bool, described("true or false", "true")] = True
    stack_pairs: Annotated[
        int, Field(ge=2, le=100), described("a whole number from 2 to 100", "4")
    ] = 4
    max_trials: Annotated[Count, described(FROM_ONE, "32")] = 32
    hidden_queries: Annotated[CountOrNone, described(FROM_ZERO, "16")] = 16

    @property
    def min_trials(self) -> int:
        """Trials that the stack and its base alone need."""
        return 2 * self.stack_pairs + 8

    def policy(self) -> PromotionPolicy:
        """Return how promotions run."""
        return PromotionPolicy(self.auto, self.stack_pairs, self.max_trials, self.hidden_queries)


@dataclass(frozen=True, slots=True, config=STRICT)
class MigrationSection:
    """Settings of migration: kept changes offered to other islands.

    - `topology`: which islands offer changes to which
    - `every`: candidates of its own that each island tries in one interval
    - `rate`: share of the islands that take a migrant in one interval; those without a keep for
      longest come first
    """

    topology: Annotated[
        Literal["none", "ring", "star", "complete", "random"],
        described("none, ring, star, complete or random", "star"),
    ] = "star"
    every: Count = 1
    rate: Annotated[float, Field(gt=0, le=1), described("a share above 0, 1 at most", "0.5")] = 1.0

    def migration(self) -> Migration:
        """Return how changes migrate."""
        return Migration(**asdict(self))
