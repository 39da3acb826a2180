"""The rule of a fixed margin: what it says of its evidence."""

import pytest

from islands.ratchet.acceptance import CandidateEvidence
from islands.ratchet.fixed_margin import FixedMarginRule
from islands.ratchet.noise import Noise


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [([3.0], "better on 1 fresh seed"), ([3.0, 3.1], "better on 2 fresh seeds")],
)
def test_a_reason_counts_its_seeds_in_good_grammar(pairs, reason):
    """One fresh seed is no `1 fresh seeds`."""
    evidence = CandidateEvidence(3.0, pairs, Noise(sigma=1.0, seeds=4), None, None)
    assert FixedMarginRule(8).decide(evidence).reason == reason
