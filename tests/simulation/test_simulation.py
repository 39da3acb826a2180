"""`swarm simulate`: the truth and noise of its worlds, its runs, and their statistics."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations, pairwise
from math import isnan, pi
from pathlib import Path
from statistics import fmean, pvariance

import psutil
import pytest

from islands import events as ev
from islands.ratchet.policy import RatchetPolicy
from islands.rng import seed_of
from islands.state.run_state import State
from swarm.cli.console import to_json
from swarm.simulation.disturbances import Drift, Load, Spikes, Throttling, Trend, Wander
from swarm.simulation.intervals import mean_of, ratio_of, share_of
from swarm.simulation.metrics import RunTally, reported_result, tally
from swarm.simulation.mixtures import HARSH, MIXTURES, NULL, PUBLISHED, Mixture, MixturePart, unit
from swarm.simulation.plot import plot
from swarm.simulation.report import as_records
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.study import StudyCell, study, summarise
from swarm.simulation.world import BASE, INTERACTIONS, Conditions, Knobs, Sample, World
from tests.benchmarks.fit_mixture import Fit
from tests.support.target import command, environment, swarm

HERE = Path(__file__).parents[2]

STRONG = INTERACTIONS["strong"]


def world(mixture=HARSH, seed=3, **conditions):
    """Return a world."""
    return World(Conditions(mixture, **conditions), seed)


def sample(commit="c", seed=1, slice_="s1", count=0, progress=0.0):
    """Return where and when a commit is measured."""
    return Sample(commit, seed, slice_, count, progress)


def cell(mixture="harsh", trials=40, **conditions):
    """Return a small study cell of the product's rule."""
    return StudyCell(
        "r",
        mixture,
        Conditions(MIXTURES[mixture], **conditions),
        RunPlan(RatchetPolicy(), 2, trials),
    )


