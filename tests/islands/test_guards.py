"""Guards: what program.md writes, and when a measure is kept, open or violated."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Outcome
from islands import events as ev
from islands.ratchet.guards import (
    Guard,
    Guards,
    judge_guards,
    measures,
    missing_guards,
    parse_guard,
)
from islands.ratchet.policy import RatchetPolicy
from islands.records import Entry, Proposal
from swarm.coordinator.launch_plan import RunLimits
from tests.coordinator.test_task_tree import kinds, simulate
from tests.support.laboratory import GENOME, LabAgent, LabExecutor, MemoryBranches, value


@pytest.mark.parametrize(
    ("name", "written", "guard"),
    [
        ("memory", 1.1, Guard("memory", 1.1)),
        ("p95_ms", "<= 1.05x", Guard("p95_ms", 1.05)),
        ("accuracy", ">= 0.99x", Guard("accuracy", 0.99, at_most=False)),
        ("peak_mib", "<=64", Guard("peak_mib", 64.0, relative=False)),
        ("gain", ">= -1e-3", Guard("gain", -0.001, relative=False, at_most=False)),
    ],
)
def test_a_guard_is_read_as_it_is_written(name, written, guard):
    """A bare number is a multiple of the head's, for the harness's own measures."""
    assert parse_guard(name, written) == guard


@given(st.text(max_size=12) | st.floats(allow_nan=True), st.text(max_size=8))
def test_anything_else_is_refused_or_a_bound(written, name):
    """Whatever is written, it is a guard with a finite limit or a ValueError."""
    try:
        guard = parse_guard(name, written)
    except ValueError:
        return
    assert abs(guard.limit) < float("inf")


def judged(guard, head, candidate, base=None, **last):
    """Return the verdict on one guard, given values by seed."""
    three = [{guard.name: values} for values in (head, candidate, base or head)]
    return judge_guards(Guards((guard,)), *three, **last)


STILL = [
    (Guard("m", 1.1), 110.0, "kept"),
    (Guard("m", 1.05), 110.0, "violated"),
    (Guard("m", 1.0), 100.0, "kept"),
    (Guard("m", 1.0, at_most=False), 99.0, "violated"),
    (Guard("m", 0.9, at_most=False), 99.0, "kept"),
    (Guard("m", 64.0, relative=False), 64.0, "kept"),
    (Guard("m", 64.0, relative=False), 65.0, "violated"),
    (Guard("m", 64.0, relative=False, at_most=False), 63.0, "violated"),
]


@pytest.mark.parametrize(("guard", "value_", "state"), STILL)
def test_a_measure_that_does_not_vary_is_judged_at_once(guard, value_, state):
    """On the screening trial alone, exactly at the limit too."""
    head = {1: 100.0, 2: 100.0, 3: 100.0}
    assert judged(guard, head, {1: value_}).state == state


@given(st.integers(1, 8), st.integers(0, 10_000), st.floats(-3, 3), st.booleans())
def test_a_verdict_is_sure_or_open_and_in_the_end_the_mean_decides(pairs, seed, shift, relative):
    """Sure verdicts agree with the mean margin; the last one is never open."""
    rng = random.Random(seed)
    head = {n: 100 + rng.gauss(0, 1) for n in range(12)}
    mine = {n: head[n] + shift + rng.gauss(0, 1) for n in range(pairs)}
    guard = Guard("m", 1.0) if relative else Guard("m", 100.0, relative=False)
    margins = guard.margins(mine, head)
    mean = sum(margins) / len(margins)
    verdict, last = judged(guard, head, mine), judged(guard, head, mine, last=True)
    assert last.state == ("kept" if mean >= 0 else "violated")
    assert verdict.state in {"open", last.state}
    assert ("± " in verdict.reason) == (verdict.state != "kept")


def test_sure_is_wrong_once_in_twenty():
    """Of candidates exactly at the limit about a twentieth is discarded after one pair."""
    rng, early = random.Random(3), 0
    for _ in range(2_000):
        head = {n: 100 + rng.gauss(0, 1) for n in range(40)}
        early += judged(Guard("m", 1.0), head, {1: 100 + rng.gauss(0, 1)}).state == "violated"
    assert 60 < early < 150


def test_a_number_that_is_not_printed_is_a_violation():
    """By the candidate; and a guard on what the base does not print is a mistake in program.md."""
    assert judged(Guard("p95", 1.0), {1: 3.0}, {}).reason == "guard: p95 was not printed"
    guards = Guards((Guard("p95", 1.0), Guard("memory", 1.1)))
    assert missing_guards(guards, {"memory": {1: 9.0}, "p99": {1: 2.0}}) == (
        "guards: p95 is no number of its trials, which have memory, p99"
    )


def test_what_the_harness_measures_cannot_be_printed():
    """A claim by such a name counts for nothing."""
    claims, facts = {"memory": 1.0, "lines": 1.0, "p95": 3.0, "wall_seconds": 0.0}, {}
    outcome = Outcome("t", "h", "none", 1.0, peak_mib=70.0, claims=claims, facts=facts)
    assert measures(outcome) == {"memory": 70.0, "seconds": 0.0, "p95": 3.0, "wall_seconds": 0.0}
    told = Outcome("t", "h", "none", 1.0, claims=claims, facts={"wall_seconds": 2.0})
    assert measures(told)["wall_seconds"] == 2.0


class Latency(LabExecutor):
    """Prints a latency that varies by seed; X raises it by `slope`."""

    slope = 0.0

    async def run(self, trial):
        outcome = await super().run(trial)
        noise = random.Random(f"{trial.commit}{trial.seed}").gauss(0, 1)
        p95 = 100 + noise + self.slope * value(self.branches, trial.commit)
        return replace(outcome, claims={"p95_ms": p95})


def guarded(tmp_path, slope, guard, trials=24):
    """Return a run in which the first proposal gains much, with this guard on the latency."""
    branches = MemoryBranches()
    executor = Latency(branches)
    executor.slope = slope
    better = Proposal("better", {GENOME: Entry(b"X = 0.2\n")})
    return simulate(
        tmp_path,
        branches=branches,
        executor=executor,
        agents={"i0": LabAgent(script={1: better})},
        islands=1,
        ratchet=RatchetPolicy(guards=Guards((guard,))),
        limits=RunLimits(trials=trials),
    )


def test_a_keep_that_hangs_on_a_guard_buys_pairs(tmp_path):
    """The score is sure after a pair or two; the guard takes as many as it needs, at most eight."""
    close = guarded(tmp_path / "a", 0.0, Guard("p95_ms", 1.005))
    far = guarded(tmp_path / "b", 0.0, Guard("p95_ms", 1.5))
    pairs = {}
    for name, run in (("close", close), ("far", far)):
        verdict = kinds(run, ev.VerdictReached)[0]
        trials = [t for t in kinds(run, ev.TrialStarted) if t.experiment == verdict.experiment]
        pairs[name] = sum(t.purpose == "confirm" for t in trials)
    assert pairs["far"] < pairs["close"] <= 16


def test_a_clear_violation_is_discarded_after_the_screen(tmp_path):
    """Whatever the score: 40 ms more are no noise of one."""
    run = guarded(tmp_path, 200.0, Guard("p95_ms", 1.05))
    verdict = kinds(run, ev.VerdictReached)[0]
    assert verdict.verdict == "discard"
    assert verdict.reason.startswith("guard: 14")
    assert "p95_ms, the head has" in verdict.reason
