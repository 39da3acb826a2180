"""Control groups of version 2: the kernel's own limits on all of a sandbox together.

Where some are ours to make (a systemd user session, root, a container with its own hierarchy) each
sandbox gets one, with bubblewrap and what holds the sandbox in it. The kernel then kills it when
its memory grows faster than the watchdog looks, keeps it out of swap, and refuses forks beyond its
limit whatever user they run as. Elsewhere there are the watchdog and RLIMIT_NPROC alone.

Not covered: version 1, and Landlock sandboxes, whose forks a supervisor counts. What the zygote has
touched first counts for its own group, so the watchdog, which counts it, stays; there are
`HEADROOM_MIB` more than it allows for the kernel's own memory. The tests have files that stand for
the kernel's, and real groups without limits: the machines at hand have these controllers in version
1, so the limits themselves were seen on none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from harness.sandbox.kernel_files import kernel_text

CONTROLLERS = frozenset({"memory", "pids"})
HEADROOM_MIB = 64
"""Beyond a sandbox's limit, which the watchdog enforces: page tables, sockets, stacks."""

OWN_PROCESSES = 4
"""bubblewrap's two, the holder, and one that enters."""

MIB = 1 << 20
_numbers = count()


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A sandbox's control group, to be closed when its processes are dead."""

    folder: Path

    @classmethod
    def make(cls) -> ControlGroup | None:
        """Return a new group without limits, None where this machine gives us none."""
        above = parent_group()
        if above is None:
            return None
        folder = above / f"swarm-{os.getpid()}-{next(_numbers)}"
        try:
            folder.mkdir()
        except OSError:  # no more of them, or taken away since
            return None
        return cls(folder)

    def add(self, pid: int) -> None:
        """Move a process here, with what it starts from now on; 0 is one that is dead."""
        with suppress(OSError):  # it is dead, or was started where we may not move it from
            if pid > 0:  # the kernel takes 0 for the caller
                self._write("cgroup.procs", pid)

    def limit(self, memory_mib: int, processes: int) -> None:
        """Limit what all its processes hold together; whoever exceeds the memory ends them all."""
        limits = {
            "memory.max": (memory_mib + HEADROOM_MIB) * MIB,
            "memory.swap.max": 0,  # absent where there is no swap
            "memory.oom.group": 1,
            "pids.max": processes + OWN_PROCESSES,
        }
        for name, value in limits.items():
            with suppress(OSError):
                self._write(name, value)

    def out_of_memory(self) -> bool:
        """Return whether the kernel has killed it for its memory."""
        with suppress(OSError):
            events = (self.folder / "memory.events").read_text()
            return bool(re.search(r"^oom_kill [1-9]", events, re.MULTILINE))
        return False

    def close(self) -> None:
        """Remove it."""
        with suppress(OSError):
            self.folder.rmdir()

    def __enter__(self) -> ControlGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, name: str, value: int) -> None:
        (self.folder / name).write_text(str(value))


@cache
def parent_group() -> Path | None:
    """Return the group in which to make those of sandboxes, None where there is none."""
    found = delegated(Path("/proc/self/cgroup"), Path("/proc/self/mountinfo"))
    for left in found.glob("swarm-*-*") if found else ():  # by a process that was killed
        if not Path("/proc", left.name.split("-")[1]).exists():
            with suppress(OSError):
                left.rmdir()
    return found


def delegated(own: Path, mounts: Path) -> Path | None:
    """Return the nearest group, from our own upwards, that we may make others in; None for none.

    It must have given its children the controllers of memory and processes, so have no process of
    its own. `own` and `mounts` are files as /proc/self/cgroup and /proc/self/mountinfo.
    """
    for root in _roots(mounts):
        path = re.search(r"^0::(/.*)$", kernel_text(own), re.MULTILINE)
        here = root / path[1].lstrip("/") if path else root
        for folder in (here, *here.parents):
            if not folder.is_relative_to(root):
                break
            if _is_ours(folder):
                return folder
    return None


def _roots(mounts: Path) -> Iterator[Path]:
    """Yield where a hierarchy of version 2 is mounted as a whole."""
    for line in kernel_text(mounts).splitlines():
        words, _, kind = line.partition(" - ")
        fields = words.split()
        if kind.startswith("cgroup2 ") and fields[3] == "/":
            yield Path(fields[4])


def _is_ours(folder: Path) -> bool:
    given = kernel_text(folder / "cgroup.subtree_control").split()
    writable = all(os.access(place, os.W_OK) for place in (folder, folder / "cgroup.procs"))
    return writable and set(given) >= CONTROLLERS