@pytest.mark.parametrize("mixture", [PUBLISHED, HARSH])
def test_half_of_the_gains_lie_above_the_median(mixture):
    """The unit that sigma is counted in is the median of the effects above zero."""
    assert mixture.above(mixture.median) == pytest.approx(mixture.above(0.0) / 2)
    assert sum(part.share for part in mixture.parts) == pytest.approx(1.0)
    drawn = list(map(World(Conditions(mixture), 5).effect, range(20_000)))
    gains = sorted(effect for effect in drawn if effect > 0)
    assert len(gains) / len(drawn) == pytest.approx(mixture.above(0.0), abs=0.01)
    assert gains[len(gains) // 2] == pytest.approx(mixture.median, rel=0.05)


def test_a_share_of_the_changes_does_nothing_and_a_share_breaks():
    """As many as the mixture says, to the accuracy that 20,000 draws allow."""
    lab = world()
    nothing = fmean(lab.effect(change) == 0.0 for change in range(20_000))
    assert nothing == pytest.approx(0.25, abs=0.01)
    assert fmean(map(lab.breaks, range(20_000))) == pytest.approx(HARSH.broken, abs=0.003)
    assert not any(map(world(NULL).breaks, range(100)))


def test_in_the_null_world_nothing_is_worth_anything():
    """Exactly, whatever the interactions: no proposal does anything that could interact."""
    lab = world(NULL, interactions=STRONG)
    assert lab.gain((), range(40)) == 0.0
    with pytest.raises(ValueError, match="better than nothing"):
        _ = NULL.median
    assert unit(NULL) == PUBLISHED.median


def test_without_interactions_effects_add_up():
    """A genome is worth the sum of its changes, a change what the genome loses without it."""
    lab = world()
    assert lab.gain((), (1, 2, 3)) == pytest.approx(sum(map(lab.effect, (1, 2, 3))))
    assert lab.gain((1, 3), (1, 2, 3)) == lab.effect(2)
    assert lab.gain((1, 2, 3), (1, 3)) == -lab.effect(2)


def test_with_interactions_gains_do_not_depend_on_the_path():
    """Gains along any path add up to the difference of the ends, in any order."""
    lab = world(interactions=STRONG)
    a, b, c = tuple(range(8)), (2, 9, 4, 11, 12), (20, 4, 1)
    assert lab.gain(a, b) + lab.gain(b, c) == pytest.approx(lab.gain(a, c))
    assert lab.gain((), a) == pytest.approx(lab.gain((), a[::-1]))
    alone = sum(map(lab.effect, a))
    meeting = sum(lab.interaction(*pair) for pair in combinations(a, 2))
    assert lab.gain((), a) == pytest.approx(alone + meeting)
    assert meeting != 0.0


@pytest.mark.parametrize("kind", ["none", "sparse", "strong"])
def test_as_many_pairs_interact_as_asked_for(kind):
    """Of the pairs of changes with an effect; a change without one interacts with none."""
    lab = world(interactions=INTERACTIONS[kind])
    live = [change for change in range(100) if lab.effect(change)]
    interactions = [lab.interaction(*pair) for pair in combinations(live, 2)]
    assert fmean(size != 0.0 for size in interactions) == pytest.approx(
        INTERACTIONS[kind].share, abs=0.03
    )
    idle = next(change for change in range(100) if lab.effect(change) == 0.0)
    assert lab.gain(live, [*live, idle]) == 0.0


@pytest.mark.parametrize(("correlation", "jitter"), [(0.5, 0.05), (0.0, 0.0), (0.9, 0.1)])
def test_scores_vary_by_sigma_and_pairs_by_what_they_do_not_share(correlation, jitter):
    """Var(score) = sigma², Var(pair) = 2 (1 - correlation) sigma², repeats differ by jitter."""
    lab = world(sigma=2.0, seed_correlation=correlation, jitter=jitter)
    sigma = lab.conditions.noise
    scores = [lab.score(0.1, sample("a", seed, count=seed)) for seed in range(8000)]
    others = [lab.score(0.1, sample("b", seed, count=-seed - 1)) for seed in range(8000)]
    pairs = [one - other for one, other in zip(scores, others, strict=True)]
    again = [lab.score(0.1, sample("a", seed, count=10**6 + seed)) for seed in range(8000)]
    repeats = [one - other for one, other in zip(scores, again, strict=True)]
    assert fmean(scores) == pytest.approx(BASE - 0.1, abs=0.05 * sigma)
    assert pvariance(scores) == pytest.approx(sigma**2, rel=0.06)
    assert pvariance(pairs) == pytest.approx(2 * (1 - correlation) * sigma**2, rel=0.06)
    assert pvariance(repeats) == pytest.approx(2 * jitter * sigma**2, rel=0.06, abs=1e-20)


def test_shares_of_one_variance_are_no_more_than_all_of_it():
    """Shares of more than one in all are refused."""
    with pytest.raises(ValueError, match="one variance"):
        world(seed_correlation=0.97)


def test_a_slice_drifts_from_its_onset_on_and_no_other_does():
    """By the size asked for, in median gains: a higher score is worse."""
    lab, still = world(drift=Drift(3.0, "s1", 0.5)), world()
    for name, late, worse in (("s1", 0.49, 0.0), ("s1", 0.5, 3.0), ("s2", 0.9, 0.0)):
        at = sample(slice_=name, progress=late)
        assert lab.score(0.0, at) - still.score(0.0, at) == pytest.approx(worse * HARSH.median)


def levels(trials=100, **conditions):
    """Return how much worse than undisturbed each trial of a run scores, in median gains."""
    lab, still = world(**conditions), world()
    at = [sample("c", 1, "s1", n, n / trials) for n in range(trials)]
    return [(lab.score(0.0, one) - still.score(0.0, one)) / HARSH.median for one in at]


@pytest.mark.parametrize(
    ("pattern", "loaded"),
    [
        ("none", []),
        ("constant", range(100)),
        ("late", range(10, 100)),
        ("square", [n for n in range(10, 100) if n // 10 % 2]),
    ],
)
def test_load_makes_trials_score_worse_while_it_lasts(pattern, loaded):
    """By its size on average, and unevenly."""
    found = levels(load=Load(pattern, 8.0))
    assert [n for n in range(100) if abs(found[n]) > 1e-9] == list(loaded)
    if loaded:
        assert fmean(found[n] for n in loaded) == pytest.approx(8.0, rel=0.2)


def test_bursts_of_load_come_and_go():
    """For about half of the run after its first tenth."""
    found = levels(5000, load=Load("bursts", 8.0))
    busy = [level > 1.0 for level in found]
    assert not any(busy[:500])
    assert 0.2 < fmean(busy[500:]) < 0.8
    assert 2 <= sum(one != other for one, other in pairwise(busy)) < 30


def test_a_machine_that_throttles_gets_worse_and_stays_so():
    """Up to the size asked for; a slow slice is worse from its first trial on."""
    found = levels(throttling=Throttling(4.0))
    assert found == sorted(found)
    assert found[0] == 0.0
    assert found[-1] == pytest.approx(4.0, rel=0.01)
    assert levels(drift=Drift(3.0, "s1", 0.0)) == pytest.approx([3.0] * 100)


def test_a_level_wanders_within_tens_of_trials():
    """By the size asked for; hardly from one trial to the next."""
    found = levels(20_000, wander=Wander(2.0, 10.0))
    steps = [one - other for one, other in pairwise(found)]
    assert pvariance(found) ** 0.5 == pytest.approx(2.0, rel=0.1)
    assert pvariance(steps) ** 0.5 == pytest.approx(2.0 * pi / 20, rel=0.1)
    far = [one - other for one, other in zip(found, found[20:], strict=False)]
    assert pvariance(far) == pytest.approx(2 * 2.0**2, rel=0.2)


def test_a_genome_that_gains_may_vary_less():
    """Half as much once it gains five medians at a calm of 0.2; one that loses varies as before."""
    lab = world(sigma=2.0, calm=0.2)
    for gains, noise in ((0, 1.0), (5, 0.5), (-5, 1.0)):
        worth = gains * HARSH.median
        scores = [lab.score(worth, sample("a", seed, count=seed)) for seed in range(4000)]
        assert pvariance(scores) ** 0.5 == pytest.approx(noise * lab.conditions.noise, rel=0.06)


def test_what_a_change_is_worth_may_differ_between_seeds():
    """By 15 % of it, alike in every genome that holds it."""
    lab = world(uneven=0.15, sigma=0.0)
    change = next(number for number in range(100) if lab.effect(number) != 0.0)
    found = [lab.unevenness([change], seed) / lab.effect(change) for seed in range(4000)]
    assert fmean(found) == pytest.approx(0.0, abs=0.01)
    assert pvariance(found) ** 0.5 == pytest.approx(0.15, rel=0.05)
    both = [lab.unevenness([change, 1], seed) - lab.unevenness([1], seed) for seed in range(100)]
    assert both == pytest.approx([share * lab.effect(change) for share in found[:100]])
    assert all(lab.unevenness([n], 1) == 0.0 for n in range(9) if lab.effect(n) == 0.0)


@pytest.mark.parametrize("cause", ["trial", "seed-and-code"])
def test_one_score_in_twenty_is_far_off(cause):
    """Each trial by itself, or all trials of one commit on one seed."""
    lab, still = world(spikes=Spikes(0.05, 50.0, cause)), world()
    at = [[sample("c", n, count=n + k * 4000) for n in range(4000)] for k in (0, 1)]
    off = [[lab.score(0.0, one) - still.score(0.0, one) > 1e-9 for one in half] for half in at]
    assert fmean(off[0]) == pytest.approx(0.05, abs=0.01)
    assert (off[0] == off[1]) == (cause == "seed-and-code")
    worst = max(lab.score(0.0, one) - still.score(0.0, one) for one in at[0])
    assert 60 < worst / lab.conditions.noise <= 75


def test_heavy_tails_have_the_variance_asked_for():
    """And more scores beyond five sigmas than normal noise has."""
    lab = world(tails=3.0, sigma=1.0)
    scores = [lab.score(0.0, sample("a", seed, count=seed)) - BASE for seed in range(20_000)]
    assert pvariance(scores) ** 0.5 == pytest.approx(lab.conditions.noise, rel=0.15)
    assert sum(abs(score) > 5 * lab.conditions.noise for score in scores) > 10
    with pytest.raises(ValueError, match="no variance"):
        world(tails=2.0)


def test_scores_of_a_still_world_vary_only_once_it_stirs():
    """Before that one commit scores the same to the last digit on every seed."""
    lab = world(still=0.5)
    early = {lab.score(0.0, sample("a", seed, count=seed, progress=0.4)) for seed in range(9)}
    late = {lab.score(0.0, sample("a", seed, count=seed, progress=0.6)) for seed in range(9)}
    assert (len(early), len(late)) == (1, 9)


def test_gains_dry_up_and_agents_learn():
    """Half of the gains are gone at the half-life; half of the other proposals are drawn again."""
    plain, dry, wise = world(), world(trend=Trend(500.0)), world(trend=Trend(learning=500.0))
    gains = [[lab.effect(change) > 0 for change in range(4000)] for lab in (plain, dry, wise)]
    first, last = slice(0, 100), slice(3000, 4000)
    assert fmean(gains[1][first]) > fmean(gains[0][first]) / 2
    assert fmean(gains[1][last]) < fmean(gains[0][last]) / 4
    assert fmean(gains[2][last]) > 1.5 * fmean(gains[0][last])


def test_of_changes_of_one_knob_the_last_counts():
    """Changes of one knob and value are worth the same, beyond one another nothing."""
    lab = world(HARSH.with_nil_share(0.0), knobs=Knobs(3, values=2))
    worths = [lab.gain([], [change]) for change in range(200)]
    assert len(set(worths)) == 3 * 2
    for change in range(1, 200):
        undone = len(lab.in_force([0, change])) == 1
        before = worths[0] if undone else 0.0
        assert lab.gain([0], [0, change]) == pytest.approx(worths[change] - before)
        assert (lab.gain([0], [0, change]) == 0.0) is (worths[change] == worths[0])
    assert len(lab.in_force(range(200))) == 3


def test_a_share_of_nil_changes_leaves_the_others_in_proportion():
    """The unit of sigma stays; a mixture of nothing else has no such share."""
    quiet = HARSH.with_nil_share(0.99)
    assert quiet.parts[0] == MixturePart(0.99)
    assert quiet.parts[1].share / quiet.parts[2].share == pytest.approx(0.7 / 0.05)
    assert sum(part.share for part in quiet.parts) == pytest.approx(1.0)
    assert quiet.median == pytest.approx(HARSH.median)
    with pytest.raises(ValueError, match="do nothing"):
        NULL.with_nil_share(0.9)


def test_slices_differ_by_their_offsets_for_the_whole_run():
    """Each by its own, with the standard deviation asked for."""
    lab, still = world(slice_spread=2.0), world()
    offsets = [
        [lab.score(0.0, at) - still.score(0.0, at) for at in map(sample, "ab", (1, 2), [s] * 2)]
        for s in map("s{}".format, range(2000))
    ]
    assert all(one == pytest.approx(other) for one, other in offsets)
    assert len(offsets) == 2000
    assert pvariance([one for one, _ in offsets]) == pytest.approx((2 * HARSH.median) ** 2, rel=0.1)


def test_one_seed_gives_one_ledger_byte_for_byte():
    """Another seed gives another one."""
    conditions = Conditions(PUBLISHED, interactions=STRONG, drift=Drift(2.0), slice_spread=1.0)
    ledgers = [
        b"\n".join(
            map(
                ev.encode,
                simulate_run(conditions, RunPlan(RatchetPolicy(), trials=120), seed).events,
            )
        )
        for seed in (1, 1, 2)
    ]
    assert ledgers[0] == ledgers[1] != ledgers[2]


def test_a_run_spends_its_trials_and_its_ledger_folds_to_its_state():
    """The coordinator is the real one: bound, fold and branches agree."""
    one = simulate_run(Conditions(HARSH, sigma=0.25), RunPlan(RatchetPolicy(), 3, 150), 4)
    assert one.state.trials == 150
    fresh = State()
    fresh.apply_all(list(one.events))
    assert fresh.islands == one.state.islands
    assert {type(event) for event in one.events} >= {ev.RunOpened, ev.VerdictReached, ev.RunStopped}


def test_changes_that_break_fail_their_trials():
    """Every proposal of a world of broken ones ends as failed, and nothing is kept."""
    broken = Mixture((MixturePart(1.0, 0.001, 0.001),), broken=1.0)
    one = simulate_run(Conditions(broken), RunPlan(RatchetPolicy(), 2, 30), 1)
    assert sum(island.endings["failed"] for island in one.state.islands.values()) > 20
    assert tally(one).keeps == tally(one).discards == tally(one).gain == 0


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in (1, 2))])
def test_a_tally_counts_what_the_truth_says(seed):
    """Counted by other means: the state's lists and the world's effects, change by change."""
    one = simulate_run(Conditions(HARSH, sigma=0.5), RunPlan(RatchetPolicy(), 4, 300), seed)
    counts, effect, result = tally(one), one.world.effect, reported_result(one.state)
    islands = one.state.islands.values()
    kept = [change.experiment for island in islands for change in island.kept]
    tried = [e.experiment for e in one.events if isinstance(e, ev.CandidateAdmitted)]
    changes = one.branches.changes(result.commit)
    assert counts.keeps == len(kept) > 5
    assert counts.false_keeps == sum(effect(change) <= 0 for change in kept)
    assert counts.proposals == len(tried)
    assert counts.nulls == sum(effect(change) == 0.0 for change in tried)
    assert counts.gain == pytest.approx(sum(map(effect, changes)))
    assert counts.claims == len(result.changes)
    assert set(result.changes) <= set(changes)
    assert counts.false_claims == sum(effect(change) <= 0 for change in result.changes)
    assert counts.trials == 300
    assert counts.discards == sum(island.endings.get("discarded", 0) for island in islands)
    assert counts.discards <= counts.discard_trials < 300


