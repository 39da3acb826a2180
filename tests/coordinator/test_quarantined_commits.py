"""Quarantine of a kept commit after an invalid trial: on virtual time, and in a real repository.

`tests/islands/test_quarantine.py` tests the pure half: which commits are quarantined, and the
fallback of each island.
"""

import copy
import dataclasses

import duckdb
import pytest

from analysis.database.refresh import refresh
from analysis.ledger import Ledger
from harness.contract import Failure, SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.quarantine import REASON
from islands.records import Entry, Proposal
from islands.state.run_state import State
from swarm.agents.base import AgentError
from swarm.coordinator.brief import Briefer
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.project.runs import RunFolder
from swarm.results.verify import verify
from swarm.simulation.virtual_time import run_virtual
from tests.support.chain import bodies, chained
from tests.support.histories import clock
from tests.support.laboratory import (
    GENOME,
    LabAgent,
    LabExecutor,
    MemoryBranches,
    MemoryLedger,
    make_run,
    value,
)
from tests.support.repository import git, make

AUDIT = "3 of 512 audited forecasts change when what follows them is replaced"
INVALID = Failure("invalid", AUDIT)


def raised(x):
    """Return a proposal that makes the true score better by `x` in all."""
    return Proposal(f"X to {x}", {GENOME: Entry(f"X = {x}\n".encode())})


@dataclasses.dataclass
class Auditor(LabExecutor):
    """Finds the commit with X = `x` invalid from its `after`-th trial as a head on."""

    x: float = 0.2
    after: int = 1
    met: int = 0

    async def run(self, trial):
        outcome = await super().run(trial)
        if value(self.branches, trial.commit) != self.x or trial.commit not in self.heads():
            return outcome
        self.met += 1
        if self.met < self.after:
            return outcome
        return dataclasses.replace(outcome, score=None, failure=INVALID)

    def heads(self):
        if isinstance(self.branches, MemoryBranches):
            return self.branches.heads.values()
        return {self.branches.head(name) for name in ("i0", "i1")}


class Reading(LabAgent):
    """Keeps the briefs that it is shown."""

    def __init__(self, **more):
        super().__init__(**more)
        self.briefs = []

    async def propose(self, brief):
        self.briefs.append(brief)
        return await super().propose(brief)


def simulate(tmp_path, **parts):
    """Return a laboratory run, executed on virtual time."""

    async def main():
        run = make_run(tmp_path, **{"limits": RunLimits(trials=60)} | parts)
        await run_islands(run)
        return run

    return run_virtual(main())


