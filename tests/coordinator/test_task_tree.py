"""The whole coordinator on virtual time: ratchet, faults, bounds, resume, determinism."""

import ast
import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.database.projection.event_rows import rows
from harness.contract import Failure, HarnessError, Preflight, SetupError
from islands import events as ev
from islands.ratchet.guards import Guard, Guards
from islands.ratchet.policy import RatchetPolicy
from islands.records import Entry, Proposal, Usage
from islands.state.run_state import State
from swarm.agents.base import AgentError
from swarm.agents.llm.budget import BudgetError
from swarm.coordinator import task_tree
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands, stopping_error
from swarm.executors.base import VoidError
from swarm.simulation.rules import RULES
from swarm.simulation.virtual_time import DeadlockError, run_virtual
from tests.support.laboratory import (
    GENOME,
    LabAgent,
    LabExecutor,
    MemoryBranches,
    MemoryLedger,
    make_run,
    value,
)


def simulate(tmp_path, **parts):
    """Return a laboratory run, executed on virtual time."""

    async def main():
        run = make_run(tmp_path, **parts)
        await run_islands(run)
        return run

    return run_virtual(main())


def kinds(run, kind):
    """Return the events of one kind that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


def test_islands_improve_and_their_branches_follow(tmp_path):
    """After 400 trials every island's head is truly better, and its branch is at the head."""
    run = simulate(tmp_path, limits=RunLimits(trials=400))
    for name, island in run.state.islands.items():
        assert value(run.branches, island.head) > 0.03
        assert run.branches.heads[name] == island.head
        assert island.endings["kept"] == len(island.kept) > 0


def test_the_baseline_is_measured_before_anything_is_tried(tmp_path):
    """The first trials are the base on each baseline seed once, shared by the islands."""
    run = simulate(tmp_path, limits=RunLimits(trials=30))
    trials = kinds(run, ev.TrialStarted)
    assert [t.purpose for t in trials[:4]] == ["baseline"] * 4
    assert {t.seed for t in trials[:4]} == set(run.state.scores.baseline_seeds())
    assert "baseline" not in {t.purpose for t in trials[4:]}
    assert len(trials) == 30


def test_two_runs_from_one_seed_give_the_same_ledger(tmp_path):
    """Byte for byte, times included."""
    one, two = (simulate(tmp_path, limits=RunLimits(trials=100)) for _ in range(2))
    assert [ev.encode(e) for e in one.ledger.kept] == [ev.encode(e) for e in two.ledger.kept]


def test_limits_are_never_exceeded(tmp_path):
    """Neither trials nor minutes: a trial that cannot end in time is not started."""
    run = simulate(tmp_path, limits=RunLimits(trials=33))
    assert run.state.trials == 33
    assert run.limit == "trials"
    run = simulate(tmp_path, limits=RunLimits(minutes=10))
    assert run.limit == "minutes"
    assert 540 < run.ledger.kept[-1].recorded <= 600


def test_a_limit_below_the_baseline_ends_the_run(tmp_path):
    """No island waits for a baseline that will not be finished."""
    run = simulate(tmp_path, limits=RunLimits(trials=3))
    assert run.state.trials == 3
    assert isinstance(run.ledger.kept[-1], ev.RunStopped)


@pytest.mark.parametrize("cut", range(5, 120, 7))
def test_a_run_killed_anywhere_resumes_consistently(tmp_path, cut):
    """Resumed from any prefix of its ledger: no scored trial lost or repeated, refs agree."""
    whole = simulate(tmp_path, limits=RunLimits(trials=60))
    kept = whole.ledger.kept[:cut]
    ledger, branches = MemoryLedger(kept), whole.branches
    run = simulate(tmp_path, ledger=ledger, branches=branches, limits=RunLimits(trials=60))
    scored = [e.started.trial for e in kinds(run, ev.TrialEnded)]
    assert len(scored) == len(set(scored))
    assert run.state.trials == 60
    requests = [
        (t.commit, t.seed, t.purpose) for t in kinds(run, ev.TrialStarted) if t.trial in scored
    ]
    assert len(requests) == len(set(requests))
    for name, island in run.state.islands.items():
        assert branches.heads[name] == island.head


def test_a_trial_that_a_kill_ended_took_no_longer_than_its_coordinator_lived(tmp_path):
    """However late the run is resumed: the hours between launches are nobody's trials."""
    whole = simulate(tmp_path, limits=RunLimits(trials=60)).ledger.kept
    started = next(place for place, e in enumerate(whole) if isinstance(e, ev.TrialStarted))
    kept = [replace(e, recorded=e.recorded - 36_000.0) for e in whole[: started + 2]]
    run = simulate(tmp_path, ledger=MemoryLedger(kept), limits=RunLimits(trials=60))
    lost = [event for event in kinds(run, ev.TrialVoided) if event.cause == "lost"]
    assert lost
    for event in lost:
        assert event.ended == kept[-1].recorded < event.recorded - 35_000.0
        _, row = next(iter(rows(event)))
        assert row["ended"] == event.ended
    assert run.state.voids.seconds < 60.0


