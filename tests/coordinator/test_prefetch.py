"""The pipeline of an island under random interleavings: nothing is measured on a stale head."""

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
    """An agent that takes a random time and moves X up or down; every tenth answer is outside."""

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
class UnevenLooks:
    """Takes a random time, and refuses every tenth candidate."""

    draw: random.Random
    available: bool = True

    async def check(self, trial):
        await asyncio.sleep(30 * self.draw.random())
        return Preflight(self.draw.random() < 0.9, "crash: so it is")


@dataclass
class Torn(MemoryBranches):
    """Git that takes its time, and finds that every fourth change conflicts."""

    draw: random.Random = field(default_factory=random.Random)

    def __post_init__(self):
        MemoryBranches.__init__(self)

    def export(self, commit, into):
        """Write nothing."""

    def apply_change(self, parent, commit, onto):
        if self.draw.random() < 0.25:
            return Conflict((GENOME,))
        return super().apply_change(parent, commit, onto)


class Instant(LabExecutor):
    """Takes a random time, and knows no noise to speak of."""

    async def run(self, trial):
        await asyncio.sleep(20 * self.draw.random())
        self.trials.append(trial)
        score = (
            100.0 - value(self.branches, trial.commit) + random.Random(trial.seed).gauss(0, 1e-3)
        )
        return Outcome(trial.id, "lab", "namespaces", score=score, seconds={"budget": 10.0})


def lived(tmp_path, seed, trials=TRIALS, ledger=None, branches=None):
    """Conduct a run in which everything takes a random time; return it."""
    draw = random.Random(seed)

    async def offload(call, *args):
        """Let others go first, now and then."""
        await asyncio.sleep(draw.choice([0.0, 0.0, 3.0]) * draw.random())
        return call(*args)

    async def main():
        made = branches or Torn(draw)
        executor = Instant(made)
        executor.draw = draw
        run = make_run(
            tmp_path,
            ledger=ledger,
            branches=made,
            executor=executor,
            agents={"i0": Uneven(draw), "i1": Uneven(draw)},
            preflights=UnevenLooks(draw),
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


def settled(history, branches):
    """Hold a history against rules of its own making; return how many candidates went stale."""
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


@pytest.mark.parametrize("least", [500, pytest.param(10_000, marks=pytest.mark.soak)])
def test_what_the_head_moved_away_from_is_rebased_or_dropped(tmp_path, least):
    """Whatever the order of answers, commits, looks, merges and trials: never measured stale."""
    stale, counts, seed = 0, Counter(), 0
    while stale < least:
        run = lived(tmp_path, seed)
        stale += settled(run.ledger.kept, run.branches)
        counts.update(type(event).__name__ for event in run.ledger.kept)
        for name, island in run.state.islands.items():
            assert run.branches.heads[name] == island.head
        assert run.state.trials == TRIALS
        seed += 1
    assert min(counts["CandidateRebased"], counts["CandidateDropped"]) > least // 10
    assert counts["ProposalRefused"] > least // 10


def test_cut_at_every_event_it_goes_on_to_a_consistent_end(tmp_path):
    """No candidate is lost, measured twice or measured stale, wherever a kill came."""
    whole = lived(tmp_path, 1, trials=14)
    for cut in range(3, len(whole.ledger.kept) - 1):
        ledger, branches = MemoryLedger(whole.ledger.kept[:cut]), copy.deepcopy(whole.branches)
        run = lived(tmp_path, 1000 + cut, trials=18, ledger=ledger, branches=branches)
        settled(run.ledger.kept, branches)
        assert run.state.trials == 18
        asked = Counter(
            (e.commit, e.seed) for e in run.ledger.kept if isinstance(e, ev.TrialStarted)
        )
        voided = sum(isinstance(e, ev.TrialVoided) for e in run.ledger.kept)
        assert sum(asked.values()) - len(asked) <= voided
        admitted = [e.experiment for e in run.ledger.kept if isinstance(e, ev.CandidateAdmitted)]
        assert len(admitted) == len(set(admitted))
        fresh = State()
        fresh.apply_all(run.ledger.kept)
        assert fresh.islands == run.state.islands


def test_one_seed_gives_one_ledger(tmp_path):
    """Byte for byte, with all that goes on at one time."""
    one, two = (lived(tmp_path, 7) for _ in range(2))
    assert [ev.encode(e) for e in one.ledger.kept] == [ev.encode(e) for e in two.ledger.kept]


def test_a_stale_candidate_cannot_even_be_recorded_as_measured(tmp_path):
    """The fold refuses it, so that a ledger which says so does not verify."""
    history = lived(tmp_path, 3).ledger.kept
    heads = [e for e in history if isinstance(e, ev.VerdictReached) and e.verdict == "keep"]
    moved = history.index(heads[0])
    waiting = next(e for e in history[moved:] if isinstance(e, ev.CandidateRebased))
    at = history.index(waiting)
    state = State()
    state.apply_all(history[:at])
    island = state.islands[waiting.island]
    stale = next(each for each in island.queue if each.number == waiting.experiment)
    if island.experiment is not None:
        island.experiment = None
    start = ev.TrialStarted("t0", stale.number, waiting.island, stale.commit, "screen", 1, 0, "s")
    with pytest.raises(ValueError, match="is not on the head"):
        state.apply(start)


@pytest.mark.parametrize(
    ("latency", "trial", "depth"),
    [(0.01, 300.0, 1), (60.0, 300.0, 1), (0.5, 0.5, 3), (2.0, 5.0, 1), (2.0, 0.5, MAX_DEPTH)],
)
def test_how_far_ahead_an_agent_is_asked_follows_from_both_times(latency, trial, depth):
    """Once what is needed on average and once more, one in reserve, and never beyond MOST."""
    pace = PrefetchDepth()
    assert pace.depth == 1
    for _ in range(20):
        pace.add_latency(latency)
        pace.add_trial(trial)
    assert pace.depth == depth


LINES = "".join(f"V{n} = 0.0\n\n" for n in range(8))


class Editor:
    """Adds to one of eight lines at a time; some of its changes meet on one line, most do not."""

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
    """Scores what the lines add up to."""

    async def run(self, trial):
        await asyncio.sleep(10)
        space = {}
        exec(self.branches.files(trial.commit)[GENOME].data, space)  # what Editor wrote
        total = sum(worth for name, worth in space.items() if name.startswith("V"))
        score = 100.0 - total + random.Random(trial.seed).gauss(0, 1e-3)
        return Outcome(trial.id, "lab", "namespaces", score=score, seconds={"budget": 10.0})


def test_in_real_git_what_is_rebased_holds_both_changes_and_the_record_verifies(tmp_path):
    """Merged line by line, conflicts dropped, each commit held by a ref, the projection equal."""
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
            limits=RunLimits(trials=40),
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
