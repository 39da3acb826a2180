"""A person deletes, moves or commits to a run's branches meanwhile: real git on virtual time."""

import pytest

from harness.contract import SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.git.refs import HeadMovedError
from islands.stacking.state import StackPolicy
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import GENOME, LabExecutor, MemoryBranches, MemoryLedger, make_run
from tests.support.repository import git, make


class Target:
    """A repository with a run of two islands, in which `user` does something once at an event."""

    def __init__(self, tmp_path):
        self.repo, self.folder = make(tmp_path / "repo", {GENOME: "X = 0.0\n"}), tmp_path
        self.branches = Branches(self.repo, "lab", (GENOME,))
        self.ledger, self.done = MemoryLedger(), ""

    def launch(self, user=lambda event: "", **parts):
        """Run until a limit is reached; `user` is called with events until it says what it did."""

        def watch(event, state):
            del state
            self.done = self.done or user(event)

        async def main():
            run = make_run(
                self.folder,
                ledger=self.ledger,
                branches=self.branches,
                executor=LabExecutor(self.branches),
                base=self.branches.base("main"),
                **{"limits": RunLimits(trials=50)} | parts,
            )
            run.watch = watch
            await run_islands(run)
            return run

        return run_virtual(main())

    def kept(self, event):
        """Return the branch of an island whose second change was just kept, "" for other events."""
        if not isinstance(event, ev.VerdictReached) or event.verdict != "keep":
            return ""
        keeps = [e.island for e in self.ledger.kept if getattr(e, "verdict", "") == "keep"]
        return f"swarm/lab/{event.island}" if keeps.count(event.island) > 1 else ""

    def heads(self, run):
        """Return for each island whether its branch is at its head."""
        heads = {name: island.head for name, island in run.state.islands.items()}
        return {name: self.branches.head(name) == head for name, head in heads.items()}


@pytest.fixture
def target(tmp_path):
    """Return a repository without a run."""
    return Target(tmp_path)


def test_a_branch_that_was_deleted_is_made_again(target):
    """As a resume does: every kept commit is held, so nothing is lost and the run goes on."""

    def delete(event):
        branch = target.kept(event)
        return branch and (git(target.repo, "branch", "-D", branch) or "deleted")

    run = target.launch(delete)
    assert target.done and run.limit == "trials"
    assert set(target.heads(run).values()) == {True}


def test_a_branch_that_was_moved_back_is_moved_to_its_head(target):
    """The swarm made the commit that it was put at."""

    def reset(event):
        branch = target.kept(event)
        return branch and (git(target.repo, "branch", "-f", branch, "main") or "reset")

    run = target.launch(reset)
    assert target.done and set(target.heads(run).values()) == {True}


def test_a_branch_with_a_users_commit_ends_the_launch_in_a_line(target):
    """It names the branch and the fix, the end is recorded, and the next launch goes on."""
    mine = []

    def commit(event):
        branch = target.kept(event)
        if not branch:
            return ""
        mine.append(git(target.repo, "commit-tree", f"{branch}^{{tree}}", "-p", branch, "-m", "me"))
        git(target.repo, "branch", "-f", branch, *mine)
        return branch

    with pytest.raises(SetupError) as caught:
        target.launch(commit)
    branch, text = target.done, str(caught.value)
    assert text.startswith(f"branch {branch} holds commits that the swarm did not make: rename it")
    assert f"git branch -m {branch} OTHER" in text and "\n" not in text
    assert target.ledger.kept[-1].reason == f"error: {text}"
    assert git(target.repo, "rev-parse", branch) == mine[0]
    git(target.repo, "branch", "-m", branch, "other")
    assert set(target.heads(target.launch()).values()) == {True}
    assert git(target.repo, "rev-parse", "other") == mine[0]


def test_a_branch_in_the_place_of_the_consensus_is_no_bug(tmp_path):
    """A person made it, or moved it: it is treated as an island's is."""

    class Occupied(MemoryBranches):
        """The consensus branch is at another commit whenever it is to be moved."""

        def advance(self, island, new, old):
            if island == "consensus":
                raise HeadMovedError(f"branch {island} is at main, not at {old}")
            super().advance(island, new, old)

    branches = Occupied()

    async def main():
        parts = {"stacking": StackPolicy(4), "limits": RunLimits(trials=300)}
        run = make_run(tmp_path, branches=branches, **parts)
        await run_islands(run)
        return run

    run = run_virtual(main())
    assert run.limit == "trials"
    assert branches.heads["consensus"] == run.state.promotions.consensus.commit
