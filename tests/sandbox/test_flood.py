"""A program that prints much: how much its pipe holds, and how soon it is emptied again."""

import os
import sys
import time

import pytest

from harness.sandbox.monitor.capped_log import CappedLog
from harness.sandbox.monitor.clock import BudgetClock
from harness.sandbox.monitor.watchdog import (
    CHUNK_BYTES,
    CHUNKS_PER_LOOK,
    FAST_TICK_S,
    FLOOD_BYTES,
    TICK_S,
    output_pipe,
    watch,
)

LOOK_BYTES = CHUNKS_PER_LOOK * CHUNK_BYTES


class Quiet:
    """A sandbox of which nothing is to be said."""

    lost = 0.0

    def memory(self):
        return 0.0

    def stopped(self):
        return False

    full = out_of_memory = stopped


def watched(tmp_path, printed):
    """Watch a program that prints so many bytes before each look; return the waits, and its log."""
    reading, writing = output_pipe()
    waits, left = [], list(printed)

    def ended(wait):
        waits.append(wait)
        if left:
            os.write(writing, b"x" * left.pop(0))
        return len(waits) > len(printed)

    try:
        clock = BudgetClock(time.monotonic(), 1e9, 1e9, counts_lost=False)
        with CappedLog.at(tmp_path / "log") as log:
            assert watch(Quiet(), ended, reading, log, clock, lambda: None) == ""
    finally:
        os.close(reading)
        os.close(writing)
    return waits, (tmp_path / "log").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no larger pipes")
def test_a_pipe_holds_all_that_a_look_reads(tmp_path):
    """A program prints a mebibyte before anybody looks, and waits for nothing."""
    assert watched(tmp_path, [LOOK_BYTES])[1] == b"x" * LOOK_BYTES


def test_while_much_is_printed_the_next_look_comes_sooner(tmp_path):
    """And no sooner once it is little again."""
    flood = FLOOD_BYTES + 1
    waits, _ = watched(tmp_path, [10, 10, flood, flood, 10, 10])
    assert waits == [0.0, TICK_S, TICK_S, FAST_TICK_S, FAST_TICK_S, TICK_S, TICK_S]