def test_where_nothing_is_kept_the_base_is_reported():
    """Its gain is nothing, without error, and nothing is claimed."""
    counts = tally(simulate_run(Conditions(NULL), RunPlan(RatchetPolicy(), 2, 12), 1))
    assert (counts.gain, counts.claimed, counts.error, counts.claims) == (0.0, 0.0, 0.0, 0)


def test_in_a_null_world_every_keep_and_claim_is_false():
    """In runs of noise alone, whatever the rule keeps."""
    runs = [
        tally(simulate_run(Conditions(NULL), RunPlan(RatchetPolicy(), 2, 200), seed))
        for seed in range(2)
    ]
    assert len(runs) == 2
    for counts in runs:
        assert counts.nulls == counts.proposals > 50
        assert counts.false_keeps == counts.null_keeps == counts.keeps
        assert counts.false_claims == counts.claims
        assert counts.gain == 0.0


def test_a_mean_has_students_interval():
    """By hand: 1, 2, 3 have an error of 1/√3, and t on 2 degrees of freedom is 4.3027."""
    mean = mean_of([1.0, 2.0, 3.0])
    assert (mean.mean, mean.error) == pytest.approx((2.0, 3**-0.5))
    assert mean.high - mean.mean == pytest.approx(4.3027 * 3**-0.5, rel=1e-4)
    assert mean_of([5.0]).error == float("inf")


