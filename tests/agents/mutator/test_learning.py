"""Learning of the mutator: what attempts change in its later proposals."""

import ast
import math
from dataclasses import replace

import pytest

from islands.records import Attempt, Gain
from swarm.agents.mutator import Mutator
from swarm.agents.mutator.history import MAX_ATTEMPTS_PER_SITE, MAX_HEADS, MAX_SITES, MoveHistory
from swarm.agents.mutator.surrogate import (
    NumberModel,
    NumberObservation,
    NumberPrior,
    OptionObservation,
    number_forecasts,
    option_forecasts,
)
from tests.support.mutator import GENOME, attempt, brief, changed_lines, taught, text_of


def moves_of(agent, name, count=100, genome=GENOME):
    """Return the values that one knob is moved to, alone, over many draws."""
    proposals = [agent.propose_now(brief(genome, seed=1000 + n)) for n in range(count)]
    alone = [
        p for p in proposals if p.notes["site"] == f"train.py:{name}" and "site 2" not in p.notes
    ]
    return [float(p.notes["to"]) for p in alone]


def test_a_gain_is_followed_the_same_way():
    """After a kept step up, that knob is tried again, and upwards."""
    head = GENOME.replace("3e-4", "6e-4")
    agent = taught("LEARNING_RATE", 3e-4, 6e-4, ending="kept", gain=0.03)
    tried = moves_of(agent, "LEARNING_RATE", genome=head)
    assert len(tried) > 5
    assert sum(value > 6e-4 for value in tried) > 0.9 * len(tried)


def test_a_loss_turns_the_other_way():
    """After a step up that lost, steps up are rare."""
    tried = moves_of(taught("LEARNING_RATE", 3e-4, 6e-4, gain=-0.03), "LEARNING_RATE")
    assert len(tried) > 2
    assert sum(value < 3e-4 for value in tried) > 0.9 * len(tried)


def test_a_failure_is_a_wall():
    """After a failure upwards, values as far or farther are rarely tried."""
    tried = moves_of(taught("BATCH", 64, 128, ending="failed"), "BATCH", count=150)
    assert tried
    assert sum(value >= 128 for value in tried) < 0.2 * len(tried)


def test_dead_knobs_are_left_alone():
    """A number whose change left the score the same to the last digit is rarely tried again."""
    usual = len(moves_of(Mutator(), "LEARNING_RATE"))
    agent = taught("LEARNING_RATE", 3e-4, 1e-3, gain=0.0)
    assert len(moves_of(agent, "LEARNING_RATE")) < usual / 3


def test_small_gains_are_kept_together():
    """Two changes, each too small to be told from noise, are proposed as one."""
    agent = taught("LEARNING_RATE", 3e-4, 6e-4, gain=0.008)
    second = taught("BATCH", 64, 32, gain=0.008)
    agent._history._sites.update(second._history._sites)
    proposals = [agent.propose_now(brief(seed=n)) for n in range(60)]
    both = [p for p in proposals if p.notes["kind"] == "joint"]
    assert both
    assert all(len(changed_lines(GENOME, text_of(p))) >= 4 for p in both)


def test_steps_shrink_near_an_optimum():
    """With losses on both sides the expected improvement falls, most for large steps."""
    belief = NumberPrior(1.0, 1.0, 0.25)
    seen = (NumberObservation(0.0, 0.7, -0.02, 1e-5), NumberObservation(0.0, -0.7, -0.02, 1e-5))
    far = (0.3, 1.5)
    before = number_forecasts(NumberModel(belief, 0.0, ()), far, 0.01, 0.0)
    after = number_forecasts(NumberModel(belief, 0.0, seen), far, 0.01, 0.0)
    assert before[1].expected_improvement > before[0].expected_improvement
    assert after[0].expected_improvement > after[1].expected_improvement
    assert after[0].expected_improvement < before[0].expected_improvement / 3


