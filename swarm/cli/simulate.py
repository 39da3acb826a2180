"""`swarm simulate`: nights whose truth is known, to choose a rule or to plan a night."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.progress import Progress

from harness.contract import SetupError
from islands.migration import STAY, Migration, Topology
from islands.ratchet.acceptance import AcceptanceRule
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.policy import RatchetPolicy
from islands.stacking.state import StackPolicy
from swarm.simulation.mixtures import MIXTURES, unit
from swarm.simulation.report import finite, plain, table
from swarm.simulation.rules import RULES
from swarm.simulation.simulated_run import RunPlan
from swarm.simulation.stack_study import cases, study_stacks
from swarm.simulation.stack_study import table as stack_table
from swarm.simulation.study import Cell, Summary, study
from swarm.simulation.world import INTERACTIONS, Conditions, Drift

PICTURES = (".png", ".svg", ".pdf")
"""Suffixes of what --plot can write."""

_PIPED_WIDTH = 240
"""Columns where there is no terminal that says how many it has."""


class _Finite(click.FloatRange):
    """A range that keeps out nan and inf, which no comparison does."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number", param, ctx)
        return number


_ABOVE_ZERO = _Finite(min=0, min_open=True)


@click.command()
@click.option(
    "--mixture",
    "mixtures",
    multiple=True,
    type=click.Choice(list(MIXTURES)),
    help="What proposals are worth; default: published and harsh.",
)
@click.option(
    "--sigma",
    "sigmas",
    multiple=True,
    type=_ABOVE_ZERO,
    help="Noise of a score between seeds, in median true gains; default: 1.",
)
@click.option("--noise", type=_ABOVE_ZERO, help="The same in units of the score, such as 0.0007.")
@click.option(
    "--trials",
    "budgets",
    multiple=True,
    type=click.IntRange(min=1),
    help="Trials of a night, all islands together; default: 100.",
)
@click.option(
    "--islands",
    default=8,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Islands, each with a slice of its own.",
)
@click.option(
    "--repeats",
    default=50,
    show_default=True,
    type=click.IntRange(min=1),
    help="Nights of each kind.",
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    type=click.Choice(list(RULES)),
    help="How keeps are decided; default: swarm.",
)
@click.option(
    "--fdr",
    "levels",
    multiple=True,
    type=click.FloatRange(0, 0.5, min_open=True),
    help="Share of keeps that may be unreal by the rule swarm; default: 0.05.",
)
@click.option(
    "--interactions",
    default="none",
    show_default=True,
    type=click.Choice(list(INTERACTIONS)),
    help="How many changes are worth more or less together than apart.",
)
@click.option(
    "--rho",
    default=0.5,
    show_default=True,
    type=_Finite(0, 0.95),
    help="Share of the variance that all commits have in common on one seed.",
)
@click.option(
    "--offsets",
    default=0.0,
    show_default=True,
    type=_Finite(min=0),
    help="How much slices differ, in median true gains.",
)
@click.option(
    "--drift",
    default=0.0,
    show_default=True,
    type=_Finite(),
    help="How much worse slice s0 scores from half-way on, in median true gains.",
)
@click.option(
    "--sentinels",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Trials that a slice runs at most until the base runs on it again; 0: it never does.",
)
@click.option(
    "--nulls",
    default=0.0,
    show_default=True,
    type=_Finite(0, 0.5),
    help="Share of proposals that the run itself makes to do nothing, beside the mixture's.",
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Fixes every night."
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes; default: one for each core."
)
@click.option(
    "--every",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Check stacks whenever so many more changes were kept; 0: never.",
)
@click.option(
    "--migration",
    "topologies",
    multiple=True,
    type=click.Choice(get_args(Topology)),
    help="Whom islands hear of, see program.md's migration; default: none.",
)
@click.option(
    "--interval",
    "intervals",
    multiple=True,
    type=click.IntRange(min=1),
    help="Candidates of its own, for each island, in which one takes a migrant; default: 1.",
)
@click.option(
    "--ratchets",
    is_flag=True,
    help="Beside each, one long ratchet, and as many ratchets apart as there are islands.",
)
@click.option("--stacks", is_flag=True, help="Study the stack check itself, instead of nights.")
@click.option("--json", "as_json", is_flag=True, help="Print every number as JSON.")
@click.option(
    "--plot", "picture", type=click.Path(path_type=Path), help="Draw to FILE.png, .svg or .pdf."
)
def simulate(
    mixtures: tuple[str, ...],
    sigmas: tuple[float, ...],
    noise: float | None,
    budgets: tuple[int, ...],
    islands: int,
    repeats: int,
    rules: tuple[str, ...],
    levels: tuple[float, ...],
    interactions: str,
    rho: float,
    offsets: float,
    drift: float,
    sentinels: int,
    nulls: float,
    seed: int,
    workers: int | None,
    every: int,
    topologies: tuple[Topology, ...],
    intervals: tuple[int, ...],
    *,
    ratchets: bool,
    stacks: bool,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Run nights on virtual time in a laboratory that knows the true effect of every change.

    It says what a rule's keeps and claims are worth, for each combination of the options that may
    be given more than once: --mixture, --sigma, --trials, --rule, --fdr, --migration and
    --interval. The mixtures:
    `published` is fitted to a published night of autoresearch, in `harsh` most proposals harm, in
    `null` none does anything. With --noise set to your own spread between seeds you plan a night
    of your own.

    A gain is above zero where it is better, in units of the score. A keep or a claim is unreal
    whose true effect is zero or worse. One seed gives the same nights on every machine.
    """
    workers = workers or os.cpu_count() or 1
    if stacks:
        _stacks(repeats, seed, workers, as_json=as_json)
        return
    if sigmas and noise is not None:
        raise SetupError("--sigma and --noise: choose one")
    _check_picture(picture)
    drifts = Drift(drift) if drift else None
    cells = [
        Cell(
            f"{rule}, {spread}" if spread else rule,
            mixture,
            Conditions(
                MIXTURES[mixture],
                sigma if noise is None else noise / unit(MIXTURES[mixture]),
                rho,
                interactions=INTERACTIONS[interactions],
                drift=drifts,
                offsets=offsets,
            ),
            RunPlan(
                RatchetPolicy(acceptance, null_rate=nulls, sentinel_every=sentinels),
                count,
                trials,
                migration=migration,
                runs=runs,
                stacking=StackPolicy(every),
            ),
        )
        for mixture in mixtures or ("published", "harsh")
        for trials in budgets or (100,)
        for sigma in sigmas or (1.0,)
        for rule, acceptance in _rules(rules or ("swarm",), levels)
        for spread, count, runs, migration in _spreads(
            islands, topologies or ("none",), intervals or (1,), ratchets=ratchets
        )
    ]
    found = _studied(cells, repeats, seed, workers)
    if picture is not None:
        _draw(found, picture)
    if as_json:
        click.echo(json.dumps(plain(found), allow_nan=False))
    else:
        _console().print(table(found, repeats))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_PIPED_WIDTH)


def _stacks(repeats: int, seed: int, workers: int, *, as_json: bool) -> None:
    """Study the stack check on stacks whose truth is known."""
    wanted = cases()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("stacks", total=len(wanted) * repeats)
        rows = study_stacks(wanted, repeats, seed, workers, lambda: progress.advance(task))
    if as_json:
        click.echo(json.dumps([finite(asdict(row)) for row in rows], allow_nan=False))
    else:
        _console().print(stack_table(rows))


def _spreads(
    islands: int, topologies: Sequence[Topology], intervals: Sequence[int], *, ratchets: bool
) -> Iterator[tuple[str, int, int, Migration]]:
    """Yield how a night's trials are spread: its name, islands of a run, runs, and migration."""
    for topology in topologies:
        if topology == "none":
            yield "", islands, 1, STAY
            continue
        for every in intervals:
            yield f"{topology} every {every}", islands, 1, Migration(topology, every)
    if ratchets:
        yield f"{islands} apart", 1, islands, STAY
        yield "one long", 1, 1, STAY


def _rules(names: Sequence[str], levels: Sequence[float]) -> Iterator[tuple[str, AcceptanceRule]]:
    """Name every rule that is asked for, ours once for each level."""
    for name in names:
        if name == "swarm" and levels:
            yield from ((f"{name} {fdr:g}", LfsrRule(fdr)) for fdr in levels)
        else:
            yield name, RULES[name]


def _check_picture(picture: Path | None) -> None:
    """Refuse before hours of nights what could not be written after them."""
    if picture is None:
        return
    if picture.suffix.lower() not in PICTURES:
        raise SetupError(f"--plot {picture}: name a file that ends in {', '.join(PICTURES)}")
    if not os.access(picture.absolute().parent, os.W_OK):
        raise SetupError(f"--plot {picture}: its folder cannot be written; name another")


def _draw(found: Sequence[Summary], picture: Path) -> None:
    from swarm.simulation.plot import plot  # noqa: PLC0415 - a second, for who wants a picture

    plot(found, picture)


def _studied(cells: Sequence[Cell], repeats: int, seed: int, workers: int) -> list[Summary]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        nights = progress.add_task("nights", total=len(cells) * repeats)
        return study(cells, repeats, seed, workers, lambda: progress.advance(nights))
