"""`swarm merge`: merges the consensus into the branch that the run was launched from."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from analysis.ledger import Ledger
from harness import fingerprint, tasks
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands.state.run_state import State
from swarm.cli.console import (
    fitted,
    json_option,
    refused_option,
    require_one,
    run_option,
    sandbox_option,
    to_json,
    wide_console,
)
from swarm.cli.live import LiveView
from swarm.project.runs import RunFolder, locate
from swarm.results.commit_policy import CommitPolicy, signs
from swarm.results.finished_run import FinishedRun
from swarm.results.git_merge import check_conflicts, check_mergeable, merge_commit
from swarm.results.merge_message import describe, merge_message
from swarm.results.merge_prepare import (
    measure_pending,
    pending_measurements,
    record_missed_merges,
    update_pr_branch,
)
from swarm.results.selection import MergePlan, select


@click.command()
@run_option
@click.option("--dry-run", is_flag=True, help="Show what would be merged and change nothing.")
@click.option("--squash", is_flag=True, help="Make one commit on your branch instead of a merge.")
@click.option("--pr", is_flag=True, help="Write a branch and a pull request's text instead.")
@click.option(
    "--force-unpromoted",
    "force",
    is_flag=True,
    help="Merge the last stack or the best head, although it was not promoted.",
)
@click.option(
    "--island",
    metavar="NAME",
    default="",
    help="With --force-unpromoted: merge this island's head.",
)
@click.option(
    "--allow-unconfined",
    is_flag=True,
    help="Merge although scores were made, or are to be made, with --sandbox none.",
)
@refused_option("--allow-unsafe", "--allow-unconfined", is_flag=True)
@click.option(
    "--sign", is_flag=True, help="Sign the commit with your key; default: as commit.gpgSign says."
)
@click.option("--no-sign", is_flag=True, help="Do not sign the commit.")
@click.option(
    "--run-hooks",
    is_flag=True,
    help="Run the repository's own hooks on the commit; they run unconfined.",
)
@sandbox_option
@json_option
def merge(
    name: str | None,
    dry_run: bool,
    squash: bool,
    pr: bool,
    force: bool,
    island: str,
    allow_unconfined: bool,
    sign: bool,
    no_sign: bool,
    run_hooks: bool,
    sandbox: SandboxKind,
    as_json: bool,
) -> None:
    """Merge the consensus into the branch that the run was launched from.

    Makes a merge commit, or one commit with --squash. First shows what is merged and why. If the
    genome changed on your branch since the launch, the consensus is rebased and measured again.
    The sealed split is scored once in the life of a run. Refuses, changing nothing, if the working
    tree has changes, on a conflict, and if the harness is another than the run's. If all is merged
    already, the last merge is shown again.
    """
    require_one(squash=squash, pr=pr)
    require_one(sign=sign, no_sign=no_sign)
    if pr and (sign or no_sign or run_hooks):
        raise SetupError("--pr makes no commit: leave out --sign, --no-sign and --run-hooks")
    if sandbox == "none" and not allow_unconfined:
        raise SetupError(
            "--sandbox none: new scores would be unconfined; add --allow-unconfined to merge them"
        )
    folder = locate(name)
    signed = sign if sign or no_sign else None
    how = _How(island, force, allow_unconfined, pr, squash, signed, run_hooks, sandbox, as_json)
    if dry_run:
        run = FinishedRun.open(folder)
        plan = how.selected(run.state)
        done = _merged_before(run, plan)
        todo = [] if done else how.checked(run, plan)
        _show(run, plan, how, todo, done)
        return
    _merge_or_measure(folder, how)


@dataclass(frozen=True, slots=True)
class _How:
    """The options of a merge."""

    island: str
    force: bool
    allow_unconfined: bool
    pr: bool
    squash: bool
    sign: bool | None
    run_hooks: bool
    sandbox: SandboxKind
    as_json: bool

    def selected(self, state: State) -> MergePlan:
        """Return what to merge. Raises SetupError where there is nothing to."""
        return select(state, self.island, force=self.force)

    def checked(self, run: FinishedRun, plan: MergePlan) -> list[str]:
        """Return what to measure first. Raises SetupError where merge refuses."""
        _require_same_harness(run.folder, run.state)
        _require_confined(run.state, allow_unconfined=self.allow_unconfined)
        check = check_conflicts if self.pr else check_mergeable
        check(run.git, run.state.run.target, plan.head, run.state.run.genome)
        return [] if plan.forced else pending_measurements(run)

    def policy(self, run: FinishedRun) -> CommitPolicy:
        """Return how the commit is made: as the options say, else as git's configuration does."""
        sign = signs(run.git) if self.sign is None else self.sign
        return CommitPolicy(self.squash, sign, self.run_hooks)


