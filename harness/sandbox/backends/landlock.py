"""Landlock rules: what this kernel lacks, and which of the host's files a sandbox may open.

For hosts that forbid namespaces. A sandbox is confined by Landlock (files, signals, sockets) and a
system call filter that allows no socket, and is watched by a supervisor (see `guest.supervisor`).
There are no mounts: `policy.read` is read in place, HOME and TMPDIR name folders of the harness on
the host's disk, and sandbox paths in arguments are replaced by the host's.

Not covered: whether a file or process exists, and a file's name, size and times, remain visible
(the first read of a day sets a file's time of access). Pids are the machine's, so each fork says
how many processes it has started: 6 to 50 bits a second by receivers in Python. /dev/shm
does not exist, nor /proc/self in processes that the program starts, so workers that share memory do
not work. Disk use is watched, not limited by the kernel: a sandbox may exceed its limit for one
tick (see `monitor.disk`). As a plain user a sandbox has our uid, and what a uid may do besides
opening files is refused call by call: a call missing from the list reaches our files and processes.
The rules for CUDA are untested.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from harness.contract import SetupError, Slice
from harness.sandbox.backends.bubblewrap import CPU_TREE, ETC, SYSTEM
from harness.sandbox.backends.devices import device_nodes, driver_trees
from harness.sandbox.backends.interpreter import (
    GUEST,
    prefixes,
    program_words,
    site_entries,
    site_folders,
)
from harness.sandbox.backends.scratch import ScratchFolders
from harness.sandbox.backends.uids import check_reachable
from harness.sandbox.guest.landlock_syscalls import IOCTL_DEV, OWN, READ, READ_DIR, WRITE_FILE, abi
from harness.sandbox.policy import SandboxPolicy

MIN_ABI = 6  # the first ABI that confines signals and abstract sockets

DEVICES = ("null", "zero", "full", "random", "urandom")
PROC_FILES = ("cpuinfo", "version", "filesystems", "sys/vm/overcommit_memory")
# not all of /proc/self: it and its task folders show the host's network, and `smaps` whether others
# have mapped a page; nor `fdinfo`, which has numbers of the machine's
PROC_SELF_FILES = (
    *("cmdline", "comm", "environ", "fd", "io", "limits", "maps", "mem", "mountinfo"),
    *("mounts", "stat", "statm", "status"),
)

FIX = "Linux 6.12 or later with `landlock` among its security modules (/sys/kernel/security/lsm)"

Rule = tuple[str, int]


def check() -> None:
    """Raise SetupError where this machine cannot make a Landlock sandbox."""
    if sys.platform != "linux":
        raise SetupError(f"`--sandbox landlock` needs Linux and this is {sys.platform}")
    version = abi()
    if version < MIN_ABI:
        has = f"Landlock's ABI {version}" if version else "no Landlock"
        raise SetupError(
            f"`--sandbox landlock` needs Landlock's ABI {MIN_ABI} and this kernel has {has}: {FIX}"
        )
    check_reachable((*prefixes(), *site_entries(), GUEST))


def check_inputs(policy: SandboxPolicy, argv: Sequence[str]) -> None:
    """Raise SetupError for an input that the sandbox's uid cannot reach."""
    check_reachable((*_program_files(argv), *policy.read.values()))


def rules(policy: SandboxPolicy, argv: Sequence[str], folders: ScratchFolders) -> list[Rule]:
    """Return every path that a sandbox may open, with its rights there and below."""
    given = (*site_entries(torch=policy.torch), *_program_files(argv), *policy.read.values())
    # an import lists the folders that it searches
    listed = {GUEST.parent, *(entry.parent for entry in site_entries())}
    hidden = () if policy.all_packages else site_folders()
    common = [*_slice_rules(policy.slice, hidden), *[(str(path), READ_DIR) for path in listed]]
    return [*common, *[(str(p), READ) for p in given], *[(str(p), OWN) for p in folders.all]]


def _program_files(argv: Sequence[str]) -> tuple[Path, ...]:
    program = program_words(argv)
    return (GUEST, *([Path(program[0])] if program else []))


@cache
def _slice_rules(slice_: Slice, hidden: tuple[Path, ...]) -> tuple[Rule, ...]:
    """Return the rules common to all sandboxes of a slice."""
    system = [Path(path) for path in (*SYSTEM, *ETC, CPU_TREE, *driver_trees(slice_))]
    trees = {path.resolve() for path in (*system, *prefixes()) if path.exists()}
    closed = {folder.resolve() for folder in hidden}
    allowed = {(str(path), READ) for tree in trees for path in around(tree, closed)}
    # an import lists the standard library's folder, which may contain hidden ones
    allowed |= {(str(tree), READ_DIR) for tree in trees if _above(tree, closed)}
    allowed |= {(f"/proc/{name}", READ) for name in PROC_FILES}
    allowed |= {(f"/proc/self/{name}", READ) for name in PROC_SELF_FILES}
    allowed |= {(f"/dev/{name}", READ | WRITE_FILE) for name in DEVICES}
    return (*sorted(allowed), *_driver_rules(slice_))


def _driver_rules(slice_: Slice) -> Iterator[Rule]:
    """Yield what CUDA needs besides the driver's trees: it names its threads in /proc."""
    for node in device_nodes(slice_):
        yield str(node), READ | WRITE_FILE | IOCTL_DEV
    if slice_.kind == "cuda":
        yield "/proc/self/task", READ | WRITE_FILE
        yield "/proc/driver", READ
        yield "/proc/devices", READ
        yield "/proc/modules", READ


def around(tree: Path, hidden: Iterable[Path]) -> Iterator[Path]:
    """Yield the fewest paths that cover all of `tree` except what is `hidden`.

    Links are skipped: they lead into the tree, or to what must not be opened.
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
