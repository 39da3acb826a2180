"""The check on fresh data: memorisers are refuted, honest gains are not, pieces are spent once."""

from dataclasses import replace

import numpy as np
import pytest

from islands.ratchet.fresh import compare
from islands.state.fresh import FreshData
from tests.support.laboratory import opening

DEV_PARTS, FRESH_PARTS = 32, 32
DEV_SD, FRESH_SD = 0.006, 0.014
"""Spread between parts of the gain of one kjv model over another: the text sd of the difference
over 187 windows was 0.0009 bits per byte, 0.0025 over the 32 windows of a piece."""


def parts(random, gain, gain_on_fresh, level=1.87):
    """Return the scores by part of a head and of a candidate that is better by these gains."""
    sides = []
    for size, count, sd in ((gain, DEV_PARTS, DEV_SD), (gain_on_fresh, FRESH_PARTS, FRESH_SD)):
        head = level + 0.1 * random.standard_normal(count)  # some text is harder
        sides.append((head, head - size + sd * random.standard_normal(count)))
    names = ("dev", "fresh")
    return [dict(zip(names, (side[n] for side in sides), strict=True)) for n in (0, 1)]


def test_honest_gains_hold():
    """200 of 200, whatever they are worth: their gain is the same on both but for the noise."""
    random = np.random.default_rng(5)
    gains = [*np.linspace(0, 0.12, 200)]
    results = [compare(*parts(random, gain, gain), "minimize") for gain in gains]
    assert sum(result.holds for result in results) == 200


@pytest.mark.parametrize("bought", [1.8, 0.4, 0.05, 0.03])
def test_gains_that_were_bought_are_refuted(bought):
    """20 of 20: what was learned of dev through a channel is not there on fresh data."""
    random = np.random.default_rng(6)
    results = [compare(*parts(random, 0.01 + bought, 0.01), "minimize") for _ in range(20)]
    assert not any(result.holds for result in results)
    assert results[0].dev.mean > results[0].fresh.mean


def test_a_gain_that_is_larger_on_fresh_data_holds():
    """Only what falls short is refuted."""
    random = np.random.default_rng(7)
    assert compare(*parts(random, 0.0, 1.0), "minimize").holds


def test_gains_are_signed_by_the_direction():
    """Where higher is better, a higher dev score that is not there on fresh data is refuted."""
    head = {"dev": (0.5, 0.52, 0.48), "fresh": (0.5, 0.51, 0.49)}
    own = {"dev": (0.9, 0.93, 0.89), "fresh": (0.5, 0.52, 0.48)}
    assert not compare(head, own, "maximize").holds
    assert compare(head, own, "minimize").holds


def test_parts_without_noise_are_compared_exactly():
    """Scores that no text varies leave no doubt."""
    head = {"dev": (1.0, 1.0), "fresh": (1.0, 1.0)}
    same, less = ({"dev": (0.5, 0.5), "fresh": (x, x)} for x in (0.5, 0.6))
    assert compare(head, same, "minimize").holds
    assert not compare(head, less, "minimize").holds


def test_pieces_come_in_turn_until_none_is_left():
    """The next piece is the one after the last that a trial began with, also after a resume."""
    fresh, run = FreshData(), replace(opening(), fresh=3)
    assert fresh.next_piece(opening()) == 0
    assert fresh.next_piece(run) == 1
    fresh.spent = 2
    assert fresh.next_piece(run) == 3
    fresh.spent = 3
    assert fresh.next_piece(run) == 0
