"""The consensus in real git: one commit for each change, resumed after a kill, bisected, sealed."""

import asyncio
import random
import re
from dataclasses import dataclass, replace

import pytest

from analysis.database.refresh import reading, refresh, strays
from analysis.ledger import Ledger
from harness.contract import Outcome, Rung, SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.promotion.attempt import PromotionPolicy, PromotionRequest
from islands.records import Entry, Gain
from islands.scheduling.run_steps import next_run_step, next_sealed
from islands.state.run_state import State
from islands.steering import StopLaunch
from swarm.coordinator import run_actions
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands, run_steps_only
from swarm.results.git_merge import merge_commit
from swarm.results.merge_message import merge_message
from swarm.results.selection import select
from swarm.simulation.virtual_time import run_virtual
from tests.support.histories import clock
from tests.support.laboratory import LabExecutor, MemoryLedger, make_run
from tests.support.repository import git, make

GENOME = "genome/x.py"
FIRST = "A = 0.0\n\nB = 0.0\n\nC = 0.0\n\n# end\n"
KNOBS = {1: ("A", 0.3), 2: ("B", 0.2), 3: ("C", 0.1)}
RUNGS = (Rung(1, 20.0), Rung(2, 60.0))


@dataclass
class GitExecutor(LabExecutor):
    """Scores a commit by the sum of its knobs."""

    async def run(self, trial):
        await asyncio.sleep(self.seconds)
        text = self.branches.files(trial.commit)[GENOME].data.decode()
        worth = sum(float(number) for number in re.findall(r"= (\S+)", text))
        noise = random.Random(f"{trial.seed}/{trial.commit}").gauss(0, 0.001)
        phases = {"budget": self.seconds}
        return Outcome(
            trial.id, "lab", "namespaces", 2 - worth + noise, seconds=phases, split=trial.split
        )


def text(*parts):
    """Return the genome with the knobs of `parts` turned."""
    genome = FIRST
    for part in parts:
        knob, number = KNOBS[part]
        genome = genome.replace(f"{knob} = 0.0", f"{knob} = {number}")
    return genome


class Lab:
    """A run on a real repository that kept three changes on three islands."""

    executor = GitExecutor

    def __init__(self, tmp_path):
        self.scratch = tmp_path
        self.repo = make(tmp_path / "repo", {GENOME: FIRST, "other.txt": "o\n"})
        self.branches = Branches(self.repo, "lab", (GENOME,))
        self.base = self.branches.base("main")
        self.ledger = MemoryLedger()
        self.conduct(run_islands, RunLimits(trials=4))
        self.stack = self._kept()

    def conduct(self, action, limits=RunLimits()):
        """Await `action(run)` on virtual time; return the state."""
        return run_virtual(self.attend(action, limits))

    async def attend(self, action, limits=RunLimits()):
        """Await `action(run)` on the loop that runs; return the state."""
        run = make_run(
            self.scratch,
            ledger=self.ledger,
            branches=self.branches,
            executor=self.executor(self.branches),
            islands=3,
            rungs=RUNGS,
            limits=limits,
            base=self.base,
        )
        run.launch = replace(run.launch, splits=("dev", "hidden", "sealed"))
        await action(run)
        return run.state

    def _kept(self):
        seed = next(event.seed for event in self.ledger.kept if isinstance(event, ev.TrialStarted))
        for number, (knob, step) in KNOBS.items():
            files = {GENOME: Entry(text(number).encode())}
            commit = self.branches.commit(self.base, files, f"{knob}\n", number, number)
            island = f"i{number - 1}"
            received = ev.ProposalReceived(number, island, "lab", self.base, f"Turn {knob} up")
            admitted = ev.CandidateAdmitted(number, island, commit, self.base, 1, 1)
            start = ev.TrialStarted(f"p{number}", number, island, commit, "screen", seed, 0, "s0")
            scored = ev.TrialEnded(start, Outcome(f"p{number}", "lab", "namespaces", 2 - step))
            again = replace(start, trial=f"q{number}", purpose="confirm", seed=2)
            ended = ev.TrialEnded(again, Outcome(f"q{number}", "lab", "namespaces", 2 - step))
            gain = Gain(step, 0.01, 4, 0.001)
            kept = ev.VerdictReached(number, island, commit, self.base, "keep", "gain", gain)
            self.ledger.kept += [received, admitted, start, scored, again, ended, kept]
            self.branches.sync_branches({island: self.base})
            self.branches.advance(island, commit, self.base)
        files = {GENOME: Entry(text(1, 2, 3).encode())}
        return self.branches.commit_under_ref("stack", self.base, files, "stack\n", 1)

    def promote(self, stack="", parts=(1, 2, 3)):
        """Promote the stack; return the state."""
        policy = PromotionPolicy(auto=False)
        return self.begin(stack, parts, lambda s, name: next_run_step(s, name, policy))

    def begin(self, stack="", parts=(1, 2, 3), next_of=lambda state, name: None):
        """Begin to promote the stack, and execute the steps of `next_of`; return the state."""
        request = PromotionRequest(1, self.base, stack or self.stack, parts, Gain(0.6, 0.01, 4))

        async def begin(run):
            promotions = run.state.promotions
            if promotions.open is None and not promotions.ended:
                await run_actions.start_promotion(run, request)

        return self.conduct(lambda run: run_steps_only(run, next_of, lambda: begin(run)))

    def promote_worse(self):
        """Promote another stack, at the first rung on two seeds, which reverses; return the state.

        For tests of what is said of the consensus after a later promotion.
        """
        files = {GENOME: Entry(FIRST.replace("B = 0.0", "B = -0.2").encode())}
        worse = self.branches.commit_under_ref("worse", self.base, files, "worse\n", 2)
        policy = PromotionPolicy(auto=False, seeds=2)

        async def begin(run):
            run.launch = replace(run.launch, promotion=policy)
            request = PromotionRequest(0, self.base, worse, (2,), Gain(0.2, 0.01, 4))
            await run_actions.start_promotion(run, request, alone=True)

        return self.conduct(
            lambda run: run_steps_only(
                run, lambda s, name: next_run_step(s, name, policy), lambda: begin(run)
            )
        )

    def log(self, form):
        """Return the lines of `git log` for the consensus' commits, oldest first."""
        command = ("log", "--reverse", f"--format={form}")
        return git(self.repo, *command, f"{self.base}..swarm/lab/consensus").splitlines()


