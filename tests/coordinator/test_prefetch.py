"""An island's pipeline under random interleavings: no candidate is measured on a stale head."""

import asyncio
import copy
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from analysis.database.refresh import refresh
from analysis.ledger import Ledger
from harness.contract import Outcome, Preflight
from islands import events as ev
from islands.git.branches import Branches
from islands.ratchet.policy import RatchetPolicy
from islands.records import Conflict, Entry, Proposal
from islands.state.run_state import State
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.prefetch import MAX_DEPTH, PrefetchDepth
from swarm.coordinator.task_tree import run_islands
from swarm.project.runs import RunFolder
from swarm.results.verify import verify
from swarm.simulation.rules import RULES
from swarm.simulation.virtual_time import run_virtual
from tests.support.histories import clock
from tests.support.laboratory import (
    GENOME,
    LabExecutor,
    MemoryBranches,
    MemoryLedger,
    make_run,
    value,
)
from tests.support.repository import git, make

TRIALS = 60


@dataclass
class Uneven:
    """An agent with random latency that moves X; every tenth proposal is outside the genome."""

    draw: random.Random
    name: str = "lab"

    async def propose(self, brief):
        await asyncio.sleep(self.draw.choice([10.0, 50.0, 100.0]) * self.draw.random())
        now = float(brief.genome[GENOME].split("=")[1])
        step = self.draw.choice([-1.0, 1.0, 1.0, 2.0])
        path = GENOME if self.draw.random() < 0.9 else "outside.py"
        return Proposal("a step", {path: Entry(f"X = {now + step!r}\n".encode())})

    def learn(self, attempt):
        """Learn nothing."""


@dataclass
class UnevenPreflights:
    """Preflights of random duration that refuse every tenth candidate."""

    draw: random.Random
    available: bool = True

    async def check(self, trial):
        await asyncio.sleep(30 * self.draw.random())
        return Preflight(self.draw.random() < 0.9, "crash: scripted")


@dataclass
class ConflictingBranches(MemoryBranches):
    """Branches in memory where every fourth change conflicts."""

    draw: random.Random = field(default_factory=random.Random)

    def __post_init__(self):
        MemoryBranches.__init__(self)

    def export(self, commit, into):
        """Write nothing."""

    def apply_change(self, parent, commit, onto):
        if self.draw.random() < 0.25:
            return Conflict((GENOME,))
        return super().apply_change(parent, commit, onto)


class QuietExecutor(LabExecutor):
    """Trials of random duration with hardly any noise."""

    async def run(self, trial):
        await asyncio.sleep(20 * self.draw.random())
        self.trials.append(trial)
        score = (
            100.0 - value(self.branches, trial.commit) + random.Random(trial.seed).gauss(0, 1e-3)
        )
        return Outcome(trial.id, "lab", "namespaces", score=score, seconds={"budget": 10.0})


def random_run(tmp_path, seed, trials=TRIALS, ledger=None, branches=None):
    """Return a finished run in which every call takes a random time."""
    draw = random.Random(seed)

    async def offload(call, *args):
        """Let other tasks run first, now and then."""
        await asyncio.sleep(draw.choice([0.0, 0.0, 3.0]) * draw.random())
        return call(*args)

    async def main():
        made = branches or ConflictingBranches(draw)
        executor = QuietExecutor(made)
        executor.draw = draw
        run = make_run(
            tmp_path,
            ledger=ledger,
            branches=made,
            executor=executor,
            agents={"i0": Uneven(draw), "i1": Uneven(draw)},
            preflights=UnevenPreflights(draw),
            baseline_seeds=2,
            ratchet=RatchetPolicy(
                RULES["keep-if-better"]
            ),  # so that heads move as often as they can
            limits=RunLimits(trials=trials),
        )
        run.offload = offload
        await run_islands(run)
        return run

    return run_virtual(main())


