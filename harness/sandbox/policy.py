"""The policy of a sandbox (what its processes may touch) and how it ended."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.contract import LONG_WALL, DisturbedError, SandboxKind, Slice

SENT_BY_OTHERS = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGPIPE, signal.SIGTERM, signal.SIGXCPU}
)
"""Signals that end a process from outside; a fault of its own raises others."""


LEAST_COUNTED = 0.5
"""Share of its CPU time that counts at least, however busy the machine: without this bound a model
that trained for 8 s while it was scored passed a limit of 1.5 s, since others had 85 % of the core.
At loads of 12 to 24 on two cores, which took 64 to 88 % of it, an honest one used a tenth of its
limit."""


@dataclass(slots=True)
class CpuAllowance:
    """CPU time that a sandbox's processes may use, adjusted while it runs by who talks with it.

    Where others have a share of the cores, the same work takes more: its caches are theirs, too. At
    2.6 times the wall time scoring a model of depth 4 took more than twice the CPU time. So time
    used counts less by that share, by half at most.

    limit, used: seconds of CPU time since the start, on cores of its own, `used` as of the last
        look
    until, elapsed: the same in wall time, for work that a device does meanwhile
    """

    limit: float = math.inf
    used: float = 0.0
    until: float = math.inf
    elapsed: float = 0.0

    def allow(self, seconds: float, wall: float = math.inf) -> None:
        """Allow so much more CPU time than is used now, and so much more wall time."""
        self.limit, self.until = self.used + seconds, self.elapsed + wall

    def exceeded(self, used: float | None, elapsed: float = 0.0, lost: float = 0.0) -> bool:
        """Take a look; return whether more is used than allowed.

        used: seconds of CPU time, None where it is not measured
        elapsed: seconds of wall time
        lost: those of them that others have taken
        """
        share = lost / elapsed if elapsed > 0 else 0.0
        self.used, self.elapsed = (used or 0.0) * max(LEAST_COUNTED, 1.0 - share), elapsed
        return self.used > self.limit or self.elapsed > self.until


@dataclass(frozen=True, slots=True)
class SandboxPolicy:
    """Everything a sandbox is given; what is not named here does not exist inside.

    The interpreter that runs this code (its prefix, the system's libraries) is always there,
    read-only. HOME, /tmp and /dev/shm are private and vanish; with Landlock HOME and TMPDIR name
    the private folders, and /dev/shm does not exist. With Landlock or `none` paths are the host's:
    arguments that name a path in `read` or `write` are replaced.

    slice: device share that the program is pinned to
    seconds: time from exec to the last descendant's death, by its clock (`monitor.clock`)
    max_wall: wall time, in such budgets, after which it is void
    clock: whether the program can read its clock (`guest.clock`)
    memory_mib: memory of all processes, with what lies in HOME, /tmp, /dev/shm and `write` folders
    read: host paths to read, by absolute path inside
    late: paths of `read` that may be copies taken when the program starts, so that a sandbox can be
        made before they exist
    write: host folders, by absolute path inside; each begins empty and receives the outputs when
        the sandbox has ended
    bare: whether it sees no file of the host's but those in `read` and its script: only a zygote's
        copy in namespaces can be so; it imports what the zygote holds in memory
    cpu: CPU time that it may use; None: not limited
    outputs: files to take from the `write` folders, with the most bytes of each; None takes every
        regular file
    env: variables added to a fixed list
    secrets: values that its log must not hold (`monitor.redaction`)
    fds: descriptors that stay open under their own numbers; all others are closed
    processes: processes and threads, on top of four for each core
    file_mib: size of all files in a `write` folder
    tmp_mib: size of each of HOME, /tmp and /dev/shm
    kind: what confines the program
    torch: whether torch and its requirements can be imported; numpy always can
    network: whether it has the host's network, instead of none; refused with Landlock
    event_loop: whether epoll and TCP exist, which other languages than Python need; TCP reaches
        the sandbox itself
    all_packages: whether everything that is installed can be imported: nothing is hidden in the
        package folders of the system's and our own Python
    """

    slice: Slice
    seconds: float
    memory_mib: int
    read: Mapping[str, Path] = field(default_factory=dict)
    late: tuple[str, ...] = ()
    write: Mapping[str, Path] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    fds: tuple[int, ...] = ()
    processes: int = 64
    file_mib: int = 1024
    tmp_mib: int = 512
    kind: SandboxKind = "namespaces"
    torch: bool = True
    bare: bool = False
    outputs: Mapping[str, int] | None = None
    cpu: CpuAllowance | None = None
    network: bool = False
    event_loop: bool = False
    max_wall: float = LONG_WALL
    clock: bool = False
    all_packages: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)


DISTURBED_SHARE = 0.75
"""Share of a sandbox's wall time that others may take before too much CPU time says nothing of it:
at a load of 20 on two cores, scoring the seed itself went beyond what an honest model may use."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a sandbox ended. Nothing of it is alive when this exists.

    code: exit status of the first process; negative: the signal
    killed: what the harness killed it for; "cpu": more CPU time than allowed; "disk": more than
        `file_mib` or `tmp_mib` in files, with Landlock, where no mount refuses the write
    seconds: wall time from exec to the last descendant's death
    start: wall time from the call to exec, in seconds
    peak_mib: the most memory seen for the whole tree
    foreign: share of the slice's cores that other programs used meanwhile; None: unknown
    lost: seconds by which others made it wait, which its clock leaves out
    refused: why outputs named by the policy were refused, one line each, by file name
    cpu_seconds: CPU time of all processes; of some where they were killed, or in namespaces that
        were not entered from a zygote
    """

    code: int
    killed: Literal["", "deadline", "memory", "disk", "cpu"]
    seconds: float
    start: float
    peak_mib: float
    foreign: float | None = None
    lost: float = 0.0
    refused: Mapping[str, str] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def check_undisturbed(self) -> None:
        """Raise DisturbedError where the machine, not the program, may have brought the end.

        So it may have where a signal ended it that the harness did not send, and where it used too
        much CPU time on cores that others held too: their caches were never its own. A candidate
        can bring about either, so voids are counted (islands/state/voids.py).
        """
        if self.killed == "cpu" and self.lost > DISTURBED_SHARE * self.seconds:
            reason = f"it used too much CPU time, on cores that others held for {self.lost:.1f} s"
            raise DisturbedError(reason, "busy")
        if not self.killed and -self.code in SENT_BY_OTHERS:
            name = signal.Signals(-self.code).name
            raise DisturbedError(f"{name} ended it, which the harness did not send", "signal")
