"""Migration: topologies, the choice and timing of migrants, and its rules in simulated runs."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import SetupError, Slice
from islands import events as ev
from islands.migration import MAX_NEAR_MISSES, REST_INTERVALS, Migrants, Migration, sources
from islands.ratchet.policy import RatchetPolicy
from islands.records import Gain, Migrant
from islands.rng import seed_of
from swarm.project.program import read_program
from swarm.simulation.metrics import tally
from swarm.simulation.mixtures import HARSH
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.study import StudyCell, study
from swarm.simulation.world import Conditions
from tests.support.laboratory import opening

TOPOLOGIES = ("ring", "star", "complete", "random")

# topologies


@given(st.sampled_from(("none", *TOPOLOGIES)), st.integers(1, 12), st.integers(0, 10**9))
def test_sources_follow_the_topology(topology, count, draw):
    """Never the island itself; one in a ring or at random; in a star all, for the first only."""
    names = [f"i{number}" for number in range(count)]
    by_island = {name: sources(topology, names, name, draw) for name in names}
    for name, others in by_island.items():
        assert set(others) <= set(names) - {name}
        assert len(set(others)) == len(others)
    expected = {"none": 0, "ring": 1, "random": 1, "complete": count - 1}.get(topology)
    if topology == "star":
        assert [len(others) for others in by_island.values()] == [count - 1] + [0] * (count - 1)
    else:
        assert {len(others) for others in by_island.values()} == {min(expected, count - 1)}


@given(st.integers(2, 12))
def test_a_ring_visits_all_and_random_draws_every_other_island(count):
    """Following the ring passes each island once; enough draws yield every other island."""
    names = [f"i{number}" for number in range(count)]
    at, seen = names[0], []
    for _ in names:
        (at,) = sources("ring", names, at, 0)
        seen.append(at)
    assert sorted(seen) == sorted(names)
    drawn = {sources("random", names, "i0", draw)[0] for draw in range(count)}
    assert drawn == set(names[1:])


def test_an_unknown_island_raises():
    """A ValueError names it, since the caller is wrong."""
    with pytest.raises(ValueError, match="is not in"):
        sources("ring", ["a", "b"], "c", 0)


# choice and timing


def fold_of(*events):
    """Return the fold of `events`."""
    fold = Migrants()
    for event in events:
        fold.apply(event)
    return fold


def islands(*names):
    """Return the events that open a run of islands."""
    slice_ = Slice("s", "cpu")
    opened = [ev.IslandOpened(name, name, "base", "lab", slice_) for name in names]
    return [ev.RunOpened(**{f: getattr(opening(), f) for f in opening().__slots__}), *opened]


def admitted(island, number):
    """Return the event that a proposal became a commit."""
    return ev.CandidateAdmitted(number, island, f"c{number}", "base", 1, 1)


def change(island, number, gain=0.1, origin=0):
    """Return a change that an island measured."""
    made = (island, "base", f"c{number}", f"change {number}")
    return Migrant(number, origin or number, *made, Gain(gain, 0.01, 2))


def judge(fold, island, number, gain=0.1, reason="gain"):
    """Let an island try a change of its own, which is kept unless there is a `reason`."""
    ending = "kept" if reason == "gain" else "discarded"
    fold.apply(admitted(island, number))
    fold.experiment_ended(number, ending, reason, change(island, number, gain))


def take(fold, island, number, migration):
    """Let an island take and keep the migrant that it is offered, if any; return it."""
    migrant = fold.next_migrant(island, migration)
    if migrant is not None:
        fold.apply(ev.MigrantOffered(number, island, "base", migrant))
        own = replace(migrant, experiment=number, island=island, commit=f"c{number}")
        fold.experiment_ended(number, "kept", "gain", own)
    return migrant


ALL = Migration("complete", every=1)


def test_the_largest_gain_goes_first_and_near_misses_go_last():
    """A near miss migrates once no keep is left; a change without a gain never does."""
    fold = fold_of(*islands("a", "b"))
    judge(fold, "a", 1, 0.9, "near miss: +0.9")
    judge(fold, "a", 2, -0.1, "near miss: -0.1")
    judge(fold, "a", 3, 0.2, "no gain on 2 fresh seeds")
    judge(fold, "a", 4, 0.1)
    judge(fold, "a", 5, 0.3)
    taken = []
    for number in range(10, 20, 2):
        migrant = take(fold, "b", number, ALL)
        taken.append(migrant.experiment if migrant else None)
        judge(fold, "b", number + 1, 0.0, "screened")
        judge(fold, "b", number + 100, 0.0, "screened")
    assert taken == [5, 4, 1, None, None]


def test_near_misses_are_forgotten_and_keeps_never():
    """Only the latest near misses may migrate."""
    fold = fold_of(*islands("a", "b"))
    for number in range(1, MAX_NEAR_MISSES + 4):
        judge(fold, "a", number, 1.0 / number, "near miss")
    assert fold.next_migrant("b", ALL).experiment == 4


def test_the_island_that_stagnated_longest_comes_first():
    """If one island may take a migrant in an interval, the others wait."""
    fold, migration = fold_of(*islands("a", "b", "c")), Migration("complete", every=100, rate=0.1)
    judge(fold, "a", 1)
    for number in (2, 3):
        judge(fold, "c", number, 0.0, "screened")
    judge(fold, "b", 4, 0.0, "screened")
    assert fold.next_migrant("b", migration) is None
    assert take(fold, "c", 10, migration).experiment == 1
    assert fold.next_migrant("b", migration) is None  # one in this interval was enough


def test_a_change_is_never_offered_twice_in_any_form():
    """Neither an island's own change, nor a copy of it that returns, nor one that failed there."""
    fold = fold_of(*islands("a", "b", "c"))
    judge(fold, "a", 1)
    assert take(fold, "b", 2, ALL).experiment == 1
    assert fold.has_met("b", 1)
    assert fold.next_migrant("a", ALL) is None
    migrant = take(fold, "c", 3, Migration("ring", every=1))
    assert (migrant.experiment, migrant.origin, migrant.island) == (2, 1, "b")
    for number in range(10, 40):
        judge(fold, "b", number, 0.0, "screened")
        assert all(fold.next_migrant(island, ALL) is None for island in "abc")


