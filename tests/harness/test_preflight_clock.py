"""The clock that a genome sees in a preflight."""

import time

import pytest

from harness.runners import gpt_preflight
from harness.runners.gpt_preflight import BUDGET_S, PASSES, REMAINING_S, PreflightClock


@pytest.fixture
def machine(monkeypatch):
    """Time that passes, and CPU time of it that the genome gets, as a test says."""

    class Machine:
        passed = used = 0.0

        def run(self, seconds, share):
            self.passed += seconds
            self.used += share * seconds

    machine = Machine()
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + machine.passed)
    monkeypatch.setattr(time, "process_time", lambda: machine.used)
    return machine


def test_a_busy_machine_takes_no_step_from_a_genome(machine):
    """With a twentieth of a core for its budget's work it has three quarters of the budget left."""
    clock = PreflightClock()
    end = clock.start_budget()
    machine.run(seconds=4.0, share=0.05)
    assert end - clock.now() > 0.75 * BUDGET_S


def test_a_genome_that_sleeps_comes_to_its_end(machine):
    """Before the preflight does."""
    clock = PreflightClock()
    end = clock.start_budget()
    machine.run(seconds=gpt_preflight.BUDGET_S / gpt_preflight.WAITING_SHARE + 0.1, share=0.0)
    assert clock.now() > end
    assert machine.passed < 30.0


def test_a_genome_that_computes_has_its_budget(machine):
    """CPU time counts in full, and after enough backward passes the end has come."""
    clock = PreflightClock()
    end = clock.start_budget()
    machine.run(seconds=BUDGET_S / 2, share=1.0)
    assert clock.now() < end
    step = clock.counted(lambda: None)
    for _ in range(PASSES):
        step()
    assert end - clock.now() == pytest.approx(REMAINING_S)