@pytest.fixture
def lab(tmp_path):
    """Make a run that is ready to be promoted."""
    return Lab(tmp_path)


def test_it_has_one_commit_for_each_change_with_its_evidence(lab):
    """In the stack's order, on the base; the last one is the stack that was measured."""
    lab.promote()
    assert lab.log("%s") == ["Turn A up", "Turn B up", "Turn C up"]
    for key in ("Gain", "Seeds", "Rung", "Experiment", "Island", "Agent", "Cost", "Promoted"):
        values = lab.log(f"%(trailers:key=Swarm-{key},valueonly,separator=,)")
        assert len(values) == 3 and all(values), key
    assert lab.log("%(trailers:key=Swarm-Island,valueonly,separator=,)") == ["i0", "i1", "i2"]
    assert git(lab.repo, "diff", lab.stack, "swarm/lab/consensus") == ""
    assert git(lab.repo, "show", f"swarm/lab/consensus~1:{GENOME}") + "\n" == text(1, 2)


def test_parts_that_do_not_apply_one_by_one_are_one_commit(lab):
    """A stack that differs from its parts applied in turn is committed as it was measured."""
    files = {GENOME: Entry(text(1, 2, 3).replace("C = 0.1", "C = 0.15").encode())}
    stack = lab.branches.commit_under_ref("other", lab.base, files, "other\n", 1)
    lab.promote(stack)
    assert lab.log("%s") == ["Stack 3 changes"]
    assert git(lab.repo, "diff", stack, "swarm/lab/consensus") == ""


def test_killed_between_any_two_events_refs_and_ledger_agree(lab):
    """The branch is where the ledger's last event puts it, with the same commits."""
    before = len(lab.ledger.kept)
    lab.promote()
    whole, tip = lab.ledger.kept, git(lab.repo, "rev-parse", "swarm/lab/consensus")
    drafted = next(n for n, e in enumerate(whole) if isinstance(e, ev.ConsensusDrafted))
    for cut in [*range(len(whole), drafted - 2, -1), before + 1]:
        for ref in ("behind", "current"):
            moved = any(isinstance(event, ev.ConsensusMoved) for event in whole[:cut])
            if ref == "behind" or not moved:
                git(lab.repo, "update-ref", "-d", "refs/heads/swarm/lab/consensus")
            if not any(isinstance(event, ev.PromotionEnded) for event in whole[:cut]):
                for name in git(lab.repo, "for-each-ref", "--format=%(refname)").splitlines():
                    if "/drafts/" in name or "/consensus/" in name:  # made after that event
                        git(lab.repo, "update-ref", "-d", name)
            lab.ledger = MemoryLedger(whole[:cut])
            state = lab.promote()
            now = git(lab.repo, "rev-parse", "swarm/lab/consensus")
            assert state.promotions.consensus.commit == now
            assert git(lab.repo, "diff", tip, now) == ""
            assert len(state.promotions.consensus.changes) == 3
            if cut > drafted - 1:
                assert now == tip, "the same promotion makes the same commits"


