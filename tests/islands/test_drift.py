"""Sentinels: drift is told from noise, a drifting slice is quarantined, its trials are void."""

import json
import random
from dataclasses import replace
from statistics import fmean

import duckdb
import git
import pytest
from click.testing import CliRunner

from analysis.database.projection import schema
from analysis.database.projection.graph_rows import load_graph
from analysis.database.projection.project import project
from analysis.lineage import fold
from harness.contract import Failure, Outcome, SetupError
from islands import events as ev
from islands.drift.anchor_spread import EXACT_REPEATS, MIN_SPREAD_FREEDOM
from islands.drift.level_change import DRIFT_WIDTH_SDS, bayes_factor
from islands.drift.sentinels import MAX_REPEATS, NOT_COUNTED, Sentinels
from islands.ratchet.noise import Noise
from islands.ratchet.policy import RatchetPolicy
from islands.state.run_state import State
from swarm.cli.status import status
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.disturbances import Drift
from swarm.simulation.metrics import tally
from swarm.simulation.mixtures import HARSH
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.virtual_time import run_virtual
from swarm.simulation.world import Conditions
from tests.support.chain import chained
from tests.support.laboratory import LabExecutor, MemoryBranches, MemoryLedger, make_run

RATCHET = RatchetPolicy(sentinel_every=10)


class Drifting(LabExecutor):
    """Slices whose scores shift: `shifts` maps a slice to (trials begun until then, shift)s."""

    def __init__(self, branches, shifts):
        super().__init__(branches)
        self.shifts = shifts

    async def run(self, trial):
        begun = len(self.trials) + len(self.running)
        outcome = await super().run(trial)
        passed = [by for after, by in self.shifts.get(trial.slice.name, ()) if begun >= after]
        own = random.Random(f"{trial.id}/{trial.slice.name}").gauss(0, 0.002)
        if outcome.score is None:
            return outcome
        return replace(outcome, score=outcome.score + own + (passed[-1] if passed else 0.0))


def simulate(tmp_path, shifts=None, branches=None, **parts):
    """Conduct one laboratory run whose slices drift, on virtual time, and return it."""
    branches = branches or MemoryBranches()
    executor = Drifting(branches, shifts or {})

    async def main():
        run = make_run(
            tmp_path, branches=branches, executor=executor, **{"ratchet": RATCHET, **parts}
        )
        await run_islands(run)
        return run

    return run_virtual(main())