def check_history(history, branches):
    """Assert that no stale candidate was measured; return how many candidates became stale."""
    heads, made, ended, stale = {}, {}, set(), set()
    for event in history:
        if isinstance(event, ev.IslandOpened):
            heads[event.island] = event.head
        elif isinstance(event, ev.CandidateAdmitted | ev.CandidateRebased):
            assert event.experiment not in ended
            assert branches.commits[event.commit][0] == event.parent
            made[event.experiment] = event
            if isinstance(event, ev.CandidateRebased):
                stale.add((event.experiment, event.parent))
        elif isinstance(event, ev.CandidateDropped):
            assert made[event.experiment].parent != heads[event.island]
            ended.add(event.experiment)
            stale.add((event.experiment, ""))
        elif isinstance(event, ev.ProposalRefused):
            assert event.experiment not in made
            ended.add(event.experiment)
        elif isinstance(event, ev.TrialStarted) and event.purpose == "screen":
            assert event.experiment not in ended
            assert made[event.experiment].parent == heads[event.island]
            assert made[event.experiment].commit == event.commit
        elif isinstance(event, ev.VerdictReached):
            ended.add(event.experiment)
            if event.verdict == "keep":
                assert made[event.experiment].parent == heads[event.island]
                heads[event.island] = made[event.experiment].commit
    return len(stale)


@pytest.mark.parametrize("least", [200, pytest.param(10_000, marks=pytest.mark.soak)])
def test_stale_candidates_are_rebased_or_dropped(tmp_path, least):
    """In any order of answers, commits, preflights, merges and trials."""
    stale, counts, seed = 0, Counter(), 0
    while stale < least:
        run = random_run(tmp_path, seed)
        stale += check_history(run.ledger.kept, run.branches)
        counts.update(type(event).__name__ for event in run.ledger.kept)
        for name, island in run.state.islands.items():
            assert run.branches.heads[name] == island.head
        assert run.state.trials == TRIALS
        seed += 1
    assert min(counts["CandidateRebased"], counts["CandidateDropped"]) > least // 10
    assert counts["ProposalRefused"] > least // 10


@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.soak)])
def test_a_run_killed_after_any_event_resumes_consistently(tmp_path, step):
    """No candidate is lost, measured twice or measured on a stale head."""
    whole = random_run(tmp_path, 1, trials=14)
    for cut in range(3, len(whole.ledger.kept) - 1, step):
        ledger, branches = MemoryLedger(whole.ledger.kept[:cut]), copy.deepcopy(whole.branches)
        run = random_run(tmp_path, 1000 + cut, trials=18, ledger=ledger, branches=branches)
        check_history(run.ledger.kept, branches)
        assert run.state.trials == 18
        requests = Counter(
            (e.commit, e.seed)
            for e in run.ledger.kept
            if isinstance(e, ev.TrialStarted) and e.purpose != "sentinel"
        )
        voided = sum(isinstance(e, ev.TrialVoided) for e in run.ledger.kept)
        assert sum(requests.values()) - len(requests) <= voided
        admitted = [e.experiment for e in run.ledger.kept if isinstance(e, ev.CandidateAdmitted)]
        assert len(admitted) == len(set(admitted))
        fresh = State()
        fresh.apply_all(run.ledger.kept)
        assert fresh.islands == run.state.islands


def test_one_seed_gives_one_ledger(tmp_path):
    """Byte for byte, also with concurrent calls."""
    one, two = (random_run(tmp_path, 7) for _ in range(2))
    assert [ev.encode(e) for e in one.ledger.kept] == [ev.encode(e) for e in two.ledger.kept]


def test_the_fold_refuses_a_trial_of_a_stale_candidate(tmp_path):
    """A ledger with such a trial does not verify."""
    history = random_run(tmp_path, 3).ledger.kept
    heads = [e for e in history if isinstance(e, ev.VerdictReached) and e.verdict == "keep"]
    moved = history.index(heads[0])
    waiting = next(e for e in history[moved:] if isinstance(e, ev.CandidateRebased))
    at = history.index(waiting)
    state = State()
    state.apply_all(history[:at])
    island = state.islands[waiting.island]
    stale = next(e for e in island.queue if e.number == waiting.experiment)
    if island.experiment is not None:
        island.experiment = None
    start = ev.TrialStarted("t0", stale.number, waiting.island, stale.commit, "screen", 1, 0, "s")
    with pytest.raises(ValueError, match="is not on the head"):
        state.apply(start)


