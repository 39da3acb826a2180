"""The share of a machine that trials may use: cores in order, CPU quota, memory, present load.

Linux keeps a container's limits in control groups, of version 2 or 1; the tightest of a group and
all above it holds. Elsewhere there is no quota, and the cores come as they are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.cpus import usable_cores

SPARE_FROM = 4
"""Cores from which `auto` leaves one free for the person at the machine."""

LOOK_S = 0.3

BUSY_SHARE = 0.15
"""Share of the cores' time above which the machine counts as busy."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """Where the kernel's files are; tests make their own."""

    cgroups: Path = Path("/sys/fs/cgroup")
    own: Path = Path("/proc/self/cgroup")
    topology: Path = Path("/sys/devices/system/cpu")
    meminfo: Path = Path("/proc/meminfo")

    def ordered_cores(self) -> list[int]:
        """Return the usable cores within the quota: each whole core before its hyper-threads."""
        cores = sorted(usable_cores(), key=lambda core: (self._place(core), core))
        quota = self.cpu_quota()
        return cores if quota is None else cores[: max(1, int(quota))]

    def cpu_quota(self) -> float | None:
        """Return how many cores' time this process and its children may use, None for any."""
        quotas = [
            quota / period
            for folder in self._folders("cpu")
            for quota, period in _quotas(folder)
            if quota > 0 and period > 0
        ]
        return min(quotas, default=None)

    def memory_mib(self) -> int | None:
        """Return the memory that may be used, None where the machine does not tell."""
        sizes = [
            int(text)
            for folder in self._folders("memory")
            for name in ("memory.max", "memory.limit_in_bytes")
            if (text := _read(folder / name)).isdigit()
        ]
        total = [line.split()[1] for line in _read(self.meminfo).splitlines() if "MemTotal" in line]
        sizes += [int(kib) << 10 for kib in total]
        return min(sizes) // MIB if sizes else None

    def _folders(self, controller: str) -> Iterator[Path]:
        """Yield this process's control groups of a controller, and those above them."""
        for line in _read(self.own).splitlines():
            _, names, path = line.split(":", 2)
            if names and controller not in names.split(","):
                continue
            root = self.cgroups / names if names else self.cgroups
            roots = [root, self.cgroups / controller] if names else [root]
            for base in roots:
                below = base / path.lstrip("/")
                yield from (each for each in (below, *below.parents) if each.is_relative_to(base))

    def _place(self, core: int) -> int:
        """Return the place of a core among the hyper-threads of its physical core."""
        text = _read(self.topology / f"cpu{core}" / "topology" / "thread_siblings_list")
        return sum(sibling < core for sibling in _numbers(text))


@dataclass(frozen=True, slots=True)
class CpuLoad:
    """The load of this machine.

    - `busy`: share of each core's time that is used, by its number
    - `ready`: programs that are ready to run, for each usable core (the load average)
    """

    busy: Mapping[int, float]
    ready: float = 0.0

    def of(self, cores: Collection[int]) -> CpuLoad:
        """Return the load of some cores."""
        return CpuLoad({n: busy for n, busy in self.busy.items() if n in cores}, self.ready)

    @property
    def share(self) -> float:
        """The mean of all cores."""
        return sum(self.busy.values()) / len(self.busy) if self.busy else 0.0

    @classmethod
    def look(cls, cores: Sequence[int], stat: Path = Path("/proc/stat")) -> CpuLoad:
        """Look for LOOK_S at `cores`; nothing is known outside Linux."""
        first, began = _idle(stat), time.monotonic()
        if not first:
            return cls({})
        time.sleep(LOOK_S)
        last, elapsed = _idle(stat), time.monotonic() - began
        return cls(
            {
                core: min(1.0, max(0.0, 1 - (last[core] - first[core]) / elapsed))
                for core in cores
                if core in first and core in last
            },
            os.getloadavg()[0] / max(1, len(cores)),
        )


def _idle(stat: Path) -> dict[int, float]:
    """Return the seconds that each core was idle."""
    rows = [line.split() for line in _read(stat).splitlines() if line.startswith("cpu")]
    ticks = os.sysconf("SC_CLK_TCK")
    return {
        int(row[0][3:]): (int(row[4]) + int(row[5])) / ticks for row in rows if row[0][3:].isdigit()
    }


def _quotas(folder: Path) -> Iterator[tuple[int, int]]:
    words = _read(folder / "cpu.max").split()
    if len(words) > 1 and words[0].isdigit():
        yield int(words[0]), int(words[1])
    quota, period = (_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if quota.isdigit() and period.isdigit():  # -1 is no quota
        yield int(quota), int(period)


def _numbers(text: str) -> set[int]:
    """Return the numbers of a list such as 0-3,8."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
