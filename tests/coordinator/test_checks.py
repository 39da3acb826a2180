"""Checks of a problem, on virtual time: when they run, what a failed one does, the base's own."""

import asyncio
from collections import Counter

import pytest

from harness.contract import HarnessError, SetupError
from islands import events as ev
from islands.stacking.state import StackPolicy
from islands.state.lifecycle import diagram
from islands.state.run_state import State
from islands.steering import StopLaunch
from swarm.agents.llm.prompt import render
from swarm.coordinator.brief import Briefer
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.executors.base import VoidError
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import LabExecutor, MemoryBranches, MemoryLedger, make_run, value

CHECKS = ("python -m pytest -q tests",)


def simulate(tmp_path, executor=None, **parts):
    """Return a laboratory run with checks, executed on virtual time."""
    branches = executor.branches if executor else MemoryBranches()

    async def main():
        run = make_run(
            tmp_path,
            branches=branches,
            executor=executor or LabExecutor(branches),
            checks=CHECKS,
            **parts,
        )
        await run_islands(run)
        return run

    return run_virtual(main())


def kinds(run, kind):
    """Return the events of one kind that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


def test_nothing_is_kept_or_confirmed_unchecked_and_no_discard_is_checked(tmp_path):
    """One check for each candidate that screened well, before its first pair; the base first."""
    run = simulate(tmp_path, limits=RunLimits(trials=150))
    checks = kinds(run, ev.CommitChecked)
    assert (checks[0].experiment, checks[0].commit) == (0, "base")
    checked = [event.experiment for event in checks]
    assert len(checked) == len(set(checked))
    seen, confirmed = set(), set()
    for event in run.ledger.kept:
        if isinstance(event, ev.CommitChecked):
            seen.add(event.experiment)
        elif isinstance(event, ev.TrialStarted):
            assert 0 in seen
            confirmed |= {event.experiment} if event.purpose == "confirm" else set()
            assert event.purpose != "confirm" or event.experiment in seen
        elif isinstance(event, ev.VerdictReached) and event.verdict == "keep":
            assert event.experiment in seen
    screened = {e.experiment for e in kinds(run, ev.TrialStarted) if e.purpose == "screen"}
    assert confirmed <= set(checked) - {0} < screened


def test_a_failed_check_is_a_failure_with_its_tail(tmp_path):
    """The experiment fails, takes no more trials, and its agent is shown what was printed."""
    executor = LabExecutor(MemoryBranches())
    executor.unsound = lambda x: x > 0.02
    run = simulate(tmp_path, executor, limits=RunLimits(trials=200))
    failed = [event for event in kinds(run, ev.CommitChecked) if not event.ok]
    assert failed
    for island in run.state.islands.values():
        assert value(run.branches, island.head) <= 0.02
    last = failed[-1].experiment
    after = run.ledger.kept[run.ledger.kept.index(failed[-1]) :]
    assert not any(isinstance(e, ev.TrialStarted) and e.experiment == last for e in after)
    attempts = [a for i in run.state.islands.values() for a in i.recent_attempts if a.tail]
    assert {attempt.ending for attempt in attempts} == {"failed"}
    assert attempts[-1].reason == "check: `pytest` exited with 1: X"
    brief = Briefer(run.branches.files, "").brief(run.state, attempts[-1].island, 9_999)
    assert "E   X\n1 failed" in render(brief).request
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.islands == run.state.islands


def test_what_is_stacked_passes_the_checks_together(tmp_path):
    """Changes that pass one by one and fail together do not stay together."""
    executor = LabExecutor(MemoryBranches())
    executor.unsound = lambda x: x > 0.1
    stacking, limits = StackPolicy(4), RunLimits(trials=300)
    run = simulate(tmp_path, executor, islands=3, stacking=stacking, limits=limits)
    stacks, checks = run.state.stacks, [e for e in kinds(run, ev.CommitChecked) if e.stack]
    assert {check.ok for check in checks} == {True, False}
    for judged in stacks.judged:
        tried = [check.ok for check in checks if check.stack == judged.number]
        assert tried[-1] and len(tried) <= 2 * len(judged.parts + judged.dropped)
        assert len(judged.parts) > 1 and judged.dropped
        assert value(run.branches, judged.commit) <= 0.1
        reasons = stacks.left_out[judged.number]
        assert set(reasons) == set(judged.dropped)
        assert "with the others it fails a check: `pytest` exited" in reasons[judged.dropped[0]]
    consensus = run.state.promotions.consensus
    assert consensus is not None and value(run.branches, consensus.commit) <= 0.1
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.stacks.left_out == stacks.left_out


def test_a_base_that_fails_its_checks_is_refused_before_a_trial(tmp_path):
    """In one line that says which check, and what to do."""
    executor = LabExecutor(MemoryBranches())
    executor.unsound = lambda x: True
    with pytest.raises(SetupError) as caught:
        simulate(tmp_path, executor)
    assert "check `pytest` exited with 1: X" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert executor.trials == []


def test_a_void_check_runs_again(tmp_path):
    """A harness process that dies says nothing about the candidate."""
    executor, answers = LabExecutor(MemoryBranches()), [VoidError("gone")]
    check = executor.check

    async def flaky(trial):
        if answers:
            raise answers.pop()
        return await check(trial)

    executor.check = flaky
    run = simulate(tmp_path, executor, limits=RunLimits(trials=10))
    assert run.state.base_checked


def test_no_two_checks_of_a_run_have_one_id(tmp_path):
    """Islands that resume their checks at one time would empty each other's folder otherwise."""
    executor, ids, stalled = LabExecutor(MemoryBranches()), [], set()
    check = executor.check

    async def stall(trial):
        ids.append(trial.id)
        if trial.commit != "base":
            stalled.add(trial.slice.name)
            await asyncio.sleep(10**6)
        return await check(trial)

    async def count(trial):
        ids.append(trial.id)
        return await check(trial)

    executor.check = stall
    first = simulate(tmp_path, executor, limits=RunLimits(minutes=60))
    assert stalled == {"s0", "s1"}
    executor.check = count
    begun, ledger = len(ids), MemoryLedger(first.ledger.kept)
    simulate(tmp_path, executor, ledger=ledger, limits=RunLimits(trials=200))
    assert len(ids) > begun + 2
    assert Counter(ids).most_common(1)[0][1] == 1