def test_a_ratio_has_the_spread_of_its_runs():
    """Three trials a discard in every run are certain; unequal runs are not."""
    certain = ratio_of([3.0, 6.0], [1.0, 2.0])
    assert (certain.mean, certain.error) == (3.0, 0.0)
    assert ratio_of([3.0, 6.0], [2.0, 1.0]).error > 1
    assert isnan(ratio_of([0.0], [0.0]).mean)


def test_a_share_of_nothing_found_is_not_certainly_nothing():
    """Wilson's interval, by hand for 0 of 30; runs that differ make it wider."""
    none = share_of([0] * 10, [3] * 10)
    assert (none.part, none.whole, none.low) == (0, 30, 0.0)
    assert none.high == pytest.approx(1.95996**2 / (30 + 1.95996**2), rel=1e-4)
    even, uneven = share_of([1] * 10, [4] * 10), share_of([4, 4, *[0] * 8, 2], [4] * 11)
    assert even.low < 0.25 < even.high
    assert uneven.high - uneven.low > even.high - even.low
    assert isnan(share_of([0], [0]).share)


def test_a_study_is_the_same_on_any_number_of_processes():
    """Cell by cell, with one callback for each run."""
    cells, done = [cell(), cell("published", seed_correlation=0.2)], []
    found = [study(cells, 3, 7, workers, lambda: done.append(1)) for workers in (1, 2)]
    assert found[0] == found[1]
    assert len(done) == 12
    seeds = [seed_of(7, "night", repeat) for repeat in range(3)]
    by_hand = [tally(simulate_run(cells[1].conditions, cells[1].plan, seed)) for seed in seeds]
    assert found[0][1] == summarise(cells[1], by_hand)


