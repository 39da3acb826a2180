"""Watches a box until nothing of it is alive: its clock, its memory, its output."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Literal, Protocol

from harness.contract import HarnessError
from harness.sandbox.monitor.capped_log import CappedLog

TICK = 0.05  # seconds between two looks; a look takes some 0.1 ms
HASTE = 0.01  # the same, for a tree that has much memory: 1 GiB/s is 10 MiB between two looks
CHUNK = 64 << 10  # what a pipe holds
CHUNKS = 16  # for each look: 20 MiB/s of output pass, and a flood costs us less than a millisecond
GRACE = 10.0  # seconds for killed processes to be gone

Killed = Literal["", "deadline", "memory", "disk"]


class Tree(Protocol):
    """What is watched: every process of a box, and whatever they start."""

    @property
    def peak(self) -> int:
        """The most bytes seen."""

    @property
    def foreign(self) -> float | None:
        """The share of the slice's cores that others had, None where it is not known."""

    def memory(self) -> float:
        """Return the memory held now as a share of what may be held."""

    def full(self) -> bool:
        """Say whether it had written more than it may, when memory was last asked for."""

    def kill(self) -> None:
        """Kill every process."""

    def gone(self, wait: float) -> bool:
        """Say whether none is alive, after waiting at most `wait` seconds for it."""


def watch(  # noqa: PLR0913, PLR0917  # what there is to be watched
    tree: Tree,
    ended: Callable[[float], bool],
    output: int,
    log: CappedLog,
    deadline: float,
    meanwhile: Callable[[], None],
) -> Killed:
    """Wait until the first process ends or the tree has to; return what it was killed for.

    `ended` says whether the first process has, after waiting at most so many seconds; `output` is
    the pipe that the box writes to, `deadline` a time of `time.monotonic`, `meanwhile` is called
    after each look but the first, where there is no haste.
    """
    os.set_blocking(output, False)
    tick = 0.0
    while not ended(max(0.0, min(tick, deadline - time.monotonic()))):
        drain(output, log)
        held = tree.memory()
        if tick == TICK:
            meanwhile()
        tick = HASTE if held > 1 / 2 else TICK
        if tree.full():
            return "disk"
        if held > 1:
            return "memory"
        if time.monotonic() >= deadline:
            return "deadline"
    return ""


def finish(tree: Tree, output: int, log: CappedLog) -> None:
    """Kill what is left, wait until it is gone, and take in the last of its output.

    Raises HarnessError where something cannot be killed.
    """
    limit = time.monotonic() + GRACE
    tree.kill()
    while not tree.gone(TICK):
        drain(output, log)
        tree.kill()
        if time.monotonic() > limit:
            raise HarnessError(f"a box was alive {GRACE:.0f} s after it was killed")
    drain(output, log)


def drain(output: int, log: CappedLog) -> None:
    """Take what the pipe holds into the log."""
    try:
        for _ in range(CHUNKS):
            log.write(os.read(output, CHUNK))
    except BlockingIOError:
        return