def test_the_fold_of_the_ledger_is_the_state(tmp_path):
    """A fresh fold of the ledger has the scores, heads and counts of the live run."""
    run = simulate(tmp_path, limits=RunLimits(trials=120))
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.scores.by_commit == run.state.scores.by_commit
    assert fresh.islands == run.state.islands


def test_an_agent_learns_of_each_ended_experiment_once_also_after_resume(tmp_path):
    """At resume an agent learns the same attempts as in the live run."""
    run = simulate(tmp_path, limits=RunLimits(trials=60))
    for name, agent in run.agents.items():
        ends = sum(run.state.islands[name].endings.values())
        assert len({a.experiment for a in agent.learned}) == len(agent.learned) == ends
    again = simulate(
        tmp_path, ledger=run.ledger, branches=run.branches, limits=RunLimits(trials=60)
    )
    for name, agent in again.agents.items():
        assert agent.learned == run.agents[name].learned


def test_an_agent_error_is_an_event_and_stops_nothing(tmp_path):
    """Rate limits and refusals of agents are recorded, and the run continues."""
    errors = [AgentError("rate", "429", retry_after=30.0), AgentError("refusal", "no")]
    agents = {f"i{k}": LabAgent(script={2: errors[0], 3: errors[1]}) for k in range(2)}
    run = simulate(tmp_path, agents=agents, limits=RunLimits(trials=40))
    assert [e.error_kind for e in kinds(run, ev.AgentFailed)].count("rate") == 2
    assert run.state.trials == 40


def test_a_refused_proposal_costs_no_trial_and_is_shown_to_its_agent(tmp_path):
    """The reason is in the next brief only."""
    seen = []

    class Curious(LabAgent):
        async def propose(self, brief):
            seen.append(brief.refused)
            return await super().propose(brief)

    outside = Proposal("escape", {"harness/x.py": Entry(b"1\n")})
    agents = {"i0": Curious(script={1: outside})}
    run = simulate(tmp_path, agents=agents, islands=1, limits=RunLimits(trials=20))
    refused = kinds(run, ev.ProposalRefused)
    assert [e.rule for e in refused] == ["outside"]
    assert seen[0] == "" and seen[1].startswith("outside: ") and seen[2] == ""


def test_a_failing_candidate_is_dropped_and_never_confirmed(tmp_path):
    """A crash ends its experiment as failed; the island continues."""
    branches = MemoryBranches()
    crash = Failure("crash", "exit status 1: ZeroDivisionError")
    executor = LabExecutor(branches, faults={5: crash, 6: crash})
    run = simulate(tmp_path, branches=branches, executor=executor, limits=RunLimits(trials=40))
    assert sum(i.endings.get("failed", 0) for i in run.state.islands.values()) == 2
    assert run.state.trials == 40


def test_a_violated_guard_is_a_discard_with_its_reason(tmp_path):
    """A better score does not excuse more memory than the guard allows."""

    class Greedy(LabExecutor):
        async def run(self, trial):
            outcome = await super().run(trial)
            return replace(outcome, peak_mib=100 + 100 * value(self.branches, trial.commit))

    branches = MemoryBranches()
    better = Proposal("better", {GENOME: Entry(b"X = 0.2\n")})
    run = simulate(
        tmp_path,
        branches=branches,
        executor=Greedy(branches),
        agents={"i0": LabAgent(script={1: better})},
        islands=1,
        ratchet=RatchetPolicy(guards=Guards((Guard("memory", 1.1),))),
        limits=RunLimits(trials=6),
    )
    verdict = kinds(run, ev.VerdictReached)[0]
    assert verdict.verdict == "discard"
    assert verdict.reason.startswith("guard: 120 MiB of peak memory")


def test_a_head_that_fails_on_a_fresh_seed_makes_no_pair(tmp_path):
    """Its seed is skipped and the candidate gets another one."""
    branches = MemoryBranches()
    better = Proposal("better", {GENOME: Entry(b"X = 0.2\n")})
    agents = {"i0": LabAgent(script={1: better})}
    executor = LabExecutor(branches, faults={7: Failure("timeout", "late")})
    run = simulate(
        tmp_path,
        branches=branches,
        agents=agents,
        executor=executor,
        islands=1,
        ratchet=RatchetPolicy(RULES["three-seeds"]),
        limits=RunLimits(trials=13),
    )
    kept = run.state.islands["i0"].kept
    assert [k.hypothesis for k in kept] == ["better"]
    assert kept[0].gain.pairs == 3


