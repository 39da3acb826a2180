"""`swarm verify`: check that a run's record is as it was written, and agrees with git."""

from __future__ import annotations

import dataclasses
import json

import click

from analysis.lineage_tree import plain
from swarm.project.runs import locate
from swarm.results.verify import Verified
from swarm.results.verify import verify as verified

LIMITS = (
    "Who can rewrite the whole ledger can rewrite its links: note this one where they cannot, as"
    " `swarm merge` does."
)


@click.command()
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def verify(run: str | None, as_json: bool) -> int:
    """Check that the record of RUN (default: the one active last) is as it was written.

    The ledger's chain, the order of its events, the harness of its scores, git's refs, merges and
    lineage.duckdb. Exits with 0 where all hold, with 1 where one does not.
    """
    found = verified(locate(run))
    if as_json:
        click.echo(json.dumps({"holds": found.holds, **dataclasses.asdict(found)}))
    else:
        _show(found)
    return 0 if found.holds else 1


def _show(found: Verified) -> None:
    click.echo(f"run {found.run}: {found.events} events, last link {found.link}")
    for check in found.checks:
        click.echo(f"{'BROKEN' if check.wrong else 'holds ':6} {check.name}: {check.tells}")
        for line in check.wrong:
            click.echo(f"       {plain(line)}")
    click.echo(LIMITS)
