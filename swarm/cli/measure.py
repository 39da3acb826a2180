"""`swarm measure`: a second opinion on commits, on seeds that no decision has seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.contract import SandboxKind
from islands.genome.admission import printable_line
from islands.state.population import KeptChange
from swarm.cli.console import sandbox_option
from swarm.project.runs import locate
from swarm.results.remeasure import Remeasured, remeasure, remeasure_kept


@click.command()
@click.argument("commit", default="")
@click.option("--against", default="", help="Compare with this commit; default: the run's base.")
@click.option("--seeds", default=5, type=click.IntRange(1, 1000), help="How many fresh seeds.")
@click.option("--kept", is_flag=True, help="Measure every kept change against its own parent.")
@sandbox_option
@click.option("--run", "name", default=None, help="Name of the run; default: the latest one.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
def measure(
    commit: str,
    against: str,
    seeds: int,
    sandbox: SandboxKind,
    name: str | None,
    *,
    kept: bool,
    as_json: bool,
) -> None:
    """Measure COMMIT (default: the best head) again, paired with another, on fresh seeds.

    The seeds are derived from the run's own and are used by nothing else. Nothing is recorded.
    """
    if kept and (commit or against):
        raise click.UsageError("--kept says itself what is measured against what")
    console, folder = Console(stderr=True), locate(name)
    told = console.print if not as_json else lambda *_: None
    if kept:
        found = asyncio.run(remeasure_kept(folder, seeds, told, sandbox=sandbox))
        _show([_row(*each) for each in found] if as_json else _kept_table(found, seeds))
    else:
        result = asyncio.run(remeasure(folder, commit, against, seeds, told, sandbox=sandbox))
        _show(result.as_dict() if as_json else _table(result))


def _show(what: Table | object) -> None:
    if isinstance(what, Table):
        Console().print(what)
    else:
        click.echo(json.dumps(what))


def _row(kept: KeptChange, again: Remeasured) -> dict[str, object]:
    claimed = {"mean": kept.gain.mean, "noise": kept.gain.noise, "pairs": kept.gain.pairs}
    whose = {"experiment": kept.experiment, "island": kept.island, "hypothesis": kept.hypothesis}
    return {**whose, "claimed": claimed, **again.as_dict()}


def _kept_table(found: Sequence[tuple[KeptChange, Remeasured]], seeds: int) -> Table:
    grid = Table(title=f"kept changes on {seeds} fresh seeds, ± standard error", expand=True)
    for heading in ("experiment", "island"):
        grid.add_column(heading, no_wrap=True)
    for heading in ("gain when kept", "gain now"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("change", ratio=1, no_wrap=True, overflow="ellipsis")
    for kept, again in found:
        subject = kept.hypothesis.strip().partition("\n")[0]
        gains = [gain.format() for gain in (kept.gain, again.gain)]
        grid.add_row(f"#{kept.experiment}", kept.island, *gains, Text(printable_line(subject)))
    better = sum(again.gain.mean > 0 for _, again in found)
    grid.caption = f"{better} of {len(found)} have a mean gain above zero"
    return grid


def _table(result: Remeasured) -> Table:
    grid = Table(title=f"{result.metric} on {len(result.pairs)} fresh seeds")
    for heading in ("seed", result.against[:10], result.commit[:10], "gain"):
        grid.add_column(heading, justify="right")
    for pair in result.pairs:
        grid.add_row(str(pair.seed), f"{pair.old:.5g}", f"{pair.new:.5g}", f"{pair.gain:+.5f}")
    grid.caption = f"gain {result.gain.format()} (standard error, paired)"
    return grid
