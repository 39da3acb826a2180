"""Makes the consensus ready to come home, and settles what a killed merge left in the record.

Where the branch has got another genome since the consensus was built, the consensus is rebased on
it and promoted there once more; only what transfers is offered. The sealed part is asked once in a
run's life, by trials of the consensus and of what it is built on, at the rung of its promotion.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from analysis.ledger import Ledger
from harness import tasks
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.promotion.attempt import PromotionPolicy
from islands.scheduling.run_steps import RunStep, next_run_step, next_sealed
from islands.state.run_state import State
from swarm.coordinator import run_actions as errands
from swarm.coordinator.reopen import reopen
from swarm.coordinator.run import Run
from swarm.project.runs import RunFolder

_TRAILER = re.compile(r"^Swarm-(Run|Ledger|Head|Island|Forced): (\S+)$", re.MULTILINE)

_BY_HAND = PromotionPolicy(auto=False)


def todo(folder: RunFolder, state: State) -> list[str]:
    """Return what must be measured before the consensus is merged, a line each.

    Raises SetupError where it was measured on the branch as it is now and does not transfer.
    """
    found = []
    onto = _moved(folder, state)
    if onto:
        again = [each for each in state.promotions.ended if each.base == onto]
        if again:
            raise SetupError(
                f"on {state.run.target} as it is now the consensus {again[-1].verdict}:"
                f" {again[-1].reason}; launch a new run from there"
            )
        found.append(f"{state.run.target} has another genome: rebase and measure again")
    if _unsealed(state):
        found.append("ask the sealed part, once in the life of this run")
    return found


async def ready(
    folder: RunFolder, sandbox: SandboxKind, watch: Callable[[ev.Event, State], None]
) -> State:
    """Do what is `todo`; return the state then. Raises SetupError where it does not transfer."""

    async def begin(run: Run) -> None:
        onto = _moved(folder, run.state)
        if onto and run.state.promotions.open is None:
            await errands.rebase(run, onto)

    state = await reopen(folder, sandbox, _wanted, begin, watch)
    if _moved(folder, state):
        todo(folder, state)
    return state


def _wanted(state: State, name: str) -> RunStep | None:
    errand = next_run_step(state, name, _BY_HAND)
    last = state.promotions.ended[-1]
    if errand is not None or state.promotions.open is not None or last.verdict != "transfers":
        return errand
    return next_sealed(state, name) if _unsealed(state) else None


def _unsealed(state: State) -> bool:
    splits = tasks.load(state.run.task).splits
    return "sealed" in splits and state.promotions.sealed is None


def _moved(folder: RunFolder, state: State) -> str:
    """Return the branch's commit where its genome is not what the consensus is built on, or ""."""
    built, run = state.promotions.consensus, state.run
    branches = Branches(folder.repo, run.run, run.genome)
    tip = branches.base(f"refs/heads/{run.target}")
    if built is None or branches.contains(tip, built.commit):
        return ""
    return "" if branches.files(tip) == branches.files(built.base) else tip


def branch(folder: RunFolder, state: State, head: str) -> str:
    """Bring the run's branch for a pull request to `head`; return its name."""
    branches = Branches(folder.repo, state.run.run, state.run.genome)
    branches.sync_branches({"pr": head})
    return branches.branch("pr")


def settle(folder: RunFolder, ledger: Ledger) -> None:
    """Record merges that are on the branch and not in the ledger: one was killed in between."""
    events = list(ledger.events())
    run = next(each for each in events if isinstance(each, ev.RunOpened))
    known = {each.commit for each in events if isinstance(each, ev.Merged)}
    git = Plumbing(folder.repo)
    asked = ("rev-list", "--first-parent", "--fixed-strings", f"--grep=Swarm-Run: {run.run}")
    found = git.try_run(*asked, f"{run.base}..refs/heads/{run.target}", "--").out.decode().split()
    for commit in reversed(found):
        text = git.run("cat-file", "commit", commit).decode(errors="replace")
        said = dict(_TRAILER.findall(text))
        if commit in known or said.get("Run") != run.run or not {"Ledger", "Head"} <= said.keys():
            continue
        parents = len(re.findall(r"^parent ", text.partition("\n\n")[0], re.MULTILINE))
        ledger.append(
            ev.Merged(
                said.get("Island", ""),
                said["Head"],
                commit,
                run.target,
                "merge" if parents > 1 else "squash",
                "Forced" in said,
            )
        )