def test_a_base_that_fails_stops_the_launch_with_its_reason(tmp_path):
    """The message has the failure of the base."""
    branches = MemoryBranches()
    executor = LabExecutor(branches, faults={1: Failure("crash", "no module named torch")})
    with pytest.raises(SetupError, match="baseline: crash: no module named torch"):
        simulate(tmp_path, branches=branches, executor=executor)


def test_void_trials_run_again_and_too_many_in_a_row_stop_the_run(tmp_path):
    """A fault of the harness is never scored, and does not loop for ever."""
    branches = MemoryBranches()
    executor = LabExecutor(branches, faults={2: VoidError("no memory"), 9: VoidError("lost")})
    run = simulate(tmp_path, branches=branches, executor=executor, limits=RunLimits(trials=30))
    assert len(kinds(run, ev.TrialVoided)) == 2
    assert len(kinds(run, ev.TrialEnded)) == run.state.trials == 30
    always = LabExecutor(branches, faults=dict.fromkeys(range(100), VoidError("broken")))
    with pytest.raises(HarnessError, match="in a row were void: broken"):
        simulate(tmp_path, executor=always, branches=MemoryBranches())


def test_a_run_whose_measure_changed_is_not_resumed(tmp_path):
    """Another harness, task or metric needs a new run; nothing is recorded."""
    run = simulate(tmp_path, limits=RunLimits(trials=10))
    before = len(run.ledger.kept)
    with pytest.raises(SetupError, match="harness 'lab', and it is 'other' now"):
        simulate(tmp_path, ledger=run.ledger, branches=run.branches, harness="other")
    assert len(run.ledger.kept) == before


def test_a_resume_that_is_refused_records_nothing(tmp_path):
    """The record keeps why the run stopped: a commit of the user's is on an island's branch."""

    class Guarded(MemoryBranches):
        def sync_branches(self, heads):
            if heads != self.heads:
                raise SetupError("a commit of yours is on swarm/lab/i0")
            super().sync_branches(heads)

    whole = simulate(tmp_path, limits=RunLimits(trials=30))
    ledger, branches = MemoryLedger(whole.ledger.kept), Guarded()
    branches.commits = whole.branches.commits
    branches.heads = {**whole.branches.heads, "i0": "theirs"}
    with pytest.raises(SetupError, match="a commit of yours"):
        simulate(tmp_path, ledger=ledger, branches=branches, limits=RunLimits(trials=60))
    assert ledger.kept == whole.ledger.kept


def test_an_interrupt_is_recorded_and_frees_every_slice(tmp_path):
    """Cancelling the tree ends all trials and leaves the ledger ready for resume."""

    async def main():
        run = make_run(tmp_path)
        task = asyncio.create_task(run_islands(run))
        await asyncio.sleep(130)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return run

    run = run_virtual(main())
    assert run.executor.running == set()
    assert run.ledger.kept[-1].reason == "interrupted"


def test_more_islands_than_slices_take_turns(tmp_path):
    """A slice is leased to one trial at a time (the executor asserts it)."""

    async def main():
        run = make_run(tmp_path, islands=4)
        shared = run.launch.islands[0].slice
        islands = tuple(replace(island, slice=shared) for island in run.launch.islands)
        run.launch = replace(run.launch, islands=islands)
        await run_islands(run)
        return run

    run = run_virtual(main())
    assert run.state.trials == 60
    assert len(run.state.islands) == 4
    assert min(island.trials for island in run.state.islands.values()) > 0


def test_virtual_time_raises_on_a_deadlock():
    """It does not hang."""

    async def main():
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run_virtual(main())


class RefusingPreflights:
    """Refuses the first `bad` candidates."""

    available = True

    def __init__(self, bad):
        self.bad, self.seen = bad, []

    async def check(self, trial):
        self.seen.append(trial)
        await asyncio.sleep(0.5)
        ok = len(self.seen) > self.bad
        return Preflight(ok, "" if ok else "crash: NameError: x", tail="" if ok else "line 1\nx")


def test_a_candidate_refused_by_a_preflight_costs_no_slice_time_and_is_repaired(tmp_path):
    """Its agent is shown the error and its own change, for two repairs; then it starts afresh."""
    seen = []

    class Curious(LabAgent):
        async def propose(self, brief):
            seen.append(brief.refused)
            return await super().propose(brief)

    run = simulate(
        tmp_path,
        agents={"i0": Curious()},
        islands=1,
        preflights=RefusingPreflights(3),
        limits=RunLimits(trials=12),
    )
    refused = kinds(run, ev.ProposalRefused)
    assert [(e.rule, e.reason) for e in refused] == [("preflight", "crash: NameError: x")] * 3
    assert seen[0] == seen[3] == seen[4] == ""
    for text in (seen[1], seen[2]):
        assert text.startswith("preflight: crash: NameError: x\nline 1\nx\n\n-X")
    measured = {trial.commit for trial in kinds(run, ev.TrialStarted)}
    admitted = {event.commit for event in kinds(run, ev.CandidateAdmitted)}
    assert measured <= admitted | {"base"}
    assert {trial.commit for trial in run.preflights.seen[:3]}.isdisjoint(measured)


