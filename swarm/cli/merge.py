"""`swarm merge`: bring the consensus home to the branch that the run was launched from."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from analysis.ledger import Ledger
from harness import fingerprint as identity
from harness import tasks
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.state.run_state import State
from swarm.cli.console import sandbox_option
from swarm.cli.live import LiveView
from swarm.project.runs import RunFolder, load_state, locate, require_stopped
from swarm.results import git_merge as merging
from swarm.results import merge_prepare as offer
from swarm.results.selection import MergePlan, message, plan, select


@click.command()
@click.option("--run", "name", default=None, help="Name of the run; default: the latest one.")
@click.option("--squash", is_flag=True, help="One commit on your branch, not a merge.")
@click.option("--pr", is_flag=True, help="Write a branch and the text of a pull request instead.")
@click.option("--island", default="", help="With --force-unpromoted: merge this island's head.")
@click.option("--force-unpromoted", "force", is_flag=True,
    help="Merge what was not measured again: the last stack, or the best island.",
)  # fmt: skip
@click.option("--allow-unsafe", is_flag=True, help="Merge scores made without a sandbox, too.")
@sandbox_option
@click.option("--dry-run", is_flag=True, help="Show what would be merged and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def merge(
    name: str | None,
    squash: bool,
    pr: bool,
    island: str,
    force: bool,
    allow_unsafe: bool,
    sandbox: SandboxKind,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Merge the consensus into the branch that the run was launched from, by --no-ff.

    Shows what comes and why first. Where the branch's genome has changed since, the consensus is
    rebased and measured again; the sealed part is asked, once in the life of the run. Refuses,
    changing nothing, on a dirty tree, a conflict, or a harness that has moved since.
    """
    if squash and pr:
        raise SetupError("--squash and --pr: choose one")
    folder, console = locate(name), Console(stderr=True)
    if not dry_run:
        with Ledger.open(folder.path, time.time) as ledger:
            offer.settle(folder, ledger)
    state = load_state(folder)
    what = select(state, island, force=force)
    _same_harness(state)
    _confined(state, allow_unsafe=allow_unsafe)
    if not pr:
        merging.check(folder.repo, state.run.target, what.head, state.run.genome)
    todo = [] if what.forced else offer.todo(folder, state)
    if dry_run:
        _told(state, what, _lines(folder, state, what), todo, as_json=as_json)
        return
    if todo:
        require_stopped(folder)
        if not as_json:
            click.echo(plan(state, what, _lines(folder, state, what)))
        console.print(*todo, sep="\n")
        state = asyncio.run(offer.ready(folder, sandbox, LiveView(console)))
        what = select(state, island, force=force)
    done = _pull_request(folder, state, what) if pr else _merged(folder, what, squash=squash)
    _told(load_state(folder), what, _lines(folder, state, what), [], done, as_json=as_json)


def _lines(folder: RunFolder, state: State, what: MergePlan) -> tuple[int, int]:
    branches = Branches(folder.repo, state.run.run, state.run.genome)
    return branches.numstat(what.base, what.head)


def _merged(folder: RunFolder, what: MergePlan, *, squash: bool) -> dict[str, Any]:
    with Ledger.open(folder.path, time.time) as ledger:
        state = State()
        state.apply_all(list(ledger.events()))
        run, text = state.run, message(state, what, _lines(folder, state, what), ledger.link)
        commit = merging.merge_home(
            folder.repo, run.target, what.head, text, run.genome, squash=squash
        )
        how = "squash" if squash else "merge"
        ledger.append(
            ev.Merged(what.island, what.head, commit, run.target, how, what.forced)  # type: ignore[arg-type]  # two literals
        )
    return {"merge": commit, "said": f"merged as {commit[:10]} on {run.target}", "message": text}


def _pull_request(folder: RunFolder, state: State, what: MergePlan) -> dict[str, Any]:
    branch = offer.branch(folder, state, what.head)
    body = folder.pull_request
    body.write_text(plan(state, what, _lines(folder, state, what)))
    said = (
        f"branch {branch} is ready, its text in {_short(body)}:\n"
        f"git push origin {branch} && gh pr create --head {branch} --base {state.run.target}"
        f" --title 'Improve {state.run.metric}' --body-file {_short(body)}"
    )
    return {"branch": branch, "body": str(body), "said": said}


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _told(
    state: State,
    what: MergePlan,
    lines: tuple[int, int],
    todo: list[str],
    done: dict[str, Any] | None = None,
    *,
    as_json: bool,
) -> None:
    known = done or {}
    if as_json:
        facts = {"island": what.island or None, "head": what.head, "parts": what.parts}
        gain = {"gain": what.gain.mean, "noise": what.gain.noise, "todo": todo}
        click.echo(json.dumps({**facts, **gain, "merge": None, **known}))
        return
    click.echo(known.get("message") or plan(state, what, lines))
    for line in todo:
        click.echo(f"first: {line}")
    click.echo(known.get("said", "nothing was changed"))


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
    if state.weakest_sandbox == "none" and not allow_unsafe:
        raise SetupError(
            "some scores were made with --sandbox none, where a candidate can write its own;"
            " pass --allow-unsafe to merge them all the same"
        )