@pytest.mark.parametrize(
    ("latency", "trial", "depth"),
    [(0.01, 300.0, 1), (60.0, 300.0, 1), (0.5, 0.5, 3), (2.0, 5.0, 1), (2.0, 0.5, MAX_DEPTH)],
)
def test_prefetch_depth_follows_from_latency_and_trial_time(latency, trial, depth):
    """Twice the mean number under way and one more, at most MAX_DEPTH; 1 before both are known."""
    prefetch = PrefetchDepth()
    assert prefetch.depth == 1
    for _ in range(20):
        prefetch.add_latency(latency)
        prefetch.add_trial(trial)
    assert prefetch.depth == depth


LINES = "".join(f"V{n} = 0.0\n\n" for n in range(8))


class Editor:
    """Changes one of eight lines at a time; a few of its changes are of the same line."""

    name = "lab"

    async def propose(self, brief):
        draw = random.Random(brief.seed)
        await asyncio.sleep(10 + 60 * draw.random())
        lines = brief.genome[GENOME].split("\n")
        at = 2 * draw.randrange(8)
        lines[at] = f"{lines[at]} + {draw.choice([-1.0, 1.0])!r}"
        return Proposal(f"line {at}", {GENOME: Entry("\n".join(lines).encode())})

    def learn(self, attempt):
        """Learn nothing."""


class Summing(LabExecutor):
    """Scores the sum of the lines' values."""

    async def run(self, trial):
        await asyncio.sleep(10)
        space = {}
        exec(self.branches.files(trial.commit)[GENOME].data, space)  # what Editor wrote
        total = sum(number for name, number in space.items() if name.startswith("V"))
        score = 100.0 - total + random.Random(trial.seed).gauss(0, 1e-3)
        return Outcome(trial.id, "lab", "namespaces", score=score, seconds={"budget": 10.0})


def test_in_real_git_a_rebased_candidate_has_both_changes_and_the_record_verifies(tmp_path):
    """Changes merge by line, conflicts are dropped, and a ref holds each commit."""
    repo = make(tmp_path / "repo", {GENOME: LINES, "frozen.py": "x = 1\n"})
    folder = RunFolder(repo, "lab")
    folder.path.mkdir(parents=True)
    branches = Branches(repo, "lab", (GENOME,))

    async def main(ledger):
        run = make_run(
            tmp_path,
            ledger=ledger,
            branches=branches,
            executor=Summing(branches),
            agents={"i0": Editor()},
            islands=1,
            baseline_seeds=2,
            ratchet=RatchetPolicy(RULES["keep-if-better"]),
            limits=RunLimits(trials=26),
            base=branches.base("main"),
        )
        await run_islands(run)
        return run

    with Ledger.open(folder.path, clock()) as ledger:
        run = run_virtual(main(ledger))
        history = list(ledger.events())
    rebased = [e for e in history if isinstance(e, ev.CandidateRebased)]
    dropped = [e for e in history if isinstance(e, ev.CandidateDropped)]
    assert len(rebased) > 5 and len(dropped) > 0
    assert {e.reason.partition(":")[0] for e in dropped} <= {"conflict", "nothing"}
    for event in rebased:
        ref = f"refs/swarm/lab/rebased/{event.experiment}/{event.parent}"
        assert git(repo, "rev-parse", ref, ref + "^").split() == [event.commit, event.parent]
        changed = git(repo, "diff", "--numstat", event.parent, event.commit)
        assert changed == f"{event.added}\t{event.removed}\t{GENOME}" == f"1\t1\t{GENOME}"
    assert git(repo, "rev-parse", "swarm/lab/i0") == run.state.islands["i0"].head
    refresh(folder.path)
    assert verify(folder).holds, verify(folder)
    git(
        repo,
        "update-ref",
        "-d",
        f"refs/swarm/lab/rebased/{rebased[0].experiment}/{rebased[0].parent}",
    )
    assert not verify(folder).holds