HASHED = """
from hashlib import blake2b
from islands.ratchet.policy import RatchetPolicy
from swarm.simulation.mixtures import MIXTURES
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import Conditions
plan = RunPlan(RatchetPolicy(), 2, 60)
worlds = [Conditions(MIXTURES["harsh"]), Conditions(MIXTURES["published"], seed_correlation=0.2)]
runs = [simulate_run(world, plan, 7).events for world in worlds]
print(blake2b(repr(runs).encode()).hexdigest())
"""


def test_a_run_does_not_depend_on_how_strings_are_hashed():
    """Each process hashes strings in its own way, which orders sets."""
    ledgers = set()
    for hashing in "1", "2":
        env = {**environment(), "PYTHONHASHSEED": hashing}
        ledgers.add(subprocess.check_output([sys.executable, "-c", HASHED], cwd=HERE, env=env))
    assert len(ledgers) == 1


def test_a_summary_adds_up_its_runs():
    """Shares are of totals; the bias is the claimed less the true gain."""
    one = RunTally(1.0, 1.5, 0.1, 10, 6, 2, 1, 2, 0, 3, 1, 4, 5)
    two = replace(
        one, gain=2.0, claimed=1.5, keeps=6, false_keeps=1, discard_trials=7, false_claims=1
    )
    found = summarise(cell(), [one, two])
    assert (found.gain.mean, found.bias.mean) == (1.5, 0.0)
    assert (found.false_keeps.part, found.false_keeps.whole) == (2, 8)
    assert (found.false_claims.part, found.false_claims.whole) == (1, 4)
    assert (found.null_keeps.part, found.null_keeps.whole) == (2, 6)
    assert found.trials_per_discard.mean == 1.5
    assert found.false_claims_per_thousand.mean == pytest.approx(1000 / 12)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_study_can_be_drawn(tmp_path, suffix):
    """In the format of the suffix, also where nothing was claimed."""
    cells = [cell("null", 12), cell("harsh", 40), cell("harsh", 40, sigma=2.0)]
    path = tmp_path / f"study.{suffix}"
    plot(study(cells, 2, 1, 1, lambda: None), path)
    begins = {"png": b"\x89PNG", "svg": b"<?xml"}
    assert path.read_bytes().startswith(begins[suffix])


