"""Arms: what each is charged and credited, and how the next one is chosen."""

from dataclasses import replace

import pytest

from harness.contract import Outcome
from islands import events as ev
from islands.records import NULL, Gain, Usage
from islands.scheduling.arm_choice import ArmPolicy, choose_arm
from islands.state.arms import Arms, ArmTotals, ProposalArm
from tests.benchmarks.bench_arms import WORLDS, compare

ARM = ProposalArm("model", "data", "a")


def proposed(number, agent="model", usd=0.5, **changes):
    """Return a proposal of ARM."""
    event = ev.ProposalReceived(number, "a", agent, "base", "x", usage=Usage(usd=usd))
    return replace(event, temperament="data", **changes)


def trial(number, seconds):
    """Return the end of a trial of an experiment."""
    start = ev.TrialStarted(f"t{number}", number, "a", "c", "screen", 1, 0, "s", recorded=100.0)
    return ev.TrialEnded(start, Outcome("t", "h", "none", score=1.0), recorded=100.0 + seconds)


def verdict(number, commit, keep, gain=0.25):
    """Return how an experiment ended."""
    word = "keep" if keep else "discard"
    return ev.VerdictReached(number, "a", commit, "base", word, "", Gain(gain, 0.01, 4))


def test_an_arm_is_charged_for_calls_and_slices_and_credited_with_keeps():
    """Null proposals, ports and the baseline belong to no arm; a quarantined keep is taken back."""
    arms = Arms()
    failed = ev.AgentFailed(9, "a", "model", "malformed", "", Usage(usd=0.1), temperament="data")
    for event in (
        proposed(1),
        trial(1, 30),
        verdict(1, "c1", keep=True),
        proposed(2),
        trial(2, 20),
        verdict(2, "c2", keep=False),
        failed,
        proposed(3, NULL),
        trial(3, 99),
        proposed(4, origin=2),
        trial(4, 99),
        trial(0, 99),
    ):
        arms.apply(event)
    assert arms.totals == {ARM: ArmTotals(3, 1, 0.25, pytest.approx(1.1), 50.0)}
    arms.apply(ev.CommitQuarantined("t1", "c1", ("c1",), (), "invalid"))
    assert arms.totals[ARM].kept == 0
    assert arms.totals[ARM].gain == 0.0


def test_each_arm_is_tried_and_the_floor_goes_to_all():
    """One arm alone needs no draw, and equal draws choose alike."""
    arms = [ProposalArm(name, "", "a") for name in "bcd"]
    totals = {arms[0]: ArmTotals(5, 1, 1.0, 1.0, 60.0)}
    policy = ArmPolicy(floor=0.3)
    assert choose_arm(arms[:1], {}, policy, 1) == arms[0]
    assert {choose_arm(arms, totals, policy, seed) for seed in range(40)} == {*arms[1:]}
    totals |= {arms[1]: ArmTotals(100, 0, 0.0, 10.0, 60.0), arms[2]: ArmTotals(100, 30, 30.0, 1.0)}
    chosen = [choose_arm(arms, totals, policy, seed) for seed in range(1000)]
    assert 0.07 < chosen.count(arms[1]) / 1000 < 0.13
    assert chosen.count(arms[2]) > 700
    assert chosen == [choose_arm(arms, totals, policy, seed) for seed in range(1000)]


def test_the_exchange_rate_decides_between_dollars_and_slice_time():
    """A free agent whose trials take long is cheap or dear by what an hour is worth."""
    paid, slow = ProposalArm("paid", "", "a"), ProposalArm("slow", "", "a")
    totals = {
        paid: ArmTotals(200, 20, 20.0, 20.0, 200.0),
        slow: ArmTotals(200, 20, 20.0, 0.0, 36e4),
    }

    def share(rate):
        policy = ArmPolicy(0.0, rate)
        return sum(choose_arm([paid, slow], totals, policy, seed) == paid for seed in range(200))

    assert share(0.01) < 10
    assert share(10.0) > 190


def test_gain_per_dollar_is_at_least_1_3_times_that_of_equal_shares():
    """In worlds of known arms (more in `bench_arms`); among equal ones it is the same."""
    cheap, error = compare(WORLDS["a cheap model is the best"], 12)
    assert cheap - 2 * error > 1.3
    alike, _ = compare(WORLDS["all alike"], 4, 100)
    assert alike == pytest.approx(1.0)
