"""What a confined process tree may touch, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.contract import SandboxKind, Slice


@dataclass(frozen=True, slots=True)
class SandboxPolicy:
    """Everything a box is given; what is not named here does not exist inside.

    `read` and `write` map absolute paths inside the box to host paths. The interpreter that runs
    this code (its prefix, the system's libraries) is always there, read-only; HOME, /tmp and
    /dev/shm are private, hold `tmp_mib` each, and vanish. Of what `late` names in `read`, a folder
    or a file, the box may see a copy, taken when its program starts: so it can be made before that.
    A `write` folder begins empty; its regular files, `file_mib` together at most, are on the host
    when the box has ended. `fds` stay open under their own numbers; all others are closed. `env`
    joins a fixed allow-list. `seconds` is wall time from exec to the last descendant's death.
    `processes` counts threads as well, as the kernel does, and comes on top of four for each core.
    `memory_mib` includes what lies in HOME, /tmp, /dev/shm and the `write` folders. `torch` says
    whether torch, and what comes with it, is there to be imported; numpy always is.

    `kind` is 2 for a sandbox, 1 for Landlock on a host that forbids namespaces, 0 for nothing. At
    tiers 1 and 0 paths are the host's: words of a command that name a path in `read` or `write`
    are replaced. At tier 1 HOME and TMPDIR name the private folders, and /dev/shm is not there.
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
    outputs: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a box ended. Nothing of it is alive when this exists.

    `code` is the exit status (negative: the signal) of the first process, `killed` what the
    harness killed it for ("disk": more than `file_mib` or `tmp_mib` in files, at tier 1 where no
    mount refuses it), `seconds` from exec to the last descendant's death, `start` from the
    call to exec, `peak_mib` the largest memory seen for the whole tree, `foreign` the share of
    the slice's cores that others had meanwhile (None: not known).
    """

    code: int
    killed: Literal["", "deadline", "memory", "disk"]
    seconds: float
    start: float
    peak_mib: float
    foreign: float | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