def test_after_the_merge_bisect_finds_the_change(lab):
    """`git bisect` over the merge names the one commit that turned a knob; each commit runs."""
    state = lab.promote()
    selection = select(state, "", force=False)
    note = merge_message(state, selection, (3, 3), "1:0")
    merge_commit(Plumbing(lab.repo, worktree=True), "main", selection.head, note, (GENOME,))
    assert "Swarm-Rung: 1\nSwarm-Hidden: better\n" in note
    (lab.repo / "other.txt").write_text("later\n")
    git(lab.repo, "commit", "-qam", "Later")
    git(lab.repo, "bisect", "start", "main", lab.base)
    code = (
        f"import sys; scope = {{}}; exec(open('{GENOME}').read(), scope); sys.exit(scope['B'] > 0)"
    )
    output = git(lab.repo, "bisect", "run", "python3", "-c", code)
    assert "Turn B up" in output and "is the first bad commit" in output


def test_the_projection_has_all_of_a_promotion(lab, tmp_path):
    """Every event of a promotion reaches the projection, cut into batches or not."""
    lab.promote()

    async def nothing():
        return None

    lab.conduct(lambda run: run_steps_only(run, next_sealed, nothing))
    with Ledger.open(tmp_path, clock()) as kept:
        for start in range(0, len(lab.ledger.kept), 9):
            kept.extend(lab.ledger.kept[start : start + 9])
            refresh(tmp_path)
    with reading(tmp_path) as con:
        assert con.execute("SELECT verdict, rung FROM promotions").fetchall() == [("transfers", 1)]
        rows = con.execute("SELECT touches, transfers FROM transfer").fetchall()
        assert rows == [("other", 3)]
        assert con.execute("SELECT len(changes) FROM consensus").fetchall() == [(3,)]
        assert con.execute("SELECT count(*) FROM sealed").fetchall() == [(1,)]
    assert strays(tmp_path) == ""


def test_a_consensus_with_a_quarantined_part_is_not_merged(lab):
    """If a later trial finds one part invalid, the whole consensus is out of force."""
    state = lab.promote()
    invalid = state.promotions.changes[2].commit
    state.quarantines.commits.add(invalid)
    state.promotions.apply(ev.CommitQuarantined("t1", invalid, (invalid,), (), "no reason"))
    with pytest.raises(SetupError, match="quarantined"):
        select(state, "", force=False)


def test_the_sealed_split_is_queried_once(lab):
    """By pairs of consensus and base, at the rung of the promotion; never a second time."""
    state = lab.promote()
    assert state.promotions.sealed is None

    async def nothing():
        return None

    for _ in range(2):
        state = lab.conduct(lambda run: run_steps_only(run, next_sealed, nothing))
    trials = [e for e in lab.ledger.kept if isinstance(e, ev.TrialStarted) and e.split == "sealed"]
    assert len(trials) == 8 and {trial.rung for trial in trials} == {1}
    assert len({(trial.seed, trial.slice) for trial in trials}) == 4
    scored = [event for event in lab.ledger.kept if isinstance(event, ev.SealedScored)]
    assert len(scored) == 1
    assert scored[0].gain.mean == pytest.approx(0.6, abs=0.01)
    fresh = State()
    fresh.apply_all(lab.ledger.kept)
    assert fresh.promotions.sealed == scored[0]


def test_a_later_promotion_of_another_stack_changes_nothing_of_the_sealed_query(lab):
    """Its rung and number of seeds are those of the promotion that the consensus is built from."""
    lab.promote()
    state = lab.promote_worse()
    last = state.promotions.ended[-1]
    assert (last.number, last.rung, last.verdict) == (2, 0, "reverses")

    async def nothing():
        return None

    state = lab.conduct(lambda run: run_steps_only(run, next_sealed, nothing))
    trials = [e for e in lab.ledger.kept if isinstance(e, ev.TrialStarted) and e.split == "sealed"]
    assert [(trial.rung, trial.check_number) for trial in trials] == [(1, 1)] * 8
    assert state.promotions.sealed.commit == state.promotions.consensus.commit


def test_sealed_scores_of_two_consensuses_are_not_compared(lab):
    """A query that was cut off begins again after the consensus moved: the rung is another."""
    lab.promote()

    async def part(run):
        run.watch = lambda event, state: (
            isinstance(event, ev.TrialEnded)
            and not state.steering.stop_asked
            and run.steer(StopLaunch(), "r")
        )
        await run_steps_only(run, next_sealed, nothing)

    async def nothing():
        return None

    async def again(run):
        request = PromotionRequest(0, lab.base, lab.stack, (1, 2, 3), Gain(0.6, 0.01, 4))
        await run_actions.start_promotion(run, request, alone=True)

    policy = PromotionPolicy(auto=False)
    state = lab.conduct(part)
    assert state.promotions.sealed is None and state.promotions.sealed_scores
    lab.conduct(
        lambda run: run_steps_only(
            run, lambda s, name: next_run_step(s, name, policy), lambda: again(run)
        )
    )
    state = lab.conduct(lambda run: run_steps_only(run, next_sealed, nothing))
    assert state.promotions.sealed.commit == state.promotions.consensus.commit
    trials = [e for e in lab.ledger.kept if isinstance(e, ev.TrialStarted) and e.split == "sealed"]
    assert [trial.rung for trial in trials].count(0) == 8
