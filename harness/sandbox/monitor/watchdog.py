"""The watchdog: follows a sandbox's clock, memory and output until all of it is dead."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal, Protocol

from harness.contract import DisturbedError, SuspectError
from harness.sandbox.monitor.capped_log import CappedLog
from harness.sandbox.monitor.clock import BudgetClock

TICK_S = 0.05  # between two looks; a look takes some 0.1 ms
FAST_TICK_S = 0.01  # the same near the memory limit: 1 GiB/s is 10 MiB between two looks
CHUNK_BYTES = 64 << 10
CHUNKS_PER_LOOK = 16  # as many as the pipe holds; reading them takes less than 1 ms
FLOOD_BYTES = CHUNKS_PER_LOOK * CHUNK_BYTES // 4  # printed since the last look: look sooner
KILL_TIMEOUT_S = 10.0  # for killed processes to be gone

Killed = Literal["", "deadline", "memory", "disk"]


class Tree(Protocol):
    """What is watched: every process of a sandbox and its descendants."""

    @property
    def peak(self) -> int:
        """The most bytes seen."""

    @property
    def foreign(self) -> float | None:
        """The share of the slice's cores that others had, None where it is not known."""

    def cpu_seconds(self) -> float | None:
        """Return the CPU time used so far, None where it is not measured; from any thread."""

    def cpu_by_process(self) -> Mapping[str, float]:
        """Return the CPU time of each living process by pid, as far as nothing else will report it.

        With a supervisor, which reaps and reports everything, or without a sandbox, there is none.
        """

    @property
    def lost(self) -> float:
        """The seconds by which others made it wait so far."""

    def stopped(self) -> bool:
        """Return whether a signal has stopped one of its processes."""

    def memory(self) -> float:
        """Return the memory held now as a share of the limit."""

    def out_of_memory(self) -> bool:
        """Return whether the kernel has killed it for its memory."""

    def full(self) -> bool:
        """Return whether files were over the limit at the last call of `memory`."""

    def kill(self) -> None:
        """Kill every process."""

    def gone(self, wait: float) -> bool:
        """Return whether none is alive, after waiting at most `wait` seconds for it."""


def watch(  # noqa: PLR0913, PLR0917  # all are watched
    tree: Tree,
    ended: Callable[[float], bool],
    output: int,
    log: CappedLog,
    clock: BudgetClock,
    meanwhile: Callable[[], None],
) -> Killed:
    """Wait until the first process ends or a limit is hit; return the limit, "" for none.

    `ended` waits at most so many seconds and returns whether the first process has ended; `output`
    is the pipe that the sandbox writes to. `meanwhile` is called after each look but the first,
    unless memory is near its limit or much was printed.

    Raises DisturbedError where the sandbox was kept from running.
    """
    os.set_blocking(output, False)
    tick = 0.0
    while not waited(ended, max(0.0, min(tick, clock.left())), clock):
        flood = drain(output, log) > FLOOD_BYTES
        memory = tree.memory()
        if tick == TICK_S:
            meanwhile()
        tick = FAST_TICK_S if memory > 1 / 2 or flood else TICK_S
        if tree.full():
            return "disk"
        if memory > 1:
            return "memory"
        clock.lose(tree.lost)
        if tree.stopped():
            raise DisturbedError("a signal stopped it", "signal")
        if clock.left() <= 0:
            return "deadline"
    return "memory" if tree.out_of_memory() else ""


def waited(ended: Callable[[float], bool], wait: float, clock: BudgetClock) -> bool:
    """Return what `ended` says. Raises DisturbedError where it took far longer than `wait`."""
    began = time.monotonic()
    done = ended(wait)
    clock.check_moving(time.monotonic() - began - wait)
    return done


def finish(tree: Tree, output: int, log: CappedLog) -> None:
    """Kill what is left, wait until it is gone, and log the rest of its output.

    Raises SuspectError where something cannot be killed.
    """
    limit = time.monotonic() + KILL_TIMEOUT_S
    tree.kill()
    while not tree.gone(TICK_S):
        drain(output, log)
        tree.kill()
        if time.monotonic() > limit:
            raise SuspectError(f"a sandbox was alive {KILL_TIMEOUT_S:.0f} s after it was killed")
    drain(output, log)


def output_pipe() -> tuple[int, int]:
    """Return the ends of a pipe for a program's output, to read from and to write to.

    Linux gives it 64 KiB. A program that printed more had to wait for the next look, by its own
    clock: 50,000 lines of 200 characters took four seconds.
    """
    reading, writing = os.pipe()
    if sys.platform == "linux":
        with suppress(OSError):  # a user has few of these: a program that prints much waits then
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, CHUNKS_PER_LOOK * CHUNK_BYTES)
    return reading, writing


def drain(output: int, log: CappedLog) -> int:
    """Move what the pipe holds into the log; return its size in bytes."""
    size = 0
    with suppress(BlockingIOError):
        for _ in range(CHUNKS_PER_LOOK):
            data = os.read(output, CHUNK_BYTES)
            log.write(data)
            size += len(data)
    return size