def test_a_pair_does_not_exchange_in_both_directions_at_once():
    """After a to b, b's changes do not reach a in that interval and the next."""
    fold = fold_of(*islands("a", "b"))
    judge(fold, "a", 1)
    assert take(fold, "b", 2, ALL) is not None
    judge(fold, "b", 3)
    waited = 0
    while fold.next_migrant("a", ALL) is None:
        judge(fold, "b", 100 + waited, 0.0, "screened")
        waited += 1
    assert waited > REST_INTERVALS * 2 - 1  # two candidates make an interval of two islands
    assert fold.next_migrant("a", ALL).experiment == 3


def test_without_a_topology_nothing_migrates():
    """With topology none nothing is offered, whatever was kept."""
    fold = fold_of(*islands("a", "b"))
    judge(fold, "a", 1)
    assert fold.next_migrant("b", Migration("none")) is None


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_simulated_run_keeps_all_rules_of_migration(topology):
    """Interval, rate, rest, topology and origins, counted from the ledger by other means."""
    migration = Migration(topology, every=2, rate=0.5)
    plan = RunPlan(RatchetPolicy(), 4, 300, migration=migration)
    one = simulate_run(Conditions(HARSH, sigma=0.25), plan, 3)
    names, met, went, takers = [], {}, {}, Counter()
    own, offered, origins = 0, 0, {}
    for event in one.events:
        interval = own // (2 * 4)
        match event:
            case ev.IslandOpened():
                names.append(event.island)
                met[event.island] = set()
            case ev.ProposalReceived():
                origins[event.experiment] = event.experiment
            case ev.MigrantOffered():
                migrant, offered = event.migrant, offered + 1
                origins[event.experiment] = migrant.origin
                assert migrant.origin == origins[migrant.experiment]
                assert migrant.island in sources("complete", names, event.island, 0)
                if topology in {"ring", "star"}:
                    assert migrant.island in sources(topology, names, event.island, 0)
                assert migrant.origin not in met[event.island]
                met[event.island].add(migrant.origin)
                takers[interval, event.island] += 1
                back = went.get((event.island, migrant.island), -REST_INTERVALS - 1)
                assert interval - back > REST_INTERVALS
                went[migrant.island, event.island] = interval
            case ev.CandidateAdmitted() if origins[event.experiment] == event.experiment:
                own += 1
            case ev.VerdictReached() if event.verdict == "keep":
                met[event.island].add(origins[event.experiment])
    assert offered > 5
    assert set(takers.values()) == {1}
    assert max(Counter(interval for interval, _ in takers).values()) <= 2