def test_numbers_that_json_lacks_are_null():
    """One run has no spread, and no claim no share."""
    records = as_records(study([cell("null", 12)], 1, 1, 1, lambda: None))
    (again,) = json.loads(to_json(records), parse_constant=pytest.fail)
    assert again["gain"] == {"mean": 0.0, "error": None, "low": None, "high": None}
    assert again["false_claims"]["share"] is None
    assert again["conditions"]["mixture"] == "null"


def test_the_products_rule_is_run_at_every_fdr(tmp_path):
    """Rules without an FDR level are run once."""
    asked = ["--mixture", "null", "--repeats", 1, "--trials", 6, "--islands", 1, "--workers", 1]
    asked += ["--rule", "swarm", "--rule", "margin", "--fdr", 0.01, "--fdr", 0.5]
    found = json.loads(swarm(tmp_path, "simulate", "nights", *asked, "--json"))
    shown = [(one["rule"], one["plan"]["ratchet"]["acceptance"].get("fdr")) for one in found]
    assert shown == [("swarm 0.01", 0.01), ("swarm 0.5", 0.5), ("margin", None)]


def test_the_command_prints_every_cell(tmp_path):
    """Options given more than once are combined; --noise is in units of the score."""
    asked = ["--repeats", 2, "--trials", 20, "--trials", 40, "--islands", 2, "--workers", 1]
    found = json.loads(swarm(tmp_path, "simulate", "nights", *asked, "--noise", 0.002, "--json"))
    shown = [(one["mixture"], one["plan"]["trials"]) for one in found]
    assert shown == [("published", 20), ("published", 40), ("harsh", 20), ("harsh", 40)]
    assert {round(one["noise"], 12) for one in found} == {0.002}
    picture = tmp_path / "p.svg"
    table = swarm(tmp_path, "simulate", "nights", *asked, "--plot", picture)
    assert table.count("harsh") == 2
    assert picture.exists()


