"""`swarm verify`: checks that a run's record is intact and agrees with git."""

from __future__ import annotations

import dataclasses

import click

from analysis.untrusted_text import first_line
from swarm.cli.console import json_option, run_option, to_json
from swarm.project.runs import locate
from swarm.results.anchor import set_anchor
from swarm.results.verify import VerifyReport
from swarm.results.verify import verify as verify_run

LIMITS = (
    "Not covered: a program that can rewrite the whole ledger can rewrite its links, and lines cut"
    " off at the end leave no gap. Keep this link in another place, as `swarm merge` does in its"
    " commit: `swarm verify --anchor FILE` (or `tag:NAME`) notes it and compares next time."
)


@click.command()
@run_option
@click.option(
    "--anchor",
    default="",
    metavar="PLACE",
    help="Note the last link in this file, or in the tag tag:NAME, and compare with earlier notes.",
)
@json_option
def verify(name: str | None, anchor: str, as_json: bool) -> int:
    """Check that the record of a run is intact.

    Checks the ledger's hash chain, the order of its events, the harness of its scores, git's refs
    and merges, and lineage.duckdb. Exits with 0 if all checks hold, with 1 if one fails.
    """
    folder = locate(name)
    result = verify_run(folder, anchor)
    noted = ""
    if anchor and result.holds and result.base:
        noted = set_anchor(folder, anchor, result.link, result.base)
    if as_json:
        click.echo(to_json({"holds": result.holds, **dataclasses.asdict(result)}))
    else:
        _show(result)
        click.echo(noted or LIMITS)
    return 0 if result.holds else 1


def _show(result: VerifyReport) -> None:
    click.echo(f"run {result.run}: {result.events} events, last link {result.link}")
    for check in result.checks:
        click.echo(f"{'BROKEN' if check.violations else 'holds ':6} {check.name}: {check.rule}")
        for line in check.violations:
            click.echo(f"       {first_line(line)}")
