"""Stack checks in simulated runs, on virtual time: share of trials, resume, fold, broken arms."""

from collections import Counter
from dataclasses import replace

import pytest

from harness.contract import Failure, SetupError, Slice
from islands import events as ev
from islands.events import steering as se
from islands.ratchet.policy import RatchetPolicy
from islands.scheduling.run_steps import next_of_stack
from islands.stacking.design import budget
from islands.stacking.state import StackPolicy
from islands.state.run_state import State
from islands.steering import RestartIsland, accept
from swarm.coordinator import run_actions
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands, run_steps_only
from swarm.simulation.metrics import reported_result
from swarm.simulation.mixtures import MIXTURES
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.virtual_time import run_virtual
from swarm.simulation.world import INTERACTIONS, Conditions
from tests.support.laboratory import LabExecutor, MemoryBranches, MemoryLedger, make_run
from tests.support.stack_checks import events_of, run_stack_check

CONDITIONS = Conditions(MIXTURES["published"], 1.0)


@pytest.fixture(scope="module")
def stacked():
    """Return a simulated run of eight islands with one stack check."""
    plan = RunPlan(RatchetPolicy(), islands=8, trials=300, stacking=StackPolicy(8))
    return simulate_run(CONDITIONS, plan, 1)


def test_no_island_restarts_from_a_stack(stacked):
    """It has no scores that a head needs; the refusal names the changes that it holds."""
    state, (judged,) = stacked.state, stacked.state.stacks.judged
    island = next(iter(state.islands))
    with pytest.raises(SetupError) as refusal:
        accept(state, RestartIsland(judged.commit, island), "r", running=True)
    assert f"holds {', '.join(f'#{part}' for part in judged.parts)} together" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    for part in judged.parts:
        asked = RestartIsland(state.keeps[part].commit, island)
        if asked.commit != state.islands[island].head:
            assert accept(state, asked, "r", running=True).commit == asked.commit


def test_a_runs_stack_is_worth_several_heads(stacked):
    """Eight islands' keeps, stacked, are truly worth more than any island's head."""
    simulated = stacked
    base = simulated.state.run.base
    heads = [simulated.gain(base, island.head) for island in simulated.state.islands.values()]
    (judged,) = simulated.state.stacks.judged
    assert simulated.gain(base, judged.commit) > 1.5 * max(heads)
    assert reported_result(simulated.state).commit == judged.commit
    assert judged.gain.mean == pytest.approx(simulated.gain(base, judged.commit), abs=0.002)
    assert simulated.state.trials <= 300
    spent = [
        e
        for e in simulated.events
        if isinstance(e, ev.TrialStarted) and e.purpose in {"stack", "ablation"}
    ]
    assert 0 < len(spent) <= budget(len(judged.parts) + len(judged.dropped))
    assert (
        len({started.slice for started in spent}) == len({started.seed for started in spent}) == 1
    )
    assert all(started.check_number == 1 and started.experiment == 0 for started in spent)


def test_the_same_run_has_the_same_checks():
    """One seed gives one ledger, to the last event."""
    plan = RunPlan(RatchetPolicy(), islands=4, trials=120, stacking=StackPolicy(4))
    conditions = replace(CONDITIONS, interactions=INTERACTIONS["strong"])
    first, second = (simulate_run(conditions, plan, 3) for _ in range(2))
    assert first.events == second.events
    assert first.state.stacks.judged


def test_checks_take_no_more_than_their_share():
    """A run too short for a check has none, and `share` bounds all checks together."""
    short = simulate_run(
        CONDITIONS, RunPlan(RatchetPolicy(), 8, trials=40, stacking=StackPolicy(2)), 1
    )
    assert short.state.stacks.count == 0
    bound = StackPolicy(2, share=0.1)
    long = simulate_run(CONDITIONS, RunPlan(RatchetPolicy(), 8, trials=200, stacking=bound), 1)
    assert 0 < long.state.stacks.spent <= 0.1 * 200


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    """Run a laboratory whose agents climb until its islands have kept something; its ledger."""
    branches = MemoryBranches()

    async def main():
        run = make_run(
            tmp_path_factory.mktemp("climbed"),
            branches=branches,
            executor=LabExecutor(branches),
            limits=RunLimits(trials=130),
            islands=3,
        )
        await run_islands(run)
        return run.ledger.kept

    return branches, tuple(run_virtual(main()))


def test_cut_between_any_two_events_a_check_comes_to_the_same_end(tmp_path, climbed):
    """A killed check resumes: same parts, no arm measured twice on a seed, within budget."""
    branches, before = climbed
    whole = run_stack_check(tmp_path, branches, MemoryLedger(before))
    (end,) = events_of(whole, ev.StackCheckEnded)
    assert end.verdict == "additive"
    assert len(end.parts) > 2
    events = whole.ledger.kept
    for cut in range(len(before) + 1, len(events), 5):
        run = run_stack_check(tmp_path, branches, MemoryLedger(events[:cut]))
        (again,) = events_of(run, ev.StackCheckEnded)
        assert (again.verdict, again.parts) == (end.verdict, end.parts)
        made = Counter(event.parts for event in events_of(run, ev.StackCheckAssembled))
        assert set(made.values()) == {1}
        ended = {e.started.trial for e in events_of(run, ev.TrialEnded)}
        arms = [
            (t.commit, t.seed)
            for t in events_of(run, ev.TrialStarted)
            if t.purpose in {"stack", "ablation"} and t.trial in ended
        ]
        assert len(arms) == len(set(arms)) <= budget(len(end.parts)) + 2