@pytest.mark.parametrize(
    "asked",
    [
        ("--sigma", "nan"),
        ("--sigma", "0"),
        ("--drift", "inf"),
        ("--tails", "1.5"),
        ("--drift", "1", "--slow-slice", "1"),
        ("--nil-share", "0.9", "--mixture", "null"),
        ("--mixture", "kind"),
        ("--trials", "0"),
        ("--sigma", "1", "--noise", "1"),
        ("--plot", "study.txt"),
        ("--plot", "nowhere/study.png"),
    ],
)
def test_invalid_options_are_refused_before_any_run(tmp_path, asked):
    """With exit code 2, naming the option."""
    error = swarm(tmp_path, "simulate", "nights", *asked, code=2)
    assert asked[0] in error


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["nights", "--rho", "0"], "--seed-correlation"),
        (["nights", "--offsets", "1"], "--slice-spread"),
        (["nights", "--sentinels", "8"], "--sentinel-every"),
        (["nights", "--nulls", "0.1"], "--null-rate"),
        (["nights", "--every", "5"], "--stack-every"),
        (["nights", "--interval", "2"], "--migrate-every"),
        (["nights", "--ratchets"], "--baselines"),
        (["--stacks", "stacks"], "`swarm simulate stacks`"),
        (["--stacks"], "`swarm simulate stacks`"),
    ],
)
def test_old_names_of_options_are_refused_in_one_line(tmp_path, old, new):
    """The line names the new option or command."""
    error = swarm(tmp_path, "simulate", *old, code=2)
    assert new in error
    assert error.count("\n") == 1


def test_a_killed_study_leaves_no_process(tmp_path):
    """Its workers end with it, whatever they are doing."""
    asked = ("simulate", "nights", "--repeats", 1000, "--trials", 700, "--workers", 2)
    child = subprocess.Popen(
        command(*asked), cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL
    )
    family = []
    while len(family) < 3 and child.poll() is None:  # two workers and their tracker
        time.sleep(0.2)
        family = psutil.Process(child.pid).children(recursive=True)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert len(family) >= 3
    assert psutil.wait_procs(family, timeout=60)[1] == []


def test_the_fit_climbs_and_finds_what_it_was_given():
    """No round lowers the likelihood of a greedy run; gains are told from null changes."""
    lab = world(Mixture((MixturePart(0.5), MixturePart(0.5, 0.0005, 0.00025))), sigma=0.3)
    worth, seen, tried = 0.0, BASE, []
    for change in range(80):
        after = worth + lab.effect(change)
        score = lab.score(after, sample(str(change), change))
        tried.append((score, score < seen, False))
        if score < seen:
            worth, seen = after, score
    fit = Fit(BASE, tried, lab.conditions.noise, parts=2)
    climbed = [fit.run(1) for _ in range(25)]
    assert all(after >= before - 1e-6 for before, after in pairwise(climbed))
    assert fit.weights[1] == pytest.approx(0.5, abs=0.15)
    assert fit.means[1] == pytest.approx(0.0005, abs=0.0001)
