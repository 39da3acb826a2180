"""What a confined process tree may touch, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.contract import Slice


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything a box is given; what is not named here does not exist inside.

    `read` and `write` map absolute paths inside the box to host paths. The interpreter that runs
    this code (its prefix, the system's libraries) is always there, read-only; HOME, /tmp and
    /dev/shm are private, hold `tmp_mib` each, and vanish. A `write` folder begins empty; its
    regular files, `file_mib` together at most, are on the host when the box has ended. `fds` stay
    open under their own numbers; all others are closed. `env` joins a fixed allow-list. `seconds`
    is wall time from exec to the last descendant's death. `processes` counts threads as well, as
    the kernel does, and comes on top of four for each core. `memory_mib` includes what lies in
    HOME, /tmp, /dev/shm and the `write` folders.
    """

    slice: Slice
    seconds: float
    memory_mib: int
    read: Mapping[str, Path] = field(default_factory=dict)
    write: Mapping[str, Path] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    fds: tuple[int, ...] = ()
    processes: int = 64
    file_mib: int = 1024
    tmp_mib: int = 512
    tier: int = 2


@dataclass(frozen=True, slots=True)
class Exit:
    """How a box ended. Nothing of it is alive when this exists.

    `code` is the exit status (negative: the signal) of the first process, `killed` what the
    harness killed it for, `seconds` from exec to the last descendant's death, `start` from the
    call to exec, `peak_mib` the largest memory seen for the whole tree.
    """

    code: int
    killed: Literal["", "deadline", "memory"]
    seconds: float
    start: float
    peak_mib: float
