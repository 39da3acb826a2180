"""Tier 0: nothing is confined, but the tree is still ended and its memory watched.

Orphans of the tree come to us, since we ask to be the subreaper, and are found among our children.

Not covered: everything a sandbox is for; and a process that hops from pid to pid faster than it
can be found, or, outside Linux, that has left the process group, outlives the deadline.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from dataclasses import dataclass, field

import psutil

PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class PlainTree:
    """A child without walls, and every process that it starts. `limit` and `peak` are bytes."""

    limit: int
    first: int = 0
    peak: int = 0
    _others: frozenset[int] = field(default_factory=frozenset)

    @classmethod
    def expect(cls, limit: int) -> PlainTree:
        """Return a tree that is about to start; our children of now are none of it."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        return cls(limit, _others=frozenset(p.pid for p in psutil.Process().children()))

    def memory(self) -> float:
        """Return the memory held now as a share of what may be held."""
        held = 0
        for process in self._alive():
            try:
                held += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.peak = max(self.peak, held)
        return held / self.limit

    def kill(self) -> None:
        """Kill every process that can be found, those that are born meanwhile at the next call."""
        for process in self._alive():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def gone(self, wait: float) -> bool:
        """Say whether none is alive, after waiting at most `wait` seconds for it."""
        limit = time.monotonic() + wait
        while self._alive():
            if time.monotonic() > limit:
                return False
            time.sleep(0.002)
        return True

    def bury(self) -> None:
        """Take the status of the orphans that came to us, which nobody else waits for."""
        for process in psutil.Process().children():
            if process.pid not in self._others and process.pid != self.first:
                os.waitpid(process.pid, os.WNOHANG)

    def _alive(self) -> list[psutil.Process]:
        """Return our new children and all their descendants, less those that are dead already."""
        mine = [p for p in psutil.Process().children() if p.pid not in self._others]
        found = []
        for child in mine:
            try:
                found += [child, *child.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return [process for process in found if not _ended(process)]


def _ended(process: psutil.Process) -> bool:
    """Say whether a process is dead; the status of orphans is taken when all is over."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
