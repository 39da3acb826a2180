"""The Landlock system calls: confine signals, files and sockets.

The numbers are those of linux/landlock.h and the same on every architecture. A ruleset applies to
a process and all its descendants for good.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress

from .limits import libc, must

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Rule = tuple[str, int]  # a path, and the rights on it and below

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK = 1 << 6, 1 << 7, 1 << 8, 1 << 9
MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = 1 << 10, 1 << 11, 1 << 12
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
EVERY_FILE_RIGHT = (1 << 16) - 1
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # others: of folders
EVERY_NET_RIGHT = 3  # bind and connect by TCP
ABI_WITH_REFER = 2
ABSTRACT_SOCKETS, SIGNALS = 1, 2  # reach only processes under the ruleset

MAPPINGS = (
    *("smaps", "smaps_rollup", "pagemap", "numa_maps", "clear_refs", "map_files", "task"),
    "autogroup",
)
"""What a process's folder in /proc says of its pages: also whether another process has mapped them.
So two sandboxes that have mapped a library could tell each other which of its pages they touch. The
folders of threads, in `task`, say it again. And the number of its session among the machine's."""

READ = EXECUTE | READ_FILE | READ_DIR
WRITE = WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | REFER
OWN = READ | WRITE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | MAKE_SOCK


def abi() -> int:
    """Return the kernel's version of the Landlock ABI, 0 where it has none."""
    return max(0, int(libc.syscall(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)))


def keep_signals_inside() -> None:
    """Confine the signals of this process and its descendants to themselves. Raises OSError."""
    _enter(_ruleset(files=0, net=0, scoped=SIGNALS))


def keep_tracing_inside(*, mappings: bool, written: bool) -> None:
    """Put this process and its descendants in a domain that refuses nothing but to look out of it.

    Their /proc/PID/mem is closed to them for every process that is not in the domain. Without
    `mappings` they cannot read `MAPPINGS`; this process reads all else of its folder in /proc, its
    children nothing of theirs. Unless /proc may be `written` they write nothing there, where they
    could let the kernel prefer others when memory runs out. Kernels before 5.19 would refuse to
    move files between folders in any domain, so have none.
    """
    if abi() < ABI_WITH_REFER:
        return
    outside = (0 if mappings else READ_FILE) | (0 if written else WRITE_FILE)
    number = _ruleset(files=REFER | outside, net=0, scoped=0)
    _allow_all(number, [("/", REFER)])
    if outside:
        _allow_all(number, [(path, outside) for path in _entries("/", ("proc",))])
    if not mappings:
        readable = (*_entries("/proc", ()), *_entries("/proc/self", MAPPINGS))
        _allow_all(number, [(path, READ_FILE) for path in readable])
    _enter(number)


def _entries(folder: str, left_out: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths in `folder` but the folders of processes."""
    with os.scandir(folder) as entries:
        for entry in entries:  # a link's target is another entry, or `root`, above them all
            if not (entry.is_symlink() or entry.name.isdigit() or entry.name in left_out):
                yield entry.path


def confine(rules: Iterable[Rule]) -> None:
    """Allow only files under `rules`; refuse TCP, abstract sockets and signals to the outside.

    Paths that do not exist or are closed to us are left out. Raises OSError.
    """
    number = _ruleset(EVERY_FILE_RIGHT, EVERY_NET_RIGHT, ABSTRACT_SOCKETS | SIGNALS)
    _allow_all(number, rules)
    _enter(number)


def _allow_all(number: int, rules: Iterable[Rule]) -> None:
    """Add the rules whose paths exist and are open to us."""
    for path, rights in rules:
        with suppress(FileNotFoundError, PermissionError):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                _allow(number, place, rights)
            finally:
                os.close(place)


def _ruleset(files: int, net: int, scoped: int) -> int:
    attributes = struct.pack("QQQ", files, net, scoped)
    number = int(libc.syscall(CREATE_RULESET, attributes, len(attributes), 0))
    must(number < 0, "a Landlock ruleset")
    return number


def _allow(ruleset: int, place: int, rights: int) -> None:
    """Add a rule. `struct landlock_path_beneath_attr` is packed."""
    folder = stat.S_ISDIR(os.fstat(place).st_mode)
    rule = struct.pack("=Qi", rights if folder else rights & OF_A_FILE, place)
    must(libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0), "a Landlock rule")


def _enter(ruleset: int) -> None:
    must(libc.syscall(RESTRICT_SELF, ruleset, 0), "Landlock")
    os.close(ruleset)