def cheating(branches=None, after=1):
    """Return the parts of a run whose first keep on i0, with X = 0.2, turns out to be invalid."""
    branches = branches or MemoryBranches()
    first = {1: raised(0.2), 2: raised(0.3)}
    agents = {"i0": Reading(script=first), "i1": Reading(script={1: raised(0.1)})}
    return {
        "branches": branches,
        "agents": agents,
        "executor": Auditor(branches, after=after),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in which a head is found invalid, by a confirmation of its child."""
    return simulate(tmp_path_factory.mktemp("run"), **cheating())


def kinds(run, kind):
    """Return the events of one kind that a run recorded, with their index."""
    return [(n, event) for n, event in enumerate(run.ledger.kept) if isinstance(event, kind)]


def quarantined(run):
    """Return the only quarantine of a run and its index in the ledger."""
    ((index, event),) = kinds(run, ev.CommitQuarantined)
    return index, event


def experiment_of(run, commit):
    """Return the number of the experiment whose candidate `commit` is."""
    made = kinds(run, ev.CandidateAdmitted | ev.CandidateRebased)
    return next(e.experiment for _, e in made if e.commit == commit)


def test_an_invalid_head_is_quarantined_at_once_and_its_island_falls_back(run):
    """No event comes between the trial and the quarantine; the branch follows."""
    place, event = quarantined(run)
    before = run.ledger.kept[place - 1]
    assert (before.started.trial, before.outcome.failure) == (event.trial, INVALID)
    assert event.heads == (ev.Fallback("i0", event.commit, "base"),)
    assert event.reason == REASON
    island = run.state.islands["i0"]
    assert event.commit not in {island.head, *(kept.commit for kept in island.kept)}
    assert run.branches.heads == {name: island.head for name, island in run.state.islands.items()}
    assert run.state.trials == 60


def test_candidates_on_an_invalid_head_end_and_are_quarantined(run):
    """The open experiment is discarded with the fixed sentence, without another trial."""
    place, event = quarantined(run)
    made = [e for _, e in kinds(run, ev.CandidateAdmitted | ev.CandidateRebased)]
    made_on = {e.commit for e in made if e.parent == event.commit}
    assert made_on and made_on <= run.state.quarantines.commits
    later = [e for n, e in kinds(run, ev.TrialStarted) if n > place]
    assert not run.state.quarantines.commits & {trial.commit for trial in later}
    (invalid,) = [e for _, e in kinds(run, ev.TrialStarted) if e.trial == event.trial]
    verdicts = {e.experiment: e for _, e in kinds(run, ev.VerdictReached)}
    ended = verdicts[invalid.experiment]
    assert (ended.verdict, ended.reason) == ("discard", REASON)


def test_agents_are_shown_one_fixed_sentence_and_no_quarantined_change(run):
    """It is in no genome, change or gain of a brief; its reason is the fixed sentence."""
    experiments = run.state.quarantines.experiments
    briefs = [brief for agent in run.agents.values() for brief in agent.briefs]
    assert len(briefs) > 2
    assert AUDIT not in repr(briefs)
    shown = 0
    for name, island in run.state.islands.items():
        brief = Briefer(run.branches.files, "").brief(run.state, name, 999)
        assert "X = 0.2\n" not in {*brief.genome.values()}
        assert not experiments & {change.experiment for change in brief.elsewhere}
        for attempt in island.recent_attempts:
            if attempt.experiment in experiments:
                shown += 1
                assert (attempt.reason, attempt.gain) == (REASON, None)
                assert attempt.ending != "kept"
    assert shown > 0


def test_quarantined_changes_are_uncounted(run):
    """Counts, gains and lfsr are of the changes still kept; the agent learns of the new ending."""
    _, event = quarantined(run)
    for island in run.state.islands.values():
        assert island.endings.get("kept", 0) == len(island.kept)
    still = [kept for island in run.state.islands.values() for kept in island.kept]
    assert run.state.keep_tally.count == len(still)
    assert run.state.keep_tally.lfsr_sum == pytest.approx(sum(kept.gain.lfsr for kept in still))
    number = experiment_of(run, event.commit)
    endings = [
        attempt.ending for attempt in run.agents["i0"].learned if attempt.experiment == number
    ]
    assert endings == ["kept", "failed"]


def test_a_fallback_head_has_its_scores(tmp_path):
    """The next candidate is screened against them at once."""
    parts = cheating()
    parts["executor"].x = 0.25  # the second step, rebased on the first
    parts["agents"]["i0"] = Reading(script={1: raised(0.1), 2: raised(0.15), 3: raised(0.3)})
    run = simulate(tmp_path, **parts)
    place, event = quarantined(run)
    fallback = event.heads[0].new
    assert value(run.branches, fallback) == 0.1
    ours = [e for n, e in kinds(run, ev.TrialStarted) if n > place and e.island == "i0"]
    assert ours[0].purpose == "screen"


def test_a_crossover_with_it_on_another_island_is_quarantined_too(tmp_path):
    """A kept commit that took over its change is quarantined on any island; its parent is not."""
    parts = cheating()
    crossed = dataclasses.replace(raised(0.5), notes={"crossed_with": 1.0})
    slow = AgentError("rate", "wait", retry_after=100.0)
    parts["agents"] = {
        "i0": LabAgent(script={1: raised(0.2), 2: slow, 3: raised(0.3)}),
        "i1": LabAgent(script={4: crossed}),
    }
    run = simulate(tmp_path, **parts)
    _, event = quarantined(run)
    donor = experiment_of(run, event.commit)
    (number,) = [e.experiment for _, e in kinds(run, ev.ProposalReceived) if e.donor == donor]
    (child, *_) = [e for _, e in kinds(run, ev.CandidateAdmitted) if e.experiment == number]
    assert child.commit in run.state.quarantines.commits
    assert [fallback.island for fallback in event.heads] == ["i0", "i1"]


def test_an_invalid_base_ends_the_run(tmp_path):
    """No head is left to fall back to."""
    branches = MemoryBranches()
    executor = Auditor(branches, x=0.0, after=6)
    agents = {f"i{k}": LabAgent(script={1: raised(0.3)}) for k in range(2)}
    with pytest.raises(SetupError, match="fails its own baseline: a trial of this change"):
        simulate(tmp_path, branches=branches, executor=executor, agents=agents)


@pytest.mark.parametrize("late", range(-1, 4))
def test_a_run_killed_around_a_quarantine_resumes_consistently(tmp_path, run, late):
    """Killed before the event, after it, or before the branch moved."""
    place, event = quarantined(run)
    kept = run.ledger.kept[: place + late]
    branches = copy.deepcopy(run.branches)
    branches.heads["i0"] = event.commit  # as it was when the coordinator was killed
    parts = {"branches": branches, "executor": Auditor(branches)}
    again = simulate(tmp_path, ledger=MemoryLedger(kept), **parts)
    _, quarantine = quarantined(again)
    assert quarantine.commit == event.commit
    assert again.branches.heads == {n: island.head for n, island in again.state.islands.items()}
    assert event.commit not in again.branches.heads.values()


def test_a_fresh_fold_equals_the_live_state(run):
    """Quarantined and kept commits follow from the ledger alone."""
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.islands == run.state.islands
    assert fresh.quarantines.commits == run.state.quarantines.commits
    assert fresh.scores.by_commit == run.state.scores.by_commit


def test_a_quarantine_that_does_not_follow_is_refused(run):
    """One with other commits or heads, and one without an invalid trial before it."""
    place, event = quarantined(run)
    for forged in (
        dataclasses.replace(event, commits=(*event.commits, "base")),
        dataclasses.replace(event, heads=()),
    ):
        state = State()
        state.apply_all(run.ledger.kept[:place])
        with pytest.raises(ValueError, match="not what follows"):
            state.apply(forged)
    state = State()
    state.apply_all(run.ledger.kept[: place - 1])
    with pytest.raises(ValueError, match="not what follows"):
        state.apply(event)


# in a real repository, with the record


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Return the folder of such a run on a real repository, and its state."""
    home = tmp_path_factory.mktemp("real")
    repo = make(home / "repo", {GENOME: "X = 0.0\n", ".gitignore": ".swarm\n"})
    folder = RunFolder(repo, "lab")
    folder.path.mkdir(parents=True)
    branches = Branches(repo, "lab", (GENOME,))
    base = branches.base("main")

    async def main(ledger):
        run = make_run(
            home, ledger=ledger, base=base, limits=RunLimits(trials=50), **cheating(branches)
        )
        await run_islands(run)
        return run.state

    with Ledger.open(folder.path, clock()) as ledger:
        state = run_virtual(main(ledger))
    refresh(folder.path)
    return folder, state


def test_git_and_the_record_agree_with_the_quarantine(real):
    """Branches are at sound heads, the commits keep their refs, and `swarm verify` holds."""
    folder, state = real
    assert state.quarantines.commits
    for island in state.islands.values():
        assert git(folder.repo, "rev-parse", island.opened.branch) == island.head
    held = git(folder.repo, "for-each-ref", "--format=%(objectname)", "refs/swarm/lab/tried/")
    assert state.quarantines.commits <= {*held.split()}
    assert [check.violations for check in verify(folder).checks if check.violations] == []


def test_tables_show_the_quarantine(real):
    """`kept` and `standings` leave quarantined nodes out; two tables list what happened."""
    folder, state = real
    with duckdb.connect(folder.path / "lineage.duckdb", read_only=True) as con:
        quarantined_nodes = con.execute(
            "SELECT node FROM nodes WHERE quarantined IS NOT NULL"
        ).fetchall()
        kept = con.execute("SELECT island, commit FROM kept").fetchall()
        heads = con.execute(
            "SELECT island, head, failed, kept_quarantined FROM standings"
        ).fetchall()
        quarantines = con.execute("SELECT commit, reason FROM quarantines").fetchall()
        moved = con.execute("SELECT island, head, fallback FROM fallbacks").fetchall()
    assert {node for (node,) in quarantined_nodes} == state.quarantines.commits
    islands = state.islands.items()
    assert {*kept} == {(name, change.commit) for name, island in islands for change in island.kept}
    assert {*heads} == {
        (name, i.head, i.endings.get("failed", 0), i.endings.get("quarantined", 0))
        for name, i in islands
    }
    ((commit, reason),) = quarantines
    assert reason == REASON
    assert moved == [("i0", commit, state.run.base)]


def test_verify_accepts_a_branch_that_lags_a_quarantine_after_a_kill(real, tmp_path):
    """The quarantine is recorded before the branches move."""
    folder, state = real
    path = folder.path / "ledger.jsonl"
    whole = path.read_bytes()
    lines = bodies(whole)
    at = next(n for n, line in enumerate(lines) if b'"kind":"commit_quarantined"' in line)
    commit = next(iter(ev.decode(lines[at]).commits))
    branch, head = "refs/heads/swarm/lab/i0", state.islands["i0"].head
    try:
        (folder.path / "lineage.duckdb").unlink()
        path.write_bytes(chained(lines[: at + 1]))
        git(folder.repo, "update-ref", branch, commit)
        other = "refs/heads/swarm/lab/i1"
        i1 = git(folder.repo, "rev-parse", other)
        before = State()
        before.apply_all([ev.decode(line) for line in lines[: at + 1]])
        git(folder.repo, "update-ref", other, before.islands["i1"].head)
        (heads,) = [check for check in verify(folder).checks if check.name == "heads"]
        assert not heads.violations
        git(folder.repo, "update-ref", other, i1)
    finally:
        path.write_bytes(whole)
        git(folder.repo, "update-ref", branch, head)
        refresh(folder.path)
