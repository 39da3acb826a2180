"""Measurements before a merge, on real git and virtual time: the rebase and the sealed split."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from harness.contract import SetupError
from islands import events as ev
from islands.git.plumbing import Plumbing
from islands.state.run_state import State
from islands.steering import StopLaunch
from swarm.coordinator.task_tree import run_steps_only
from swarm.project.runs import RunFolder
from swarm.results import merge_prepare
from swarm.results.finished_run import FinishedRun
from swarm.results.merge_message import describe
from swarm.results.merge_prepare import measure_pending, pending_measurements
from swarm.results.selection import select
from swarm.simulation.virtual_time import run_virtual
from tests.islands.test_consensus import GENOME, GitExecutor, Lab
from tests.support.laboratory import MemoryLedger
from tests.support.repository import git

REBASE = "main has another genome: rebase and measure again"
SEALED = "score the sealed split, once in the life of this run"


class MergeLab(Lab):
    """A run with a consensus that `swarm merge` prepares."""

    def __init__(self, tmp_path):
        super().__init__(tmp_path)
        self.stop_at = lambda event: False
        """Says at which event a person stops the run."""
        self.promote()

    def finished(self):
        """Return the run as `swarm merge` opens it."""
        state = State()
        state.apply_all(self.ledger.kept)
        folder, target = RunFolder(self.repo, "lab"), Plumbing(self.repo, worktree=True)
        return FinishedRun(folder, state, target, self.branches, frozenset())

    def measure(self):
        """Measure what is pending; return the run after it."""

        async def reopen(folder, sandbox, next_of, begin, watch):
            async def steps(run):
                run.watch = lambda event, _: self.stop_at(event) and run.steer(StopLaunch(), "r")
                await run_steps_only(run, next_of, lambda: begin(run))

            return await self.attend(steps)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(merge_prepare, "reopen", reopen)
            return run_virtual(measure_pending(self.finished(), "namespaces", lambda *_: None))

    def move_main(self):
        """Commit another end of the genome on main; return that commit."""
        path = self.repo / GENOME
        path.write_text(path.read_text().replace("# end", "# my end"))
        git(self.repo, "commit", "-qam", "Mine")
        return git(self.repo, "rev-parse", "main")

    def cut(self, whole, place):
        """Leave what a kill leaves after the first `place` events of a whole ledger."""
        self.ledger = MemoryLedger(whole[:place])
        built = self.finished().state.promotions.consensus.commit
        git(self.repo, "update-ref", "refs/heads/swarm/lab/consensus", built)

    def events(self, kind):
        """Return the events of one kind."""
        return [event for event in self.ledger.kept if isinstance(event, kind)]

    def sealed_trials(self):
        """Return the commits that were run on the sealed split, once a trial."""
        return [each.commit for each in self.events(ev.TrialStarted) if each.split == "sealed"]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Make a run with a consensus, of a task that has a sealed split."""
    task = SimpleNamespace(splits=("dev", "hidden", "sealed"))
    monkeypatch.setattr(merge_prepare, "tasks", SimpleNamespace(load=lambda *_: task))
    return MergeLab(tmp_path)


def test_the_sealed_split_is_scored_although_another_stack_reversed_later(lab):
    """The promotion that counts is the one that the consensus is built from."""
    lab.promote_worse()
    assert pending_measurements(lab.finished()) == [SEALED]
    run = lab.measure()
    assert run.state.promotions.sealed.commit == run.state.promotions.consensus.commit
    assert pending_measurements(run) == []


