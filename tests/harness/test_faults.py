"""An error that a candidate may have caused is its failure the second time."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.contract import DisturbedError, HarnessError, Rung, Slice, SuspectError, Trial
from harness.faults import Faults

TRIAL = Trial("t1", "packing", "none", "c1", 1, Rung(1, 1.0), Slice("a", "cpu"), "/g", "g", "/s")


@pytest.mark.parametrize(
    "error",
    [
        SuspectError("alive"),
        PermissionError(errno.EPERM, "sealed"),
        DisturbedError("a signal stopped it", "signal"),
    ],
)
def test_the_second_time_it_is_the_candidates(error):
    """Once it is void; then every further trial of the commit fails, on any seed."""
    faults = Faults()
    assert faults.failure(TRIAL, error, "h") is None
    assert faults.failure(replace(TRIAL, commit="c2"), error, "h") is None
    for seed in (2, 3):
        outcome = faults.failure(replace(TRIAL, id="t2", seed=seed), error, "h")
        assert (outcome.trial, outcome.failure.kind) == ("t2", "invalid")


@pytest.mark.parametrize(
    "error",
    [
        HarnessError("did not start"),
        DisturbedError("others had its cores", "busy"),
        OSError(errno.ENOSPC, ""),
        OSError(errno.ENOMEM, ""),
    ],
)
def test_what_no_candidate_can_cause_stays_void(error):
    """A full disk or a sandbox that did not start says nothing about a candidate."""
    faults = Faults()
    assert [faults.failure(TRIAL, error, "h") for _ in range(9)] == [None] * 9


def test_causes_are_counted_apart():
    """Two different errors are two accidents."""
    faults = Faults()
    assert faults.failure(TRIAL, SuspectError("alive"), "h") is None
    assert faults.failure(TRIAL, PermissionError(errno.EPERM, "sealed"), "h") is None