def test_a_certain_forecast_has_no_negative_variance():
    """With nearly exact observations the variance of a forecast is zero or more."""
    seen = tuple(NumberObservation(0.0, step / 7, -step / 100, 1e-14) for step in range(1, 20))
    distances = tuple(step / 9 for step in range(-20, 20) if step)
    for weight in (0.2, 1.0, 1.5):
        model = NumberModel(NumberPrior(0.7, weight, 0.25), 0.0, seen)
        forecasts = number_forecasts(model, distances, 0.01, 0.0)
        assert len(forecasts) == len(distances)
        assert all(forecast.variance >= 0 for forecast in forecasts)


def test_options_are_weighed_against_each_other():
    """Two gains along a chain of options add up."""
    chain = [OptionObservation("a", "b", 0.02, 1e-6), OptionObservation("b", "c", 0.02, 1e-6)]
    (forecast,) = option_forecasts("a", ["c"], chain, (0.0, 0.1), 0.0)
    assert forecast.mean == pytest.approx(0.04, rel=0.05)


def test_a_valley_is_found_in_a_dozen_trials():
    """Without noise, a rate that is ten times too low ends within a quarter of the best."""
    agent, genome = Mutator(), "# one\nLEARNING_RATE = 0.001\n"

    def loss(text):
        return 0.05 * abs(math.log(ast.literal_eval(text.split(" = ")[1]) / 0.01)) ** 1.5

    for n in range(12):
        proposal = agent.propose_now(brief(genome, seed=n))
        gain = loss(genome) - loss(text_of(proposal))
        agent.learn(attempt(proposal, "kept" if gain > 0 else "discarded", gain, 1e-4))
        genome = text_of(proposal) if gain > 0 else genome
    assert loss(genome) < loss("A = 0.0125")


def test_memory_is_bounded():
    """Three thousand attempts leave no more behind than the bounds allow."""
    memory = MoveHistory()
    for n in range(3_000):
        site = f"t.py:S{n}" if n % 2 else "t.py:A"
        notes = {
            "kind": "number", "head": f"h{n % 50}", "edit": f"{site}={n}", "unit": 0.01,
            "site": site, "from": "1", "to": str(n), "mean": 0.0, "variance": 0.0,
            "start": 0.0, "end": 1.0,
        }  # fmt: skip
        memory.record(Attempt(n, "a", "", notes, "discarded", "", Gain(0.1, 0.1, 1)))
    assert len(memory._sites) == MAX_SITES
    assert len(memory.site("t.py:A").number_observations) == MAX_ATTEMPTS_PER_SITE
    assert len(memory._tried) == MAX_HEADS


@pytest.mark.parametrize("gain", [1e300, -1e300, 1e-300, 0.0])
@pytest.mark.parametrize("sigma", [0.0, 1e-300, 1e300])
def test_no_measurement_is_too_wild(gain, sigma):
    """Exploded losses and scores without spread do not stop the agent."""
    agent = Mutator()
    for n in range(8):
        proposal = agent.propose_now(replace(brief(seed=n), sigma=sigma))
        agent.learn(attempt(proposal, "kept" if n % 2 else "discarded", gain, noise=1e200))
    assert agent.propose_now(replace(brief(seed=9), sigma=sigma)).files


def test_other_agents_attempts_are_no_evidence():
    """Notes of another agent are ignored."""
    agent = Mutator()
    agent.learn(Attempt(1, "a", "", {"site": "x", "model": "gpt"}, "kept", "", Gain(1.0, 0.1, 3)))
    assert agent.propose_now(brief(seed=4)) == Mutator().propose_now(brief(seed=4))


def test_it_does_not_run_dry_and_looks_at_no_more_evidence_as_attempts_gather():
    """On an unchanged head the 600th proposal is new, and it weighs a bounded history."""
    agent = Mutator()
    for n in range(600):
        proposal = agent.propose_now(brief(seed=n, experiment=n))
        agent.learn(replace(attempt(proposal, gain=0.001 * (n % 5 - 3)), experiment=n))
    sizes = [
        len(trace.number_observations) + len(trace.option_observations)
        for trace in agent._history._sites.values()
    ]
    assert max(sizes) <= MAX_ATTEMPTS_PER_SITE