def test_a_rebased_consensus_was_worth_before_what_its_own_promotion_found(lab):
    """In the record and in the merge's text; a later promotion of another stack has no part."""
    first = lab.finished().state.promotions.ended[0]
    lab.promote_worse()
    tip = lab.move_main()
    assert pending_measurements(lab.finished()) == [REBASE, SEALED]
    run = lab.measure()
    started = lab.events(ev.PromotionStarted)[-1]
    assert (started.base, started.before, started.rung) == (tip, first.after, first.rung)
    plan = select(run.state, "", force=False)
    before = f"Promotion 3: transfers, {first.after.format()} before, "
    assert before in describe(run.state, plan, (3, 3))
    assert {*lab.sealed_trials()} == {tip, run.state.promotions.consensus.commit}


def test_killed_after_the_rebased_promotion_the_consensus_is_built_by_the_next(lab):
    """Wherever the ledger ends from there on; the promotion is not repeated."""
    tip = lab.move_main()
    lab.measure()
    whole, last = lab.ledger.kept, lab.finished().state.promotions.ended[-1]
    moved = next(n for n, e in enumerate(whole, 1) if isinstance(e, ev.ConsensusMoved) and e.old)
    for place in range(whole.index(last) + 1, moved):
        lab.cut(whole, place)
        todo = ["promotion 2 transfers: build the consensus from it", SEALED]
        assert pending_measurements(lab.finished()) == todo
        run = lab.measure()
        assert run.state.promotions.ended[-1] == last
        built = run.state.promotions.consensus
        assert (built.promotion, built.base) == (2, tip)
        assert git(lab.repo, "rev-parse", "swarm/lab/consensus") == built.commit
        assert {*lab.sealed_trials()} == {tip, built.commit}, "not of the consensus before"
        assert pending_measurements(run) == []


@pytest.mark.parametrize(
    ("kind", "of", "todo"),
    [
        ("promotion", "dev", f"{REBASE}; {SEALED}"),
        ("consensus", "dev", f"promotion 2 transfers: build the consensus from it; {SEALED}"),
        ("sealed", "sealed", SEALED),
    ],
)
def test_what_a_stop_left_to_do_is_named_and_nothing_is_merged(lab, kind, of, todo):
    """Whether the promotion, the building or the sealed split was under way; then it goes on."""
    lab.move_main()
    lab.stop_at = lambda event: (
        isinstance(event, ev.TrialStarted)
        and (event.split, event.check_number) == (of, 2)
        and (event.rung == 0) == (kind == "consensus")
    )
    with pytest.raises(SetupError) as error:
        lab.measure()
    assert str(error.value) == (
        f"nothing was merged, still to do: {todo} (stopped by `swarm stop`): `swarm merge`"
        " continues"
    )
    lab.stop_at = lambda event: False
    assert pending_measurements(lab.measure()) == []
    assert len(lab.events(ev.PromotionStarted)) == 2


def test_what_another_stack_came_to_on_the_branch_says_nothing_of_the_consensus(lab):
    """The consensus is measured there; only its own promotion there can end the merge."""
    tip = lab.move_main()
    lab.measure()
    git(lab.repo, "reset", "-q", "--hard", lab.base)
    lab.promote_worse()  # on the commit that main is at again
    assert lab.finished().state.promotions.ended[-1].base == git(lab.repo, "rev-parse", "main")
    assert pending_measurements(lab.finished()) == [REBASE]
    run = lab.measure()
    assert run.state.promotions.consensus.base == lab.base != tip


def test_a_consensus_that_does_not_transfer_to_the_branch_is_not_merged(lab):
    """The reason is told after the measurement and by each later merge; nothing is sealed."""

    @dataclass
    class Contrary(GitExecutor):
        async def run(self, trial):
            outcome = await super().run(trial)
            mine = b"# my end" in self.branches.files(trial.commit)[GENOME].data
            return replace(outcome, score=4 - outcome.score) if mine else outcome

    lab.executor = Contrary
    lab.move_main()
    line = "on main as it is now the consensus reverses: .* before, .*; launch a new run from there"
    for attempt in (lab.measure, lambda: pending_measurements(lab.finished())):
        with pytest.raises(SetupError, match=line):
            attempt()
    assert lab.sealed_trials() == []
