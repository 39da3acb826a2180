"""`swarm merge`: bring the best island home to the branch that the run was launched from."""

from __future__ import annotations

import json
import time

import click

from analysis.ledger import Ledger
from harness import identity, tasks
from harness.contract import SetupError
from islands import events as ev
from islands.state import State
from swarm.homecoming import choose, message, total
from swarm.merge import merge_home
from swarm.runs import locate


@click.command()
@click.option("--run", "name", default=None, help="Name of the run; default: the latest one.")
@click.option("--island", default="", help="Merge this island; default: the one that gained most.")
@click.option("--allow-unsafe", is_flag=True, help="Merge scores made without a sandbox, too.")
@click.option("--dry-run", is_flag=True, help="Show what would be merged and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def merge(name: str | None, island: str, allow_unsafe: bool, dry_run: bool, as_json: bool) -> None:
    """Merge the best island's head into the branch that the run was launched from, by --no-ff.

    Refuses, changing nothing, on a dirty tree, a conflict, or a harness that has moved since.
    """
    folder = locate(name)
    with Ledger.open(folder.folder, time.time) as ledger:
        state = State()
        state.apply_all(list(ledger.events()))
        chosen, run = choose(state, island), state.run
        _same_harness(state)
        _confined(state, allow_unsafe=allow_unsafe)
        text = message(state, chosen, ledger.link)
        commit = ""
        if not dry_run:
            commit = merge_home(folder.repo, run.target, chosen.head, text, run.genome)
            ledger.append(ev.Merged(chosen.opened.island, chosen.head, commit, run.target))
    if as_json:
        gain = total(state, chosen)
        facts = {"island": chosen.opened.island, "head": chosen.head, "merge": commit or None}
        click.echo(json.dumps({**facts, "gain": gain.mean, "noise": gain.noise, "message": text}))
    else:
        click.echo(text)
        click.echo(f"merged as {commit[:10]} on {run.target}" if commit else "nothing was changed")


def _same_harness(state: State) -> None:
    run = state.run
    device = next(iter(state.islands.values())).opened.slice.device
    now = identity.harness_id(tasks.load(run.task).prepare(run.data), device)
    if now != run.harness:
        raise SetupError(
            f"the harness has moved: run {run.run} was scored by {run.harness}, this one is {now};"
            " check out the harness of that run, or measure again in a new run"
        )


def _confined(state: State, *, allow_unsafe: bool) -> None:
    if state.lowest_tier == 0 and not allow_unsafe:
        raise SetupError(
            "some scores were made without a sandbox (--unsafe), where a candidate can write its"
            " own; pass --allow-unsafe to merge them all the same"
        )