class Scratchless(LabExecutor):
    """After the first check, those of which `broken` says so cannot use their folder."""

    broken, ids = staticmethod(lambda trial: True), ()

    async def check(self, trial):
        self.ids += (trial.id,)
        if self.checked and self.broken(trial):
            raise VoidError("FileNotFoundError: out1/x")
        return await super().check(trial)


def test_a_machine_on_which_no_check_runs_stops_the_run_and_blames_no_candidate(tmp_path):
    """The base's checks are void there, too, and nothing of a candidate's is in them."""
    executor, ledger = Scratchless(MemoryBranches()), MemoryLedger()
    with pytest.raises(HarnessError, match="the base's checks were void 5 times in a row: FileNot"):
        simulate(tmp_path, executor, ledger=ledger)
    assert [e.commit for e in ledger.kept if isinstance(e, ev.CommitChecked)] == ["base"]
    assert not any(isinstance(e, ev.VerdictReached) and e.verdict == "keep" for e in ledger.kept)
    assert ledger.kept[-1].reason.startswith("error: the base's checks were void")


def test_a_candidate_whose_checks_alone_are_void_fails_and_is_not_refuted(tmp_path):
    """It ends, or it could hold its slice for ever; on another head it may be tried again."""
    executor = Scratchless(MemoryBranches())
    executor.broken = lambda trial: trial.commit != "base"
    run = simulate(tmp_path, executor, limits=RunLimits(trials=80))
    failed = [event for event in kinds(run, ev.CommitChecked) if not event.ok]
    assert failed and executor.checked.count("base") == 1 + len(failed)
    assert len(executor.ids) == len(set(executor.ids))
    void = "its checks were void again and again, and the base's were not: FileNotFoundError: out1"
    for event in failed:
        assert event.reason.startswith(void)
        past = run.state.memory.of(event.experiment)
        assert (past.ending, past.refuted, past.open) == ("failed", False, True)


def test_a_stop_ends_the_tries_of_a_void_check(tmp_path):
    """Nothing is recorded of them, and the next launch checks the candidate."""
    executor, tried = Scratchless(MemoryBranches()), asyncio.Event()

    def broken(trial):
        tried.set()
        return True

    executor.broken = broken

    async def main():
        run = make_run(tmp_path, branches=executor.branches, executor=executor, checks=CHECKS)
        task = asyncio.create_task(run_islands(run))
        await tried.wait()
        run.steer(StopLaunch(), "r")
        await task
        return run

    run = run_virtual(main())
    assert run.limit == "person"
    assert [event.commit for event in kinds(run, ev.CommitChecked)] == ["base"]
    executor.broken = lambda trial: False
    ledger = MemoryLedger(run.ledger.kept)
    again = simulate(tmp_path, executor, ledger=ledger, limits=RunLimits(trials=40))
    assert len(kinds(again, ev.CommitChecked)) > 1


def test_a_check_ends_with_the_launch(tmp_path):
    """One that is under way at the end of the minutes is dropped, and nothing is recorded of it."""
    executor = LabExecutor(MemoryBranches())

    async def endless(trial):
        await asyncio.sleep(10**6)

    executor.check = endless
    run = simulate(tmp_path, executor, limits=RunLimits(minutes=10))
    assert (run.limit, run.ledger.kept[-1].recorded) == ("minutes", 600.0)


def test_the_diagram_has_checks():
    """They change no state unless they fail."""
    assert "screening --> screening: screened, voided, checked" in diagram()
    assert "confirming --> confirming: confirmed, checked" in diagram()