def events_of(run, kind):
    """Return the events of one kind that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


def feed(sentinels, name, scores, pair=1.0):
    """Let slice `name` score the anchor, None where it fails; stop at an alarm."""
    noise = Noise(pair / 2**0.5, 1000)
    for score in scores:
        trial = f"t{sentinels._started + 1}"
        begun = ev.TrialStarted(trial, 0, "i", *sentinels.anchor[:1], "sentinel", 0, 0, name)
        sentinels.apply(begun, lambda: noise)
        failure = Failure("timeout", "late") if score is None else None
        ended = ev.TrialEnded(
            begun, Outcome(trial, "h", "namespaces", score=score, failure=failure)
        )
        sentinels.apply(ended, lambda: noise)
        if sentinels.next_event() is not None:
            return sentinels.next_event()
    return None


def end_trial(sentinels, begun):
    """Let a trial that is no sentinel of its slice end, with a score of 0."""
    score = Outcome(begun.trial, "h", "namespaces", score=0.0)
    sentinels.apply(ev.TrialEnded(begun, score), lambda: Noise(0.7, 1000))


def test_the_factor_is_that_of_its_formula_and_knows_no_unit():
    """Nothing but the ratio of shift to spread matters; equal scores say nothing."""
    own, others = [1.0, 1.2, 0.9, 3.0, 3.1], [[5.0, 5.2], [7.0, 6.9, 7.1]]
    once = bayes_factor(own, 3, others)
    assert once > 10
    assert bayes_factor(own, 1, others) < 1
    scaled = [[4 + 100 * x for x in scores] for scores in (own, *others)]
    assert bayes_factor(scaled[0], 3, scaled[1:]) == pytest.approx(once)
    assert bayes_factor([2.0] * 4, 2, [[1.0, 1.0]]) == 1.0


def test_the_factor_is_a_ratio_of_likelihoods_whatever_level_and_scale():
    """Its mean below a cut, over draws of noise alone, is the chance of the cut where it drifts."""
    draw, cut = random.Random(3).gauss, 5.0

    def value(drift):
        own = [draw(5, 2) for _ in range(3)] + [draw(5, 2) + drift for _ in range(2)]
        return bayes_factor(own, 3, [[draw(1, 2) for _ in range(4)]])

    still = [value(0.0) for _ in range(20_000)]
    moved = [value(draw(0, DRIFT_WIDTH_SDS * 2)) for _ in range(20_000)]
    kept = fmean(factor if factor < cut else 0.0 for factor in still)
    assert kept == pytest.approx(fmean(factor < cut for factor in moved), abs=0.02)


def test_noise_alone_seldom_quarantines_a_slice():
    """Over 120 runs of 4 slices and 20 sentinels each, of all sizes of noise: at most 5 %."""
    alarms = 0
    for seed in range(120):
        sentinels, draw = Sentinels(), random.Random(seed).gauss
        spread = (0.05, 0.2, 0.5, 1.0)[seed % 4]
        rounds = [(f"s{n % 4}", draw(0, spread)) for n in range(80)]
        alarms += any(feed(sentinels, name, [score]) for name, score in rounds)
    assert alarms <= 6


@pytest.mark.parametrize("shift", [1.3, -1.3, 8.0])
def test_a_drift_is_found_within_a_few_sentinels(shift):
    """9 % slower is 1.3 of sigma between seeds, where repeats of one seed have 0.22."""
    alarms = []
    for seed in range(50):
        sentinels, draw = Sentinels(), random.Random(seed).gauss
        for name in ("s0", "s1"):
            assert feed(sentinels, name, [draw(0, 0.22) for _ in range(3)]) is None
        alarm = feed(sentinels, "s0", [shift + draw(0, 0.22) for _ in range(MAX_REPEATS)])
        alarms.append(alarm is not None and alarm.slice == "s0")
    assert fmean(alarms) > 0.9


def test_a_shift_that_does_not_matter_is_left_alone():
    """However certain: less than half of a pair's noise."""
    sentinels = Sentinels()
    assert feed(sentinels, "s0", [0.0, 0.001] * 5 + [0.4, 0.401] * 10) is None


def test_a_slice_on_which_the_base_keeps_failing_is_quarantined():
    """Three failed sentinels in a row raise the alarm, two do not."""
    sentinels = Sentinels()
    assert feed(sentinels, "s0", [1.0, None, None, 1.0]) is None
    assert "failed there 3 times" in feed(sentinels, "s0", [None, None, None]).reason


def test_slices_that_certainly_differ_are_corrected_for():
    """By their sentinels' means, once these are known well enough; never for noise."""
    sentinels, draw = Sentinels(), random.Random(1).gauss
    feed(sentinels, "fast", [0.0])
    feed(sentinels, "slow", [1.5])
    feed(sentinels, "like", [0.1])
    epochs = {name: sentinels.current_epoch(name) for name in ("fast", "slow", "like")}
    assert (
        sentinels.level_difference(epochs["slow"], epochs["fast"], 1.0) == 0.0
    )  # might be the anchor's luck
    for _ in range(3):
        feed(sentinels, "fast", [draw(0.0, 0.1)])
        feed(sentinels, "slow", [draw(1.5, 0.1)])
        feed(sentinels, "like", [draw(0.1, 0.1)])
    assert sentinels.level_difference(epochs["slow"], epochs["fast"], 1.0) == pytest.approx(
        1.5, abs=0.2
    )
    assert sentinels.level_difference(epochs["like"], epochs["fast"], 1.0) == 0.0


def test_every_slice_runs_the_anchor_at_launch_and_now_and_then(tmp_path):
    """One and the same commit and seed; as often as asked for and before keeps, and no more."""
    run = simulate(tmp_path, limits=RunLimits(trials=200))
    started = events_of(run, ev.TrialStarted)
    sentinels = [t for t in started if t.purpose == "sentinel" and not t.experiment]
    assert {(t.commit, t.seed) for t in sentinels} == {
        ("base", run.state.scores.baseline_seeds()[0])
    }
    own = [t.purpose for t in started if t.slice == "s1" and t.purpose != "baseline"]
    assert own[0] == "sentinel"
    keeps = sum(len(island.kept) for island in run.state.islands.values())
    assert 200 / 10 - 6 <= len(sentinels) <= 200 / 10 + 2 * keeps + 4
    assert not events_of(run, ev.SliceQuarantined)
    none = simulate(tmp_path, ratchet=RatchetPolicy(), limits=RunLimits(trials=60))
    began = events_of(none, ev.TrialStarted)
    assert not [t for t in began if t.purpose == "sentinel" and not t.experiment]


