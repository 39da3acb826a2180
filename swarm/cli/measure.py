"""`swarm measure`: measures commits again on seeds that no decision has used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.contract import SandboxKind, SetupError
from islands.genome.admission import printable_line
from islands.state.population import KeptChange
from swarm.cli.console import json_option, run_option, sandbox_option, to_json
from swarm.project.runs import locate
from swarm.results.remeasure import Remeasurement, remeasure, remeasure_kept


@click.command()
@click.argument("commit", default="")
@click.option(
    "--against",
    metavar="COMMIT",
    default="",
    help="The commit to compare with; default: the run's base.",
)
@click.option(
    "--seeds",
    metavar="N",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Number of fresh seeds.",
)
@click.option("--kept", is_flag=True, help="Measure every kept change against its parent.")
@run_option
@sandbox_option
@json_option
def measure(
    commit: str,
    against: str,
    seeds: int,
    name: str | None,
    sandbox: SandboxKind,
    *,
    kept: bool,
    as_json: bool,
) -> None:
    """Measure COMMIT again on fresh seeds, paired with another commit.

    COMMIT defaults to the run's best head. The seeds are derived from the run's seed and nothing
    else uses them. Nothing is recorded.
    """
    if kept and (commit or against):
        raise SetupError("--kept measures every kept change: omit COMMIT and --against")
    console, folder = Console(stderr=True), locate(name)
    tell = console.print if not as_json else lambda *_: None
    if kept:
        rows = asyncio.run(remeasure_kept(folder, seeds, tell, sandbox=sandbox))
        _show([_row(*row) for row in rows] if as_json else _kept_table(rows, seeds))
    else:
        result = asyncio.run(remeasure(folder, commit, against, seeds, tell, sandbox=sandbox))
        _show(result.as_dict() if as_json else _table(result))


def _show(result: Table | object) -> None:
    if isinstance(result, Table):
        Console().print(result)
    else:
        click.echo(to_json(result))


def _row(kept: KeptChange, again: Remeasurement) -> dict[str, object]:
    claimed = {"mean": kept.gain.mean, "noise": kept.gain.noise, "pairs": kept.gain.pairs}
    change = {"experiment": kept.experiment, "island": kept.island, "hypothesis": kept.hypothesis}
    return {**change, "claimed": claimed, **again.as_dict()}


def _kept_table(rows: Sequence[tuple[KeptChange, Remeasurement]], seeds: int) -> Table:
    grid = Table(title=f"kept changes on {seeds} fresh seeds, ± standard error", expand=True)
    for heading in ("experiment", "island"):
        grid.add_column(heading, no_wrap=True)
    for heading in ("gain when kept", "gain now"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("change", ratio=1, no_wrap=True, overflow="ellipsis")
    for kept, again in rows:
        subject = kept.hypothesis.strip().partition("\n")[0]
        gains = [gain.format() for gain in (kept.gain, again.gain)]
        grid.add_row(f"#{kept.experiment}", kept.island, *gains, Text(printable_line(subject)))
    better = sum(again.gain.mean > 0 for _, again in rows)
    grid.caption = f"{better} of {len(rows)} kept changes have a mean gain above zero"
    return grid


def _table(result: Remeasurement) -> Table:
    grid = Table(title=f"{result.metric} ({result.evidence}) on {len(result.pairs)} fresh seeds")
    for heading in ("seed", result.against[:10], result.commit[:10], "gain"):
        grid.add_column(heading, justify="right")
    for pair in result.pairs:
        grid.add_row(str(pair.seed), f"{pair.old:.5g}", f"{pair.new:.5g}", f"{pair.gain:+.5f}")
    grid.caption = f"gain {result.gain.format()} (standard error, paired)"
    return grid
