"""The ladder: dev scores are released in steps, with no digit below them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from islands.ratchet.ladder import released, released_score, step
from islands.ratchet.noise import Noise
from islands.records import Gain
from swarm.coordinator.brief import Briefer
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import GENOME, make_run

NUMBER = re.compile(r"\d\.\d{2,}(?:e-?\d+)?")
NOISE = Noise(sigma=0.003, seeds=5)


def test_the_step_is_filled_by_the_noise_and_hardly_moves_with_it():
    """A power of two from a quarter to a half of a pair's spread; none where nothing varies."""
    assert NOISE.pair / 4 < step(NOISE) <= NOISE.pair / 2
    assert step(Noise(0.0031, 5)) == step(NOISE)
    assert step(Noise(0.0, 5)) == 0.0


@given(st.floats(-1e3, 1e3))
def test_a_gain_is_shown_by_its_step_alone(mean):
    """All gains of a step look alike, keep their sign, and only no gain at all looks like none."""
    by = step(NOISE)
    shown = released(Gain(mean, 0.0001, 3), by)
    assert abs(shown.mean - mean) <= by / 2
    assert shown.noise == (by if mean else 0.0001)
    assert (shown.mean == 0) == (mean == 0)
    assert shown.mean * mean >= 0
    assert released(Gain(mean, 0.1, 3), 0.0).mean == mean


def test_a_score_moves_by_whole_steps():
    """Two scores of one step are shown as one."""
    by = step(NOISE)
    assert released_score(10 * by + by / 3, by) == released_score(10 * by - by / 3, by) == 10 * by
    assert released_score(1.23456, 0.0) == 1.23456


def test_a_brief_holds_no_score_in_full(tmp_path):
    """Score, recent gains and gains elsewhere are all in steps, and no reason has another digit."""

    async def main():
        run = make_run(tmp_path, limits=RunLimits(trials=120))
        await run_islands(run)
        return run

    run = run_virtual(main())
    by = step(run.state.scores.noise())
    brief = Briefer(run.branches.files, "").brief(run.state, "i0", 99)
    gains = [each.gain.mean for each in (*brief.recent, *brief.elsewhere) if each.gain]
    assert by > 0
    assert gains
    assert all(gain / by % 1 in {0.0, 0.5} for gain in gains)
    assert brief.score / by % 1 == 0.0
    full = {
        f"{each.gain.mean:.4g}" for each in run.state.islands["i0"].recent_attempts if each.gain
    }
    told = {number for each in brief.recent for number in NUMBER.findall(each.reason)}
    assert not full & told
    assert GENOME in brief.genome
