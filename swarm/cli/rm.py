"""`swarm rm`: removes a run."""

from __future__ import annotations

import click

from swarm.cli.console import plural
from swarm.project.removal import RemovalPlan, plan_removal, remove
from swarm.project.runs import locate

_MIB = 2**20


@click.command()
@click.argument("name", metavar="RUN")
@click.option(
    "--keep-branches", is_flag=True, help="Leave the islands' branches and the consensus."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(name: str, *, keep_branches: bool, yes: bool) -> None:
    """Remove a run: its record, its branches and its other refs. What was merged stays.

    Asks first. This cannot be undone.
    """
    plan = plan_removal(locate(name))
    click.echo(_described(plan, keep_branches=keep_branches))
    if not yes:
        click.confirm("remove it?", abort=True)
    remove(plan.run, keep_branches=keep_branches)
    click.echo(f"removed {plan.run.name}")


def _described(plan: RemovalPlan, *, keep_branches: bool) -> str:
    names = "" if keep_branches else "".join(f", branch {name}" for name in plan.branches)
    size = f"{plan.bytes / _MIB:.1f} MiB in {plan.run.path}"
    return f"{plan.run.name}: {size}{names}, {plural(plan.refs, 'other ref')}"
