"""Options of `swarm simulate`: what cells a study of whole runs has, and how it is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import get_args

import click

from harness.contract import SetupError
from islands.migration import NO_MIGRATION, Migration, Topology
from islands.ratchet.acceptance import AcceptanceRule
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.policy import RatchetPolicy
from islands.stacking.state import StackPolicy
from swarm.cli.console import Command, FiniteRange, add_options, json_option, refused_option
from swarm.cli.disturbance_options import NOT_NEGATIVE, DisturbanceOptions
from swarm.simulation.mixtures import MIXTURES, unit
from swarm.simulation.rules import RULES
from swarm.simulation.simulated_run import RunPlan
from swarm.simulation.study import StudyCell
from swarm.simulation.world import INTERACTIONS, Conditions

_ABOVE_ZERO = FiniteRange(min=0, min_open=True)


@dataclass(frozen=True, slots=True)
class RunStudyOptions:
    """The options of `swarm simulate nights`; a tuple holds one value a cell, empty the default.

    Sizes are in median true gains of the mixture, `noise` in units of the score.
    """

    mixtures: tuple[str, ...]
    nil_shares: tuple[float, ...]
    sigmas: tuple[float, ...]
    noise: float | None
    budgets: tuple[int, ...]
    islands: int
    rules: tuple[str, ...]
    levels: tuple[float, ...]
    interactions: str
    seed_correlation: float
    slice_spread: float
    sentinel_every: int
    null_rate: float
    stack_every: int
    topologies: tuple[Topology, ...]
    migrate_every: tuple[int, ...]
    baselines: bool
    disturbances: DisturbanceOptions

    def cells(self) -> list[StudyCell]:
        """Return a cell for each combination. Raises SetupError where two options conflict."""
        if self.sigmas and self.noise is not None:
            raise SetupError("--sigma and --noise: choose one")
        return [
            StudyCell(
                f"{rule}, {layout.name}" if layout.name else rule,
                mixture if nil is None else f"{mixture}, {nil:.0%} nil",
                self._conditions(mixture, nil, sigma),
                self._plan(acceptance, layout, trials),
            )
            for mixture, nil, trials, sigma, (rule, acceptance), layout in product(
                self.mixtures or ("published", "harsh"),
                self.nil_shares or (None,),
                self.budgets or (100,),
                self.sigmas or (1.0,),
                list(self._rules()),
                list(self._layouts()),
            )
        ]

    def _conditions(self, mixture: str, nil_share: float | None, sigma: float) -> Conditions:
        effects = MIXTURES[mixture]
        if nil_share is not None:
            if effects.above(0.0) == 0.0:
                raise SetupError(f"--nil-share: all proposals of the mixture {mixture} do nothing")
            effects = effects.with_nil_share(nil_share)
        conditions = Conditions(
            effects,
            sigma if self.noise is None else self.noise / unit(effects),
            self.seed_correlation,
            interactions=INTERACTIONS[self.interactions],
            slice_spread=self.slice_spread,
        )
        return self.disturbances.applied(conditions)

    def _plan(self, acceptance: AcceptanceRule, layout: _Layout, trials: int) -> RunPlan:
        return RunPlan(
            RatchetPolicy(acceptance, null_rate=self.null_rate, sentinel_every=self.sentinel_every),
            layout.islands,
            trials,
            migration=layout.migration,
            runs=layout.runs,
            stacking=StackPolicy(self.stack_every),
        )

    def _rules(self) -> Iterator[tuple[str, AcceptanceRule]]:
        """Yield every rule with its name, the product's once for each --fdr."""
        for name in self.rules or ("swarm",):
            if name == "swarm" and self.levels:
                yield from ((f"{name} {fdr:g}", LfsrRule(fdr)) for fdr in self.levels)
            else:
                yield name, RULES[name]

    def _layouts(self) -> Iterator[_Layout]:
        """Yield how a run's trials are spread over islands."""
        for topology in self.topologies or ("none",):
            if topology == "none":
                yield _Layout("", self.islands, 1, NO_MIGRATION)
                continue
            for every in self.migrate_every or (1,):
                migration = Migration(topology, every)
                yield _Layout(f"{topology} every {every}", self.islands, 1, migration)
        if self.baselines:
            yield _Layout(f"{self.islands} apart", 1, self.islands, NO_MIGRATION)
            yield _Layout("one long", 1, 1, NO_MIGRATION)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How trials are spread: islands of one run, independent runs, and migration."""

    name: str
    islands: int
    runs: int
    migration: Migration


_RUN_OPTIONS = (
    click.option(
        "--mixture",
        "mixtures",
        multiple=True,
        type=click.Choice(list(MIXTURES)),
        help="Distribution of proposals' true effects; default: published and harsh.",
    ),
    click.option(
        "--nil-share",
        "nil_shares",
        multiple=True,
        type=FiniteRange(0, 1, max_open=True),
        help="Share of proposals that do nothing; default: the mixture's.",
    ),
    click.option(
        "--sigma",
        "sigmas",
        multiple=True,
        type=_ABOVE_ZERO,
        help="Noise of a score between seeds, in median true gains; default: 1.",
    ),
    click.option(
        "--noise", type=_ABOVE_ZERO, help="The same in units of the score, such as 0.0007."
    ),
    click.option(
        "--trials",
        "budgets",
        multiple=True,
        type=click.IntRange(min=1),
        help="Trials of a run, all islands together; default: 100.",
    ),
    click.option(
        "--islands",
        default=8,
        show_default=True,
        type=click.IntRange(1, 64),
        help="Islands, each with a slice of its own.",
    ),
    click.option(
        "--rule",
        "rules",
        multiple=True,
        type=click.Choice(list(RULES)),
        help="Acceptance rule; default: swarm.",
    ),
    click.option(
        "--fdr",
        "levels",
        multiple=True,
        type=FiniteRange(0, 0.5, min_open=True),
        help="Share of keeps that may be false under the rule swarm; default: 0.05.",
    ),
    click.option(
        "--interactions",
        default="none",
        show_default=True,
        type=click.Choice(list(INTERACTIONS)),
        help="How many pairs of changes are worth more or less together than apart.",
    ),
    click.option(
        "--seed-correlation",
        default=0.5,
        show_default=True,
        type=FiniteRange(0, 0.95),
        help="Share of a score's variance that all commits have in common on one seed.",
    ),
    click.option(
        "--slice-spread",
        default=0.0,
        show_default=True,
        type=NOT_NEGATIVE,
        help="Standard deviation of slices' offsets, in median true gains.",
    ),
    click.option(
        "--sentinel-every",
        default=0,
        show_default=True,
        type=click.IntRange(min=0),
        help="Trials that a slice runs at most until it runs the base again; 0: no sentinels.",
    ),
    click.option(
        "--null-rate",
        default=0.0,
        show_default=True,
        type=FiniteRange(0, 0.5),
        help="Share of proposals that the run itself replaces by no-ops (A/A tests).",
    ),
    click.option(
        "--stack-every",
        default=0,
        show_default=True,
        type=click.IntRange(min=0),
        help="Check the stack after so many more keeps; 0: never.",
    ),
    click.option(
        "--migration",
        "topologies",
        multiple=True,
        type=click.Choice(get_args(Topology)),
        help="Topology, see program.md's migration; default: none.",
    ),
    click.option(
        "--migrate-every",
        multiple=True,
        type=click.IntRange(min=1),
        help="Own candidates, per island, in which an island takes one migrant; default: 1.",
    ),
    click.option(
        "--baselines",
        is_flag=True,
        help="Compare with one island given all trials, and with as many independent ones.",
    ),
)


_RENAMED_OPTIONS = (
    ("--rho", "--seed-correlation", False),
    ("--offsets", "--slice-spread", False),
    ("--sentinels", "--sentinel-every", False),
    ("--nulls", "--null-rate", False),
    ("--every", "--stack-every", False),
    ("--interval", "--migrate-every", False),
    ("--ratchets", "--baselines", True),
)
"""Old name, new name, whether it is a flag."""


def run_options(command: Command) -> Command:
    """Give `command` the options that make up RunStudyOptions and refuse their old names."""
    for old, new, is_flag in _RENAMED_OPTIONS:
        command = refused_option(old, new, is_flag=is_flag)(command)
    return add_options(command, _RUN_OPTIONS)


def study_options(command: Command) -> Command:
    """Give `command` the options that every study has."""
    options = (
        click.option(
            "--repeats",
            default=50,
            show_default=True,
            type=click.IntRange(min=1),
            help="Simulations of each kind.",
        ),
        click.option(
            "--seed",
            default=1,
            show_default=True,
            type=click.IntRange(min=0),
            help="Fixes every simulation.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Processes; default: one for each core.",
        ),
        json_option,
    )
    return add_options(command, options)