def test_a_slow_agent_keeps_its_slice_busy(tmp_path):
    """An agent four times as slow as a trial is asked far ahead, a quick one only one ahead."""
    slow = {"i0": LabAgent(think=80.0)}
    run = simulate(tmp_path, agents=slow, islands=1, limits=RunLimits(trials=200))
    started = [e.recorded for e in kinds(run, ev.TrialStarted)]
    assert 20.0 * 150 / (started[-1] - started[49]) > 0.97
    quick = simulate(tmp_path, islands=1, limits=RunLimits(trials=60))
    waiting = most = 0
    for event in quick.ledger.kept:
        waiting += isinstance(event, ev.CandidateAdmitted)
        waiting -= isinstance(event, ev.TrialStarted) and event.purpose == "screen"
        waiting -= isinstance(event, ev.CandidateDropped)
        most = max(most, waiting)
    assert most == 1


def test_calls_under_way_at_the_deadline_are_cancelled_and_charged(tmp_path):
    """A call without an answer counts at its largest cost."""

    class Caller(LabAgent):
        async def propose(self, brief):
            worst = Usage(1, usd=0.5, tokens_untold=1000)
            self.run.record(ev.AgentCallStarted(brief.experiment, brief.island, self.name, worst))
            return await super().propose(brief)

    async def main():
        run = make_run(tmp_path, islands=1, limits=RunLimits(minutes=10), agents={"i0": Caller()})
        run.agents["i0"].run, run.agents["i0"].think = run, 200.0
        await run_islands(run)
        return run

    run = run_virtual(main())
    assert run.limit == "minutes"
    assert run.ledger.kept[-1].recorded <= 600
    stopped = [e for e in kinds(run, ev.AgentFailed) if e.error_kind == "stopped"]
    assert {e.usage.usd for e in stopped} == {0.5}
    assert run.state.calls.open == {}
    answered = len(kinds(run, ev.ProposalReceived))
    assert run.state.usd == pytest.approx(0.5 * len(stopped) + 0.01 * answered)
    assert run.state.tokens == 1000 * len(stopped) + 15 * answered
    last_call = max(n for n, e in enumerate(run.ledger.kept) if isinstance(e, ev.AgentCallStarted))
    cut = MemoryLedger(run.ledger.kept[: last_call + 1])
    killed = State()
    killed.apply_all(cut.kept)
    assert killed.usd >= 0.5 and killed.calls.open
    again = simulate(tmp_path, ledger=cut, branches=run.branches, limits=RunLimits(minutes=0.1))
    assert {e.experiment for e in kinds(again, ev.AgentFailed)} >= set(killed.calls.open)


def test_an_exhausted_budget_ends_the_run_once_all_candidates_are_measured(tmp_path):
    """The run's limit is the budget's."""

    class Poor(LabAgent):
        async def propose(self, brief):
            if self.calls >= 3:
                raise BudgetError("tokens", "all are spent")
            return await super().propose(brief)

    run = simulate(tmp_path, agents={"i0": Poor()}, islands=1, limits=RunLimits(tokens=100))
    assert run.limit == "tokens"
    assert len(kinds(run, ev.CandidateAdmitted)) == 3
    assert sum(run.state.islands["i0"].endings.values()) == 3


def test_an_error_of_the_users_leaves_its_group_and_a_bug_does_not():
    """The first of them, however deep it lies; a bug beside it is shown with its traceback."""
    mine, bug = SetupError("fix this"), ValueError("ours")
    assert stopping_error(BaseExceptionGroup("a", [ExceptionGroup("b", [mine])])) is mine
    assert stopping_error(BaseExceptionGroup("a", [mine, bug])) is None
    assert stopping_error(BaseExceptionGroup("a", [bug])) is None


def test_nothing_hangs_on_a_raise_inside_except_star():
    """In Python 3.11.2 it comes out wrapped: a user's mistake would be a traceback."""
    source = Path(task_tree.__file__).parents[2]
    packages = ("swarm", "islands", "analysis", "harness")
    files = [file for package in packages for file in (source / package).rglob("*.py")]
    assert len(files) > 100
    starred = [
        str(file)
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.TryStar)
    ]
    assert starred == []
