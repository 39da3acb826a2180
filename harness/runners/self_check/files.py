"""Attacks by files: what is read, changed, left behind, filled or told by them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from .target import MIB, Target, done, libc, opens

ON_DISK_S = 0.5  # too much has to stay on the disk this long: less does no harm
CREATED = 0x100
IPC_CREAT, IPC_RMID = 0o1000, 0
RAW_DEVICES = ("mem", "kmem", "port", "kmsg", "[hsv]d[a-z]", "nvme[0-9]n[0-9]", "dm-[0-9]", "kvm")


def files(target: Target) -> str:
    """Read world-readable files of the host."""
    opened = [path for path in target.paths if opens(path, os.O_RDONLY)]
    return f"may read {', '.join(opened)}" if opened else ""


def inputs(_: Target) -> str:
    """Change an input file."""
    return "may write it" if opens(sys.argv[3], os.O_WRONLY) else ""


def modes(target: Target) -> str:
    """Change the mode of a file of the host, by its path."""
    path = Path(target.paths[0])
    before = path.stat().st_mode
    path.chmod(before ^ 0o020)
    if path.stat().st_mode == before:
        return ""
    path.chmod(before)
    return "changed a mode"


def packages(_: Target) -> str:
    """Change the interpreter or what is installed for it."""
    files = [spec.origin or "" for name in ("json", "numpy") if (spec := find_spec(name))]
    folders = sorted({sysconfig.get_path("purelib"), *(str(Path(file).parent) for file in files)})
    opened = [path for path in files if opens(path, os.O_WRONLY)]
    opened += [path for path in folders if opens(path, os.O_WRONLY | os.O_TMPFILE)]
    return f"may write {', '.join(opened)}" if opened else ""


def devices(_: Target) -> str:
    """Open disks and memory as devices."""
    paths = [str(path) for name in RAW_DEVICES for path in Path("/dev").glob(name)]
    opened = [path for path in paths if opens(path, os.O_RDONLY | os.O_NONBLOCK)]
    return f"may read {', '.join(opened)}" if opened else ""


def watches(target: Target) -> str:
    """Watch a folder of the host."""
    number = libc.inotify_init1(os.O_NONBLOCK)
    folder = os.fsencode(Path(target.paths[0]).parent)
    watching = number >= 0 and libc.inotify_add_watch(number, folder, CREATED) >= 0
    if number >= 0:
        os.close(number)
    return "watched a folder" if watching else ""


def locks(_: Target) -> str:
    """Take an exclusive lock on a shared file, and see from another opening that it is taken."""
    first, second = (os.open(sys.argv[3], os.O_RDONLY) for _ in range(2))
    fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "a lock crosses sandboxes"
    return ""


def leases(_: Target) -> str:
    """Hold a lease, by which one sandbox delays another, and hear of a folder."""
    kept = [name for name, try_it in (("a lease", _lease), ("news of /", _hear)) if done(try_it)]
    return f"holds {', '.join(kept)}" if kept else ""


def _lease() -> None:
    fcntl.fcntl(os.open(sys.argv[3], os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)


def _hear() -> None:
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # the news
    fcntl.fcntl(os.open("/", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_CREATE)


def page_cache(target: Target) -> str:
    """See which pages of a shared file are in memory."""
    file, vector = os.open(sys.argv[3], os.O_RDONLY), ctypes.create_string_buffer(1)
    place = ctypes.addressof(ctypes.create_string_buffer(1 << 14)) + 4095 & ~4095
    return ", ".join(
        f"has {name}"
        for name, args in (("mincore", (place, 4096, vector)), ("cachestat", (file, 0, 0, 0)))
        if _answers(target, name, args)
    )


def _answers(
    target: Target, name: str, args: tuple[int | ctypes.Array[ctypes.c_char], ...]
) -> bool:
    try:
        target.call(name, *args)
    except OSError as error:
        return error.errno not in (errno.ENOSYS, errno.EPERM)
    return True


def file_size(target: Target) -> str:
    """Write a file beyond the limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    large = Path(sys.argv[2], "large")
    try:
        return _fill(large, target.large_mib)
    finally:
        large.unlink()  # makes room for the report


def disk(target: Target) -> str:
    """Fill /tmp with files that are each within the limit."""
    small = target.large_mib // 4
    with tempfile.TemporaryDirectory(prefix="swarm-self-check-") as folder:
        for n in range(8):
            if not _fill(Path(folder, str(n)), small):
                return ""
        time.sleep(ON_DISK_S)
    return f"wrote {8 * small} MiB to /tmp"


def _fill(path: Path, mib: int) -> str:
    with path.open("wb", 0) as file:
        for _ in range(mib):
            if file.write(bytes(MIB)) < MIB:
                return ""
    return f"wrote {mib} MiB to a file"


def links(_: Target) -> str:
    """Leave files behind that are not regular."""
    out = Path(sys.argv[2])
    out.joinpath("link").symlink_to("/etc/passwd")
    os.mkfifo(out / "pipe")
    return ""


def notes(target: Target) -> str:
    """Leave notes for the next sandbox, which reports what it found."""
    for path in _notes(target):
        with suppress(OSError):
            path.write_text(target.token)
    with suppress(OSError):
        target.call("shmget", target.key, 4096, IPC_CREAT | 0o666)
    return ""


def found_notes(target: Target) -> str:
    """Find and remove what the sandbox before left."""
    notes = [str(path) for path in _notes(target) if path.exists()]
    for path in notes:
        os.unlink(path)  # noqa: PTH108
    with suppress(OSError):
        target.call("shmctl", target.call("shmget", target.key, 0, 0), IPC_RMID, 0)
        notes.append("shared memory")
    return f"found {', '.join(notes)}" if notes else ""


def _notes(target: Target) -> Iterator[Path]:
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run", os.environ["HOME"], "/"):  # noqa: S108
        yield Path(folder, f"swarm-self-check-{target.token}")