def test_no_verdict_on_pairs_waits_for_a_sentinel(tmp_path):
    """Each comes right after the last trial of its pairs, which follow each other."""
    run = simulate(tmp_path, limits=RunLimits(trials=200))
    latest, keeps = "", 0
    for event in run.ledger.kept:
        if isinstance(event, ev.TrialStarted) and event.island == "i0":
            latest = event.purpose
        if isinstance(event, ev.VerdictReached) and event.island == "i0":
            keeps += event.verdict == "keep"
            assert latest in ("screen", "confirm")
    assert keeps > 1


def test_many_strange_sentinels_are_an_alarm_and_no_new_level():
    """Though they agree on no other."""
    sentinels = Sentinels()
    assert feed(sentinels, "s0", [0.0, 0.01, -0.01, 0.02]) is None
    alarm = feed(sentinels, "s0", [5.0, -5.0] * (MAX_REPEATS // 2))
    assert alarm.slice == "s0"
    assert "off by up to 5" in alarm.reason


def test_where_the_anchor_repeats_exactly_sentinels_are_rarer():
    """Until it scores otherwise once."""
    sentinels = Sentinels()
    feed(sentinels, "s0", [0.5] * EXACT_REPEATS)
    assert not sentinels.exact
    feed(sentinels, "s0", [0.5])
    assert sentinels.exact
    sentinels.slices["s0"].count_since = 10
    assert not sentinels.check_due("s0", 10, 1.0)
    feed(sentinels, "s0", [0.6])
    sentinels.slices["s0"].count_since = 10
    assert sentinels.check_due("s0", 10, 1.0)


def test_unlike_slices_repeat_the_anchor_until_their_difference_is_certain():
    """At once, and in turn; slices that are alike do not."""
    unlike, alike = Sentinels(), Sentinels()
    for name, score in (("s0", 0.0), ("s1", 1.3)):
        feed(alike, name, [score / 10])
        feed(unlike, name, [score])
    assert not any(alike.check_due(name, 25, 1.0) for name in ("s0", "s1"))
    assert unlike.level_difference(("s1", 0), ("s0", 0), 1.0) == 0.0
    repeats = []
    while due := [name for name in ("s0", "s1") if unlike.check_due(name, 25, 1.0)]:
        feed(unlike, due[0], [unlike.slices[due[0]].level[0] + 0.1])
        repeats.append(due[0])
    assert repeats == ["s0", "s1"] * 2
    assert unlike.level_difference(("s1", 0), ("s0", 0), 1.0) == pytest.approx(1.3)


def test_a_slice_whose_first_anchor_was_off_is_not_repeated_for_long():
    """Of two slices that differ one has drifted, or was off once: four repeats tell, or none do."""
    sentinels = Sentinels()
    feed(sentinels, "s0", [0.0])
    feed(sentinels, "s1", [2.4])
    repeats = 0
    while due := [name for name in ("s0", "s1") if sentinels.check_due(name, 25, 1.0)]:
        feed(sentinels, due[0], [0.05 * repeats])
        repeats += 1
    assert repeats == MIN_SPREAD_FREEDOM
    assert sentinels.suspicious("s1")
    assert not sentinels.quarantine_reason("s1")


def test_a_slice_that_has_settled_by_the_alarm_is_released_at_once():
    """The sentinels that show the drift show the level where it stays; one more could not."""
    sentinels = Sentinels()
    feed(sentinels, "s0", [0.0, 0.3, -0.3, 0.2, -0.1, 2.0, 2.2, 1.9, 2.1, 2.0])
    alarm = sentinels.next_event()
    assert isinstance(alarm, ev.SliceQuarantined)
    sentinels.apply(alarm, lambda: Noise(0.7, 1000))
    release = sentinels.next_event()
    assert release == ev.SliceReleased("s0", "it measures steadily, at another level", shifted=True)
    sentinels.apply(release, lambda: Noise(0.7, 1000))
    assert sentinels.next_event() is None
    assert fmean(sentinels.slices["s0"].level) == pytest.approx(2.0, abs=0.1)


def test_a_slice_where_the_base_fails_is_not_released_by_earlier_sentinels():
    """They agree on a level, at which the base does not run now."""
    sentinels = Sentinels()
    feed(sentinels, "s0", [0.0, 0.3, -0.3, 0.2, -0.1, 0.75, 0.75, 0.75, None, None, None])
    assert len(sentinels.slices["s0"].suspicious) == 3
    alarm = sentinels.next_event()
    assert isinstance(alarm, ev.SliceQuarantined)
    assert "failed there" in alarm.reason
    sentinels.apply(alarm, lambda: Noise(0.7, 1000))
    assert sentinels.next_event() is None


def run_heads(sentinels, name, count):
    """Let slice `name` run a head so many times beside screens."""
    for _ in range(count):
        begun = ev.TrialStarted(f"h{name}", 7, "i", "head", "sentinel", 1, 0, name)
        end_trial(sentinels, begun)


def test_repeated_sentinels_take_few_of_a_slices_trials():
    """A share of all but the first, heads that run again among them."""
    sentinels = Sentinels()
    feed(sentinels, "s0", [0.0, 0.8])
    assert not sentinels.must_check("s0")
    run_heads(sentinels, "s0", NOT_COUNTED + 10)
    feed(sentinels, "s0", [0.8])
    assert not sentinels.must_check("s0")
    run_heads(sentinels, "s0", 8)
    assert sentinels.must_check("s0")
    feed(sentinels, "s0", [0.8])
    assert not sentinels.must_check("s0")


def test_a_head_that_runs_again_answers_a_sentinel_that_is_off():
    """One is asked for after each such sentinel."""
    sentinels = Sentinels()
    feed(sentinels, "s0", [0.0, 0.8])
    assert sentinels.suspicious("s0")
    assert not sentinels.suspicious("s1")
    sentinels.answer("s0")
    assert not sentinels.suspicious("s0")
    feed(sentinels, "s0", [0.9])
    assert sentinels.suspicious("s0")


def test_a_sentinel_that_is_off_is_due_again_after_an_interval():
    """Where its repeats are used up, it is not repeated before each experiment."""
    sentinels = Sentinels()
    feed(sentinels, "s0", [0.0, 0.8, 0.9, 0.8])
    for number in range(10):
        assert not sentinels.check_due("s0", 10, 1.0)
        end_trial(sentinels, ev.TrialStarted(f"s{number}", 0, "i", "head", "baseline", 1, 0, "s0"))
    assert sentinels.check_due("s0", 10, 1.0)
    feed(sentinels, "s0", [0.8])
    assert sentinels.suspicious("s0")
    assert not sentinels.check_due("s0", 10, 1.0)


def test_trials_of_a_drifting_slice_are_void(tmp_path):
    """Its trials and discards are voided and its island moves to another slice.

    So small a drift shows in sentinels first.
    """
    run = simulate(tmp_path, {"s0": [(92, 0.015)]}, limits=RunLimits(trials=200))
    (alarm,) = events_of(run, ev.SliceQuarantined)
    assert alarm.slice == "s0"
    assert "moved by +0.0" in alarm.reason
    void = {trial.trial for trial in alarm.trials}
    ended = [
        e.started.trial
        for e in run.ledger.kept[: run.ledger.kept.index(alarm)]
        if e.kind == "trial_ended"
    ]
    assert void <= set(ended)
    assert {trial.slice for trial in alarm.trials} == {"s0"}
    number = {t.trial: n for n, t in enumerate(events_of(run, ev.TrialStarted))}
    assert min(number[trial] for trial in void) > number[alarm.good] > 20
    moved = events_of(run, ev.IslandReassigned)[0]
    assert (moved.island, moved.slice.name) == ("i0", "s1")
    assert run.state.islands["i0"].endings.get("void", 0) == len(alarm.discards) > 0
    after = run.ledger.kept[run.ledger.kept.index(moved) :]
    back = next(n for n, event in enumerate(after) if isinstance(event, ev.SliceReleased))
    begun = [t for t in after[:back] if isinstance(t, ev.TrialStarted)]
    assert {t.slice for t in begun if t.purpose != "sentinel"} == {"s1"}
    shown = {e.experiment for i in run.state.islands.values() for e in i.recent_attempts}
    assert shown
    assert not shown & {discard.experiment for discard in alarm.discards}


@pytest.mark.parametrize("shift", [0.05, pytest.param(-0.05, marks=pytest.mark.soak), 0.5])
def test_no_keep_states_a_drift_as_a_gain(tmp_path, shift):
    """At most one pair of a kept change lies on both sides of a drift."""
    for onset in range(60, 84, 16):
        run = simulate(tmp_path, {"s0": [(onset, shift)]}, islands=1, limits=RunLimits(trials=160))
        sides, kept = {}, []
        for event in run.ledger.kept:
            match event:
                case ev.TrialStarted() if event.purpose == "confirm":
                    late = int(event.trial[1:]) > onset
                    pair = sides.setdefault(event.experiment, {}).setdefault(event.seed, set())
                    pair.add(late)
                case ev.VerdictReached() if event.verdict == "keep":
                    kept.append((sides[event.experiment], event.gain.mean))
        assert kept
        assert all(sum(len(pair) > 1 for pair in pairs.values()) <= 1 for pairs, _ in kept)
        assert abs(shift) < 0.5 or all(gain < 0.25 for _, gain in kept)


def test_a_slice_that_recovers_is_released_and_its_island_returns(tmp_path):
    """A later sentinel finds the level that it had before."""
    shifts = {"s0": [(92, 0.015), (128, 0.0)]}
    run = simulate(tmp_path, shifts, limits=RunLimits(trials=260))
    (back,) = events_of(run, ev.SliceReleased)
    assert not back.shifted
    assert [move.slice.name for move in events_of(run, ev.IslandReassigned)] == ["s1", "s0"]
    assert run.state.islands["i0"].slice == run.state.islands["i0"].home


def test_the_only_slice_is_released_at_another_level(tmp_path):
    """Three sentinels that agree are enough: gains are paired."""
    run = simulate(tmp_path, {"s0": [(92, 0.015)]}, islands=1, limits=RunLimits(trials=200))
    (back,) = events_of(run, ev.SliceReleased)
    assert back.shifted
    assert run.state.trials == 200
    assert not events_of(run, ev.IslandReassigned)


def test_a_run_whose_last_slice_does_not_settle_stops_with_the_reason(tmp_path):
    """A later launch runs its sentinel again."""
    shifts = {"s0": [(60 + n, 0.05 * n) for n in range(400)]}
    branches, ledger = MemoryBranches(), MemoryLedger()
    with pytest.raises(SetupError, match="no slice measures steadily: s0: its"):
        simulate(tmp_path, shifts, branches, islands=1, ledger=ledger, limits=RunLimits(trials=160))
    assert isinstance(ledger.kept[-1], ev.RunStopped)
    run = simulate(tmp_path, {}, branches, islands=1, ledger=ledger, limits=RunLimits(trials=160))
    assert run.state.trials == 160
    assert len(events_of(run, ev.SliceReleased)) == 1


def test_islands_of_a_launch_with_other_slices_move_permanently(tmp_path):
    """Trials run on the slices that the ledger records."""
    run = simulate(tmp_path, limits=RunLimits(trials=30))
    ledger = MemoryLedger(run.ledger.kept)

    async def main():
        again = make_run(
            tmp_path, ledger=ledger, branches=run.branches, limits=RunLimits(trials=60)
        )
        plans = again.launch.islands
        swapped = [
            replace(one, slice=other.slice) for one, other in zip(plans, plans[::-1], strict=True)
        ]
        again.launch = replace(again.launch, islands=tuple(swapped))
        await run_islands(again)
        return again

    again = run_virtual(main())
    assert [m.permanent for m in events_of(again, ev.IslandReassigned)] == [True, True]
    assert again.state.islands["i0"].home.name == "s1"
    later = [t for t in events_of(again, ev.TrialStarted)[30:] if t.island == "i0"]
    assert {t.slice for t in later} == {"s1"}


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.soak) for part in range(1, 8))]
)
def test_a_run_cut_anywhere_around_an_alarm_resumes_consistently(tmp_path, part):
    """From any prefix of its ledger: the fold agrees, heads and branches too."""
    shifts = {"s0": [(60, 0.05), (100, 0.0)]}
    whole = simulate(tmp_path, shifts, limits=RunLimits(trials=200))
    kept = whole.ledger.kept
    alarm = next(n for n, event in enumerate(kept) if isinstance(event, ev.SliceQuarantined))
    for cut in [*range(alarm - 4, alarm + 8), *range(20, len(kept), 97)][part::8]:
        branches = MemoryBranches()
        branches.commits, branches.held = dict(whole.branches.commits), dict(whole.branches.held)
        ledger = MemoryLedger(kept[:cut])
        run = simulate(tmp_path, shifts, branches, ledger=ledger, limits=RunLimits(trials=200))
        fresh = State()
        fresh.apply_all(run.ledger.kept)
        assert fresh.islands == run.state.islands
        assert fresh.scores.by_commit == run.state.scores.by_commit
        assert run.state.trials == 200
        for name, island in run.state.islands.items():
            assert branches.heads[name] == island.head


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A run whose slice s0 is quarantined, and released."""
    shifts = {"s0": [(60, 0.05), (100, 0.0)]}
    return simulate(tmp_path_factory.mktemp("run"), shifts, limits=RunLimits(trials=200))


def test_the_record_follows_event_by_event(released):
    """Projected at once or one by one, the lineage is the fold's; counts are the state's."""
    run = released
    history = run.ledger.kept
    assert {type(event) for event in history} >= {
        ev.SliceQuarantined,
        ev.SliceReleased,
        ev.IslandReassigned,
    }
    graph = fold(history)
    for step in (len(history), 61):
        con = duckdb.connect()
        schema.create(con)
        for at in range(0, len(history), step):
            project(con, history[at : at + step])
        loaded = load_graph(con)
        assert dict(loaded.nodes(data=True)) == dict(graph.nodes(data=True))
        counts = con.execute("SELECT island, trials, discarded FROM standings").fetchall()
        assert len(counts) == len(run.state.islands)
        for name, trials, discarded in counts:
            island = run.state.islands[name]
            assert (trials, discarded) == (island.trials, island.endings["discarded"])
            assert graph.nodes[island.head]["score"] == pytest.approx(
                run.state.scores.mean(island.head)
            )
        rows = con.execute(
            "SELECT slice, action FROM slice_quarantines ORDER BY recorded"
        ).fetchall()
        assert rows == [("s0", "quarantined"), ("s0", "released")]
        slices = con.execute("SELECT slice, scores FROM sentinels").fetchall()
        assert [name for name, _ in slices] == ["s0", "s1"]
    assert graph.nodes["base"]["score"] == pytest.approx(run.state.scores.mean("base"))


def test_status_names_the_quarantined_slices(released, tmp_path, monkeypatch):
    """With the reason, until they are back; as JSON too."""
    run = released
    back = next(n for n, e in enumerate(run.ledger.kept) if isinstance(e, ev.SliceReleased))
    git.Repo.init(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, until, quarantined in (("run1", back, ["s0"]), ("run2", back + 1, [])):
        folder = tmp_path / ".swarm" / name
        folder.mkdir(parents=True)
        (folder / "ledger.jsonl").write_bytes(chained(map(ev.encode, run.ledger.kept[:until])))
        result = CliRunner().invoke(status, ["--run", name, "--json"], catch_exceptions=False)
        assert [
            row["slice"] for row in json.loads(result.output)["slice_quarantines"]
        ] == quarantined
        text = CliRunner().invoke(status, ["--run", name], catch_exceptions=False).output
        assert ("slice s0 is quarantined: its sentinels moved" in text) == bool(quarantined)


def test_a_slice_that_slows_by_nine_percent_is_found_and_no_other_is_blamed():
    """Half-way, by 1.3 sigma: found in most runs; a seed always gives the same ledger."""
    conditions = Conditions(HARSH, drift=Drift(1.3))
    plan = RunPlan(RatchetPolicy(sentinel_every=40), islands=2, trials=200)
    nights = [simulate_run(conditions, plan, seed) for seed in range(4)]
    runs = [tally(night) for night in nights]
    assert sum(run.alarms > 0 for run in runs) >= 3
    assert sum(run.false_alarms for run in runs) == 0
    assert sum(run.false_keeps for run in runs) <= 3
    again = simulate_run(conditions, plan, 1)
    assert [*map(ev.encode, again.events)] == [*map(ev.encode, nights[1].events)]