def test_two_runs_of_one_seed_migrate_alike():
    """Their ledgers are equal byte for byte."""
    plan = RunPlan(RatchetPolicy(), 3, 120, migration=Migration("random", every=2))
    one, two = (simulate_run(Conditions(HARSH, sigma=0.5), plan, 5) for _ in range(2))
    assert [ev.encode(event) for event in one.events] == [ev.encode(event) for event in two.events]
    assert any(isinstance(event, ev.MigrantOffered) for event in one.events)


def test_the_prior_of_proposals_ignores_migrants():
    """It is learnt from the screens of the run's own proposals alone."""
    plan = RunPlan(RatchetPolicy(null_rate=0.0), 3, 200, migration=Migration("complete"))
    one = simulate_run(Conditions(HARSH, sigma=0.25), plan, 2)
    brought = {e.experiment for e in one.events if isinstance(e, ev.MigrantOffered)}
    ended = [e.started for e in one.events if isinstance(e, ev.TrialEnded)]
    scored = {
        e.started.trial
        for e in one.events
        if isinstance(e, ev.TrialEnded) and not e.outcome.failure
    }
    own = [t for t in ended if t.purpose == "screen" and t.experiment not in brought]
    assert len(one.state.screens) == sum(t.trial in scored for t in own)
    assert brought


def test_a_change_that_migrated_is_one_part_of_a_stack():
    """However many islands keep it, the stack has it once, as the first island kept it."""
    plan = RunPlan(RatchetPolicy(null_rate=0.0), 3, 200, migration=Migration("complete"))
    one = simulate_run(Conditions(HARSH, sigma=0.25), plan, 2)
    origins = Counter(change.origin for change in one.state.keeps.values())
    claims = one.state.stacks.kept
    assert max(origins.values()) > 1
    assert len(claims) == len(origins)
    for claim in claims.values():
        assert claim.beside < set(claims)


def test_separate_runs_report_the_best_claim_and_count_all_trials():
    """They divide the trials, are independent, and the largest claim is the result."""
    plan = RunPlan(RatchetPolicy(), 1, 120, runs=3)
    cell = StudyCell("r", "harsh", Conditions(HARSH, sigma=0.25), plan)
    (result,) = study([cell], 1, 7, 1, lambda: None)
    seed = seed_of(7, "night", 0)
    single = replace(plan, trials=40, runs=1)
    runs = [tally(simulate_run(cell.conditions, single, seed_of(seed, "run", k))) for k in range(3)]
    assert result.claimed.mean == max(run.claimed for run in runs)
    assert result.trials.mean == sum(run.trials for run in runs) == 120
    assert result.keeps.mean == sum(run.keeps for run in runs)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{topology: rings}", "4: migration.topology must be none, ring, star, complete or random"),
        ("{every: 0}", "4: migration.every must be a whole number from 1"),
        ("{rate: 0}", "4: migration.rate must be a share above 0, 1 at most"),
        ("{rate: 1.5}", "4: migration.rate must be a share above 0, 1 at most"),
        ("{often: 3}", "4: migration.often is not a key"),
        ("ring", "4: migration must be settings"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(value, complaint):
    """The error names file, line, key and the valid values."""
    front = f"---\ntask: packing\ngenome: [genome/]\nmigration: {value}\n---\n\nPack.\n"
    with pytest.raises(SetupError) as refused:
        read_program(front, "program.md", None)
    assert str(refused.value).startswith(f"program.md:{complaint}")
