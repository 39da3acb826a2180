"""`swarm transfer`: shows which promotions and kinds of change hold at the next rung."""

from __future__ import annotations

from dataclasses import asdict

import click

from analysis.grid import Grid
from analysis.questions.rung_transfer import PromotionTransfer, TransferRecord
from analysis.run import RecordedRun
from islands.records import Gain
from swarm.cli.console import json_option, run_option, to_json, wide_console
from swarm.project.runs import locate


@click.command()
@run_option
@json_option
def transfer(name: str | None, *, as_json: bool) -> None:
    """Show what gained at one rung and was measured at the next.

    By promotion, and by what the changes touch: transfers (better there too), fades (not shown to
    be) or reverses (worse). Tau says how well the order of changes agrees between the two rungs.
    """
    with RecordedRun(locate(name).path) as run:
        record = run.transfer()
    if as_json:
        click.echo(to_json(asdict(record)))
    elif not record.promotions:
        click.echo("nothing was promoted yet: `swarm promote` measures the best stack again")
    else:
        wide_console().print(_promotions(record))
        if record.kinds:
            wide_console().print(_kinds(record))


def _promotions(record: TransferRecord) -> Grid:
    grid = Grid()
    for heading in ("promotion", "rung", "changes", "verdict"):
        grid.add_column(heading, fit="fold" if heading == "changes" else "")
    for heading in ("gain before", "gain there", "tau [95 %]"):
        grid.add_column(heading, right=True)
    for one in record.promotions:
        parts = " ".join(f"#{part}" for part in one.parts)
        row = (str(one.number), str(one.rung), parts, one.verdict, one.before.format())
        grid.add_row(*row, _gain(one.after), _tau(one))
    return grid


def _kinds(record: TransferRecord) -> Grid:
    grid = Grid()
    grid.add_column("changes that touch")
    for heading in ("transfer", "fade", "reverse", "mean gain before", "mean gain there"):
        grid.add_column(heading, right=True)
    for kind in record.kinds:
        counts = map(str, (kind.transfers, kind.fades, kind.reverses))
        row = (kind.kind, *counts, f"{kind.before:+.3g}", f"{kind.after:+.3g}")
        grid.add_row(*row)
    return grid


def _tau(one: PromotionTransfer) -> str:
    return "-" if one.tau is None else f"{one.tau:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def _gain(gain: Gain | None) -> str:
    return "-" if gain is None else gain.format()
