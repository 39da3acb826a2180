"""`swarm measure`: a second opinion on a commit, on seeds that no decision has seen."""

from __future__ import annotations

import asyncio
import json

import click
from rich.console import Console
from rich.table import Table

from swarm.remeasure import Remeasured, remeasure
from swarm.runs import locate


@click.command()
@click.argument("commit", default="")
@click.option("--against", default="", help="Compare with this commit; default: the run's base.")
@click.option("--seeds", default=5, type=click.IntRange(1, 1000), help="How many fresh seeds.")
@click.option("--tier", default=2, type=click.IntRange(1, 2), help="See `swarm launch`.")
@click.option("--run", "name", default=None, help="Name of the run; default: the latest one.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
def measure(
    commit: str, against: str, seeds: int, tier: int, name: str | None, *, as_json: bool
) -> None:
    """Measure COMMIT (default: the best head) again, paired with another, on fresh seeds.

    The seeds are derived from the run's own and are used by nothing else. Nothing is recorded.
    """
    console = Console(stderr=True)
    told = console.print if not as_json else lambda *_: None
    result = asyncio.run(remeasure(locate(name), commit, against, seeds, told, tier=tier))
    if as_json:
        click.echo(json.dumps(result.as_dict()))
    else:
        Console().print(_table(result))


def _table(result: Remeasured) -> Table:
    grid = Table(title=f"{result.metric} on {len(result.pairs)} fresh seeds")
    for heading in ("seed", result.against[:10], result.commit[:10], "gain"):
        grid.add_column(heading, justify="right")
    for pair in result.pairs:
        grid.add_row(str(pair.seed), f"{pair.old:.5g}", f"{pair.new:.5g}", f"{pair.gain:+.5f}")
    gain = result.gain
    grid.caption = f"gain {gain.mean:+.5f} ± {gain.noise:.5f} (standard error, paired)"
    return grid
