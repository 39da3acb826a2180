"""Prepares the consensus for a merge, and records merges that a killed process left unrecorded.

Where the branch's genome has changed since the consensus was built, the consensus is rebased on
the branch and promoted there again; it is merged only if it transfers. The sealed split is scored
once in a run's life, by trials of the consensus and of its base at the rung of its promotion.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from analysis.ledger import Ledger
from harness import tasks
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands import trailers
from islands.promotion.attempt import PromotionPolicy
from islands.scheduling.run_steps import RunStep, next_run_step, next_sealed
from islands.state.run_state import State
from swarm.coordinator.reopen import not_finished, reopen
from swarm.coordinator.run import Run
from swarm.coordinator.run_actions import rebase_consensus
from swarm.project.runs import RunFolder, require_stopped
from swarm.results.finished_run import FinishedRun

_MANUAL = PromotionPolicy(auto=False)
"""No promotion of its own accord: only the one that was begun is measured."""


def pending_measurements(run: FinishedRun) -> list[str]:
    """Return what must be measured or built before the consensus is merged, one line each.

    Raises SetupError where it was measured on the branch as it is now and does not transfer.
    """
    state, lines = run.state, []
    promoted, tip = state.promotions.unbuilt_promotion(), _changed_tip(run)
    if promoted is not None:
        lines.append(f"promotion {promoted.number} {promoted.verdict}: build the consensus from it")
    elif tip:
        _require_none_failed(state, tip)
        lines.append(f"{state.run.target} has another genome: rebase and measure again")
    if _unsealed(run.folder, state):
        lines.append("score the sealed split, once in the life of this run")
    return lines


async def measure_pending(
    run: FinishedRun, sandbox: SandboxKind, watch: Callable[[ev.Event, State], None]
) -> FinishedRun:
    """Measure what is pending and return the run as it is then.

    Raises SetupError where a coordinator works on the run, where the consensus does not transfer,
    and where something is still pending at the end.
    """
    require_stopped(run.folder)

    async def begin(reopened: Run) -> None:
        state = reopened.state
        tip = _changed_tip(replace(run, state=state))
        idle = state.promotions.open is None and state.promotions.unbuilt_promotion() is None
        if tip and idle:
            await rebase_consensus(reopened, tip)

    next_of = partial(_next_step, run.folder, _changed_tip(run))
    after = replace(run, state=await reopen(run.folder, sandbox, next_of, begin, watch))
    if todo := pending_measurements(after):
        what = f"nothing was merged, still to do: {'; '.join(todo)}"
        raise SetupError(not_finished(after.state, what, "merge"))
    return after


def update_pr_branch(run: FinishedRun, head: str) -> str:
    """Move the run's branch for a pull request to `head`; return its name."""
    run.branches.sync_branches({"pr": head})
    return run.branches.branch("pr")


def record_missed_merges(run: FinishedRun, ledger: Ledger) -> None:
    """Record the merges of this run that the branch holds and the ledger lacks.

    They were made by a `swarm merge` that was killed before it could record them.
    """
    opened, git = run.state.run, run.git
    args = ("rev-list", "--first-parent", "--fixed-strings", f"--grep=Swarm-Run: {opened.run}")
    listed = git.try_run(*args, f"{opened.base}..refs/heads/{opened.target}", "--")
    for commit in reversed(listed.out.decode().split()):
        text = git.run("cat-file", "commit", commit).decode(errors="replace")
        values = trailers.read(text)
        is_merge = values.get("Run") == opened.run and {"Ledger", "Head"} <= values.keys()
        if not is_merge or commit in run.merges:
            continue
        parents = len(re.findall(r"^parent ", text.partition("\n\n")[0], re.MULTILINE))
        run.record(
            ledger,
            ev.Merged(
                values.get("Island", ""),
                values["Head"],
                commit,
                opened.target,
                "merge" if parents > 1 else "squash",
                "Forced" in values,
            ),
        )


def _next_step(folder: RunFolder, tip: str, state: State, island: str) -> RunStep | None:
    """Return an island's next step; the sealed split comes last, for what is going to be merged.

    `tip`: the branch's commit if the consensus must be built on it, else "".
    """
    step, promotions = next_run_step(state, island, _MANUAL), state.promotions
    if step is not None or promotions.open is not None or promotions.unbuilt_promotion():
        return step
    built = promotions.consensus
    if built is None or tip not in {"", built.base} or not _unsealed(folder, state):
        return None
    return next_sealed(state, island)


def _require_none_failed(state: State, tip: str) -> None:
    """Raise SetupError where the consensus was promoted on `tip` and is no consensus there."""
    built, promotions = state.promotions.consensus, state.promotions
    on_tip = [
        ended
        for ended in promotions.ended
        if built is not None and ended.number > built.promotion
        # other stacks may have been promoted there, too
        if (ended.base, ended.parts) == (tip, built.parts)
    ]
    if not on_tip:
        return
    last = on_tip[-1]
    if last.number in promotions.failing:
        result = f"fails check {promotions.failing[last.number]}"
    elif last.commit in state.quarantines.commits:
        result = f"is quarantined, {state.quarantines.reason(last.commit)}"
    elif last.verdict != "transfers":
        result = f"{last.verdict}: {last.reason}"
    else:
        return
    raise SetupError(
        f"on {state.run.target} as it is now the consensus {result}; launch a new run from there"
    )


def _unsealed(folder: RunFolder, state: State) -> bool:
    task = tasks.load(state.run.task, str(folder.problem))
    return "sealed" in task.splits and state.promotions.sealed is None


def _changed_tip(run: FinishedRun) -> str:
    """Return the branch's commit if its genome is not what the consensus is built on, else ""."""
    consensus = run.state.promotions.consensus
    tip = run.branches.base(f"refs/heads/{run.state.run.target}")
    if consensus is None or run.branches.contains(tip, consensus.commit):
        return ""
    same = run.branches.files(tip) == run.branches.files(consensus.base)
    return "" if same else tip
