"""`swarm merge`: bring the consensus home to the branch that the run was launched from."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console

from analysis.ledger import Ledger
from harness import fingerprint as identity
from harness import tasks
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands.state.run_state import State
from swarm.cli.console import sandbox_option
from swarm.cli.live import LiveView
from swarm.project.runs import locate
from swarm.results.finished_run import FinishedRun
from swarm.results.git_merge import check_mergeable, merge_commit
from swarm.results.merge_message import describe, merge_message
from swarm.results.merge_prepare import (
    measure_pending,
    pending_measurements,
    record_missed_merges,
    update_pr_branch,
)
from swarm.results.selection import MergePlan, select


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
    if dry_run:
        run = FinishedRun.open(folder)
        plan, todo = _checked(run, island, force=force, allow_unsafe=allow_unsafe, pr=pr)
        _show(run, plan, todo, as_json=as_json)
        return
    with Ledger.open(folder.path, time.time) as ledger:
        run = FinishedRun.open(folder)
        record_missed_merges(run, ledger)
        plan, todo = _checked(run, island, force=force, allow_unsafe=allow_unsafe, pr=pr)
        if not todo:
            _finish(run, plan, ledger, squash=squash, pr=pr, as_json=as_json)
            return
    # measuring opens the ledger itself
    if not as_json:
        click.echo(describe(run.state, plan, run.lines(plan)))
    console.print(*todo, sep="\n")
    run = asyncio.run(measure_pending(run, sandbox, LiveView(console)))
    with Ledger.open(folder.path, time.time) as ledger:
        run.require_current(ledger)
        plan = select(run.state, island, force=force)
        _finish(run, plan, ledger, squash=squash, pr=pr, as_json=as_json)


def _checked(
    run: FinishedRun, island: str, *, force: bool, allow_unsafe: bool, pr: bool
) -> tuple[MergePlan, list[str]]:
    """Return what to merge and what to measure before; raise SetupError for every refusal."""
    plan = select(run.state, island, force=force)
    _same_harness(run.state)
    _confined(run.state, allow_unsafe=allow_unsafe)
    if not pr:
        check_mergeable(run.git, run.state.run.target, plan.head, run.state.run.genome)
    return plan, [] if plan.forced else pending_measurements(run)


def _finish(
    run: FinishedRun, plan: MergePlan, ledger: Ledger, *, squash: bool, pr: bool, as_json: bool
) -> None:
    result = _pull_request(run, plan) if pr else _merge(run, plan, ledger, squash=squash)
    _show(run, plan, [], result, as_json=as_json)


def _merge(run: FinishedRun, plan: MergePlan, ledger: Ledger, *, squash: bool) -> dict[str, Any]:
    opened = run.state.run
    text = merge_message(run.state, plan, run.lines(plan), ledger.link)
    commit = merge_commit(run.git, opened.target, plan.head, text, opened.genome, squash=squash)
    mode: Literal["merge", "squash"] = "squash" if squash else "merge"
    run.record(ledger, ev.Merged(plan.island, plan.head, commit, opened.target, mode, plan.forced))
    said = f"merged as {commit[:10]} on {opened.target}"
    return {"merge": commit, "said": said, "message": text}


def _pull_request(run: FinishedRun, plan: MergePlan) -> dict[str, Any]:
    branch, opened = update_pr_branch(run, plan.head), run.state.run
    body = run.folder.pull_request
    body.write_text(describe(run.state, plan, run.lines(plan)))
    said = (
        f"branch {branch} is ready, its text in {_short(body)}:\n"
        f"git push origin {branch} && gh pr create --head {branch} --base {opened.target}"
        f" --title 'Improve {opened.metric}' --body-file {_short(body)}"
    )
    return {"branch": branch, "body": str(body), "said": said}


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _show(
    run: FinishedRun,
    plan: MergePlan,
    todo: list[str],
    result: dict[str, Any] | None = None,
    *,
    as_json: bool,
) -> None:
    result = result or {}
    if as_json:
        facts = {"island": plan.island or None, "head": plan.head, "parts": plan.parts}
        gain = {"gain": plan.gain.mean, "noise": plan.gain.noise, "todo": todo}
        click.echo(json.dumps({**facts, **gain, "merge": None, **result}))
        return
    click.echo(result.get("message") or describe(run.state, plan, run.lines(plan)))
    for line in todo:
        click.echo(f"first: {line}")
    click.echo(result.get("said", "nothing was changed"))


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
