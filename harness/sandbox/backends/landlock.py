"""Tier 1's walls: say what is missing, and which of the host's files a box may open.

For hosts that forbid namespaces. A box is confined by Landlock (files, signals, sockets) and a
filter of its system calls that knows no socket at all, and is kept by a warden (see
`within.warden`). There are no mounts: what `policy.read` names is read where it lies, HOME and
/tmp are folders of the harness's own on the host's disk, which the environment names, and paths
of the box in its arguments are replaced by the host's.

Not covered: whether a file or process exists, and a file's name, size and times, anybody may still
ask. /dev/shm and, in processes that the program starts, /proc/self are not there, so that workers
that share memory do not work. Room on the disk is watched, not walled: a box may write for a tick
more than it may (see `disk`). As a plain user a box has our uid, and what a uid may do beside
opening files is refused call by call: a call that this misses reaches our files and processes.
The rules for CUDA were never tried.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from harness.contract import SetupError, Slice
from harness.sandbox.backends.bubblewrap import CPUS, ETC, SYSTEM
from harness.sandbox.backends.devices import device_nodes, driver_trees
from harness.sandbox.backends.interpreter import (
    WITHIN,
    prefixes,
    program_words,
    site_entries,
    site_folders,
)
from harness.sandbox.backends.scratch import ScratchFolders
from harness.sandbox.backends.uids import check_reachable
from harness.sandbox.guest.landlock_syscalls import IOCTL_DEV, OWN, READ, READ_DIR, WRITE_FILE, abi
from harness.sandbox.policy import SandboxPolicy

SCOPES = 6  # the ABI from which on signals and abstract sockets can be held back

DEVICES = ("null", "zero", "full", "random", "urandom")
MACHINE = ("cpuinfo", "meminfo", "stat", "version", "filesystems", "sys/vm/overcommit_memory")
# not the whole folder: it shows the host's network, as do the folders of its threads
MYSELF = (
    *("cmdline", "comm", "environ", "fd", "fdinfo", "io", "limits", "maps", "mem", "mountinfo"),
    *("mounts", "smaps", "smaps_rollup", "stat", "statm", "status"),
)

MEND = "Linux 6.12 or later with `landlock` among its security modules (/sys/kernel/security/lsm)"

Rule = tuple[str, int]


def check() -> None:
    """Raise SetupError where this machine cannot make a box of tier 1."""
    if sys.platform != "linux":
        raise SetupError(f"`--sandbox landlock` needs Linux and this is {sys.platform}")
    found = abi()
    if found < SCOPES:
        has = f"Landlock's ABI {found}" if found else "no Landlock"
        raise SetupError(
            f"`--sandbox landlock` needs Landlock's ABI {SCOPES} and this kernel has {has}: {MEND}"
        )
    check_reachable((*prefixes(), *site_entries(), WITHIN))


def check_inputs(policy: SandboxPolicy, argv: Sequence[str]) -> None:
    """Raise SetupError for an input that a box's user cannot reach."""
    check_reachable((*_ours(argv), *policy.read.values()))


def rules(policy: SandboxPolicy, argv: Sequence[str], folders: ScratchFolders) -> list[Rule]:
    """Return every path that a box may open, and what it may do there and below."""
    given = (*site_entries(torch=policy.torch), *_ours(argv), *policy.read.values())
    # an import lists the folder that it looks in
    looked = {WITHIN.parent, *(entry.parent for entry in site_entries())}
    found = [*_machine(policy.slice), *[(str(path), READ_DIR) for path in looked]]
    return [*found, *[(str(p), READ) for p in given], *[(str(p), OWN) for p in folders.all]]


def _ours(argv: Sequence[str]) -> tuple[Path, ...]:
    program = program_words(argv)
    return (WITHIN, *([Path(program[0])] if program else []))


@cache
def _machine(where: Slice) -> tuple[Rule, ...]:
    """Return the rules that all boxes of a slice have."""
    system = [Path(path) for path in (*SYSTEM, *ETC, CPUS, *driver_trees(where))]
    trees = {path.resolve() for path in (*system, *prefixes()) if path.exists()}
    hidden = {folder.resolve() for folder in site_folders()}
    found = {(str(path), READ) for tree in trees for path in around(tree, hidden)}
    # the standard library's own folder, which an import lists, may hold what is hidden
    found |= {(str(tree), READ_DIR) for tree in trees if _above(tree, hidden)}
    found |= {(f"/proc/{name}", READ) for name in MACHINE}
    found |= {(f"/proc/self/{name}", READ) for name in MYSELF}
    found |= {(f"/dev/{name}", READ | WRITE_FILE) for name in DEVICES}
    return (*sorted(found), *_driver(where))


def _driver(where: Slice) -> Iterator[Rule]:
    """Yield what CUDA needs beside the driver's trees: it names its threads, in /proc."""
    for node in device_nodes(where):
        yield str(node), READ | WRITE_FILE | IOCTL_DEV
    if where.kind == "cuda":
        yield "/proc/self/task", READ | WRITE_FILE
        yield "/proc/driver", READ
        yield "/proc/devices", READ


def around(tree: Path, hidden: Iterable[Path]) -> Iterator[Path]:
    """Yield the fewest paths that lead to all of `tree` except to what is `hidden`.

    A link leads to where it leads: into the tree, or to what nobody meant to open.
    """
    below = _above(tree, hidden)
    if not below:
        yield tree
    elif tree not in below:
        for entry in sorted(os.scandir(tree), key=lambda entry: entry.name):
            if not entry.is_symlink():
                yield from around(Path(entry.path), below)


def _above(tree: Path, hidden: Iterable[Path]) -> list[Path]:
    return [folder for folder in hidden if folder.is_relative_to(tree)]
