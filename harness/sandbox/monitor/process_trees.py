"""Tier 0: nothing is confined, but the tree is still ended and its memory watched.

Orphans of the tree come to us, since we ask to be the subreaper while it is alive, and so are found
among our children.

Not covered: everything a sandbox is for. A process that hops from pid to pid faster than it can be
found outlives the deadline; outside Linux so does every orphan.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from contextlib import suppress

import psutil

PR_SET_CHILD_SUBREAPER = 36


class PlainTree:
    """A child without walls, and every process that it starts; `first` is the child's pid.

    Made before the child is, since our children of then are none of the tree. `limit` and `peak`
    are bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.peak = 0
        self.first = 0
        self._others = {child.pid for child in psutil.Process().children()}

    def __enter__(self) -> PlainTree:
        _adopt(orphans=True)
        return self

    def __exit__(self, *_: object) -> None:
        _adopt(orphans=False)

    @property
    def foreign(self) -> float | None:
        """Return None: what others had of the slice's cores is not measured without walls."""
        return None

    def memory(self) -> float:
        """Return the memory held now as a share of what may be held."""
        held = 0
        for process in self._look()[0]:
            with suppress(psutil.NoSuchProcess):
                held += process.memory_info().rss
        self.peak = max(self.peak, held)
        return held / self.limit

    def full(self) -> bool:
        """Return False: nothing is confined."""
        return False

    def kill(self) -> None:
        """Kill every process that can be found, those that are born meanwhile at the next call."""
        for process in self._look()[0]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def gone(self, wait: float) -> bool:
        """Say whether none is alive, after waiting at most `wait` seconds for it.

        Two looks in a row have to find nothing: a process may come to us while we look elsewhere.
        """
        limit, quiet = time.monotonic() + wait, 0
        while quiet < 2:  # noqa: PLR2004  # two looks
            busy = any(self._look())
            quiet = 0 if busy else quiet + 1
            if busy and time.monotonic() > limit:
                return False
            time.sleep(0.002 * busy)
        return True

    def _look(self) -> tuple[list[psutil.Process], bool]:
        """Return what is alive of the tree, and whether there were orphans that had died.

        These are taken leave of at every look: a storm of short lives leaves thousands. One look
        at all of the machine's processes serves for the whole tree; a look for each of its
        processes had not ended after 8 minutes where 8 had hopped through 8,000 pids (measured).
        """
        below: dict[int, list[psutil.Process]] = {}
        for process in psutil.process_iter(["ppid", "status"]):
            below.setdefault(process.info["ppid"], []).append(process)
        mine = [child for child in below.get(os.getpid(), []) if child.pid not in self._others]
        orphans = [child.pid for child in mine if _dead(child) and child.pid != self.first]
        for pid in orphans:
            os.waitpid(pid, 0)
        alive: list[psutil.Process] = []
        while mine:
            process = mine.pop()
            mine += below.get(process.pid, [])
            alive += [] if _dead(process) else [process]
        return alive, bool(orphans)


def _adopt(*, orphans: bool) -> None:
    """Say whether orphans of ours come to us or, as usual, to the machine's first process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(orphans), 0, 0, 0)


def _dead(process: psutil.Process) -> bool:
    return bool(process.info["status"] == psutil.STATUS_ZOMBIE)