def _merge_or_measure(folder: RunFolder, how: _How) -> None:
    """Merge, or first measure what is pending."""
    with Ledger.open(folder.path, time.time) as ledger:
        run = FinishedRun.open(folder)
        record_missed_merges(run, ledger)
        plan = how.selected(run.state)
        if done := _merged_before(run, plan):
            _show(run, plan, how, [], done)
            return
        todo = how.checked(run, plan)
        if not todo:
            _finish(run, plan, ledger, how)
            return
    # the ledger is closed here: measuring opens it for itself
    console = wide_console(stderr=True)
    if not how.as_json:
        text = describe(run.state, plan, run.lines(plan))
        click.echo(fitted(text, wide_console().width))
    console.print(*todo, sep="\n")
    run = asyncio.run(measure_pending(run, how.sandbox, LiveView(console)))
    with Ledger.open(folder.path, time.time) as ledger:
        run.require_current(ledger)
        _finish(run, how.selected(run.state), ledger, how)


def _merged_before(run: FinishedRun, plan: MergePlan) -> dict[str, str]:
    """Return the merge of `plan` that the branch has already, nothing where it has none."""
    target = f"refs/heads/{run.state.run.target}"
    for merged in reversed(run.state.merges):
        if merged.head == plan.head and run.branches.contains(target, merged.commit):
            report = (
                f"merged before, as {merged.commit[:10]} on {merged.target}: nothing new to merge;"
                " `swarm launch --new` starts from it"
            )
            return {"merge": merged.commit, "report": report}
    return {}


def _finish(run: FinishedRun, plan: MergePlan, ledger: Ledger, how: _How) -> None:
    result = _pull_request(run, plan) if how.pr else _merge(run, plan, ledger, how)
    _show(run, plan, how, [], result)


def _merge(run: FinishedRun, plan: MergePlan, ledger: Ledger, how: _How) -> dict[str, str]:
    opened = run.state.run
    text = merge_message(run.state, plan, run.lines(plan), ledger.link)
    policy = how.policy(run)
    commit = merge_commit(run.git, opened.target, plan.head, text, opened.genome, policy=policy)
    mode: Literal["merge", "squash"] = "squash" if how.squash else "merge"
    run.record(ledger, ev.Merged(plan.island, plan.head, commit, opened.target, mode, plan.forced))
    report = f"merged as {commit[:10]} on {opened.target}"
    return {"merge": commit, "report": report, "message": text}


def _pull_request(run: FinishedRun, plan: MergePlan) -> dict[str, str]:
    branch, opened = update_pr_branch(run, plan.head), run.state.run
    body = run.folder.pull_request
    body.write_text(describe(run.state, plan, run.lines(plan)))
    report = (
        f"branch {branch} is ready, the text is in {_relative(body)}:\n"
        f"git push origin {branch} && gh pr create --head {branch} --base {opened.target}"
        f" --title 'Improve {opened.metric}' --body-file {_relative(body)}"
    )
    return {"branch": branch, "body": str(body), "report": report}


def _relative(path: Path) -> str:
    folder = Path.cwd()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _show(
    run: FinishedRun, plan: MergePlan, how: _How, todo: list[str], result: dict[str, str]
) -> None:
    policy = how.policy(run)
    if how.as_json:
        facts = {"island": plan.island or None, "head": plan.head, "parts": plan.parts}
        evidence = run.state.evidence
        gain = {
            "gain": plan.gain.mean,
            "noise": plan.gain.noise,
            "evidence": evidence,
            "todo": todo,
        }
        commit = {} if how.pr else {"signed": policy.sign, "hooks": policy.hooks_here(run.git)}
        click.echo(to_json({**facts, **gain, **commit, "merge": None, **result}))
        return
    text = result.get("message") or describe(run.state, plan, run.lines(plan))
    lines = [text.rstrip("\n")]
    if not how.pr and not (result and "message" not in result):  # else no commit is made
        lines += [policy.describe(run.git, plan.base, plan.head), ""]
    lines += [f"first: {line}" for line in todo]
    click.echo(fitted("\n".join(lines), wide_console().width))
    click.echo(result.get("report", "nothing was changed"))  # commands to copy stay whole


def _require_same_harness(folder: RunFolder, state: State) -> None:
    run = state.run
    device = next(iter(state.islands.values())).opened.slice.device
    task = tasks.load(run.task, str(folder.problem))
    current = fingerprint.harness_id(task.prepare(run.data), device, torch=task.torch)
    if current != run.harness:
        raise SetupError(
            f"the harness has changed: run {run.run} was scored by {run.harness}, this one is"
            f" {current}; check out the harness of that run, or start a new run"
        )


def _require_confined(state: State, *, allow_unconfined: bool) -> None:
    if state.weakest_sandbox == "none" and not allow_unconfined:
        raise SetupError(
            "some scores were made with --sandbox none, so candidates may have written their own;"
            " pass --allow-unconfined to merge them anyway"
        )