@pytest.mark.parametrize(
    "changes",
    [
        {"islands": 1},
        {"slices": [Slice("s2", "cpu")]},
        {"slices": [Slice("x", "cpu"), Slice("y", "cpu")]},
        {"slices": [Slice(f"s{k}", "cpu") for k in (2, 0, 1)]},
    ],
    ids=str,
)
def test_a_check_ends_wherever_its_run_is_resumed(tmp_path, climbed, changes):
    """Its run was opened with three islands on s0, s1 and s2; a block is on one slice."""
    branches, before = climbed
    run = run_stack_check(tmp_path, branches, MemoryLedger(before), **changes)
    assert [end.verdict for end in events_of(run, ev.StackCheckEnded)] == ["additive"]
    arms = [t for t in events_of(run, ev.TrialStarted) if t.purpose in {"stack", "ablation"}]
    assert len({(t.seed, t.slice) for t in arms}) == len({t.seed for t in arms})


def half_checked(tmp_path, climbed):
    """Return branches, the events up to a check's first trial, and the slice of that."""
    branches, before = climbed
    whole = run_stack_check(tmp_path, branches, MemoryLedger(before)).ledger.kept
    ends = [n for n, e in enumerate(whole) if isinstance(e, ev.TrialEnded)]
    first = next(n for n in ends if whole[n].started.purpose == "stack")
    return branches, whole[: first + 1], whole[first].started.slice


def test_a_check_whose_island_moves_goes_on_elsewhere_in_a_new_block(tmp_path, climbed):
    """Nobody is left on the slice of the block."""
    _, events, slice_ = half_checked(tmp_path, climbed)
    state = State()
    state.apply_all(events)
    (name,) = [name for name, island in state.islands.items() if island.slice.name == slice_]
    (other, *_) = [each for each in state.islands.values() if each.slice.name != slice_]
    assert next_of_stack(state, other.opened.island) is None
    seed = next_of_stack(state, name).seed
    state.apply(ev.IslandReassigned(name, other.slice, "drifts"))
    step = next_of_stack(state, name)
    assert step == next_of_stack(state, other.opened.island)
    assert step.seed != seed


def test_no_trials_are_reserved_for_a_check_that_nobody_can_continue(tmp_path, climbed):
    """Its island is paused: the others use the trials that are left."""
    branches, events, slice_ = half_checked(tmp_path, climbed)

    async def main():
        state = State()
        state.apply_all(events)
        run = make_run(
            tmp_path, branches=branches, islands=3, limits=RunLimits(trials=state.trials + 1)
        )
        for event in events:
            run.fold(event)
        reserved = [run_actions.trials_reserved(run)]
        (name,) = [n for n, island in run.state.islands.items() if island.slice.name == slice_]
        run.fold(se.IslandsPaused((name,), "p1"))
        return [*reserved, run_actions.trials_reserved(run)]

    assert run_virtual(main()) == [True, False]


def test_the_fold_of_a_check_equals_a_second_fold(tmp_path, climbed):
    """A second fold of the ledger has the same checks and the same new claims."""
    branches, before = climbed
    run = run_stack_check(tmp_path, branches, MemoryLedger(before))
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.stacks.judged == run.state.stacks.judged
    assert fresh.stacks.claimed == []
    assert fresh.stacks.open is None
    assert fresh.stacks.spent == run.state.stacks.spent


def test_a_quarantined_change_is_not_stacked(climbed):
    """A quarantined commit's change is no longer claimed."""
    state = State()
    state.apply_all(list(climbed[1]))
    stacks, (first, *rest) = state.stacks, state.stacks.parts()
    commit = stacks.kept[first].commit
    stacks.apply(ev.CommitQuarantined("t1", commit, (commit,), (), "no reason"))
    assert stacks.parts() == tuple(rest)
    assert first not in {claim.experiment for claim in stacks.claimed}


def test_an_arm_that_breaks_names_the_parts_that_broke_it(tmp_path, climbed):
    """Two islands' parts that crash together are among the culprits, and do not both stay."""
    branches, before = climbed
    state, ledger = State(), MemoryLedger(before)
    state.apply_all(list(before))
    kept = state.stacks.kept
    first, *rest = sorted(state.stacks.parts(), key=lambda part: -kept[part].gain.mean)
    other = next(part for part in rest if kept[part].island != kept[first].island)
    bad, run_now = {first, other}, []

    class Breaks(LabExecutor):
        async def run(self, trial):
            outcome = await super().run(trial)
            made = run_now[0].state.stacks.open.made
            parts = next((p for p, commit in made.items() if commit == trial.commit), frozenset())
            if bad <= parts:
                return replace(outcome, score=None, failure=Failure("crash", "boom"))
            return outcome

    async def main():
        run = make_run(
            tmp_path, ledger=ledger, branches=branches, executor=Breaks(branches), islands=3,
            limits=RunLimits(),
        )  # fmt: skip
        run_now.append(run)

        async def begin():
            run_actions.start_stack_check(run, run.state.stacks.parts())

        await run_steps_only(run, next_of_stack, begin)
        return run

    run = run_virtual(main())
    (judged,) = events_of(run, ev.StackCheckEnded)
    assert judged.verdict == "antagonistic"
    assert tuple(sorted(bad)) in judged.culprits
    assert not bad <= set(judged.parts)
    assert judged.parts
