"""The self-check's attacks, run inside a sandbox: a small one on every line of defence.

Started as `self_check_attacks.py PART /out INPUT TARGET`: a readable file, and JSON of what to
attack (see harness/sandbox/self_check.py). An attack returns one line on what it got, or "" for
nothing; an OSError means that it was refused. What the trusted side can observe, it judges itself;
the rest is reported in /out/escaped.json. Every attack is harmless where it succeeds: it opens and
does not write, queries and does not set, and the next sandbox removes what the one before left.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MIB = 1 << 20
PTRACE_SEIZE = 0x4206
NAMESPACES = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "network": 0x40000000}
HELD_MIB = 256
ON_DISK_S = 0.5  # too much has to stay on the disk this long: less does no harm
CREATED = 0x100
IPC_CREAT, IPC_RMID = 0o1000, 0
SESSION_KEYRING = -3
RAW_DEVICES = ("mem", "kmem", "port", "kmsg", "[hsv]d[a-z]", "nvme[0-9]n[0-9]", "dm-[0-9]", "kvm")
KERNEL = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
)

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Target:
    """What to attack.

    token: marks what belongs to this self-check
    paths: files of the host
    pid: a process of the host with `token` in its environment
    variables: the names of variables that a sandbox is given
    servers: family, kind, address and port (0: none) of sockets of the host
    calls: numbers of system calls, by name
    lease: the slice's cores
    cores: all cores of the machine
    key: key of shared memory
    large_mib: a size beyond the limit on files
    forks: a number beyond the limit on processes
    """

    token: str
    paths: list[str]
    pid: int
    variables: list[str]
    servers: list[tuple[int, int, str, int]]
    calls: dict[str, int]
    lease: list[int]
    cores: list[int]
    key: int
    large_mib: int
    forks: int

    def call(self, name: str, *args: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
        """Make a system call. Raises OSError where it is refused."""
        longs = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
        answer = libc.syscall(self.calls[name], *longs)
        if answer < 0:
            raise OSError(ctypes.get_errno(), name)
        return int(answer)


Attack = Callable[[Target], str]


def files(target: Target) -> str:
    """Read world-readable files of the host."""
    opened = [path for path in target.paths if _opens(path, os.O_RDONLY)]
    return f"may read {', '.join(opened)}" if opened else ""


def inputs(_: Target) -> str:
    """Change an input file."""
    return "may write it" if _opens(sys.argv[3], os.O_WRONLY) else ""


def processes(target: Target) -> str:
    """Find a process of the host by its environment, and kill it."""
    with suppress(OSError):
        os.kill(target.pid, signal.SIGTERM)
    mine = str(os.getpid())
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != mine:
            with suppress(OSError):
                if target.token.encode() in (process / "environ").read_bytes():
                    return f"read the environment of process {process.name}"
    return ""


def environment(target: Target) -> str:
    """Find variables beyond those that a sandbox is given."""
    more = sorted({*os.environ} - {*target.variables, "LC_CTYPE"})  # Python sets LC_CTYPE itself
    return f"sees {', '.join(more)}" if more else ""


def descriptors(target: Target) -> str:
    """Find open descriptors and write to each."""
    held = [number for number in range(3, 1024) if _is_open(number)]
    for number in held:
        with suppress(OSError):
            os.write(number, target.token.encode())
    return f"holds descriptors {held}" if held else ""


def sockets(target: Target) -> str:
    """Reach servers on the host, which observe who came."""
    for family, kind, address, port in target.servers:
        with suppress(OSError), socket.socket(family, kind) as client:
            client.settimeout(1)
            client.connect((address, port) if port else address)
            client.send(b"here")
        if not port:  # one end of a socket pair may send to others
            with suppress(OSError), _closing(*socket.socketpair(family, kind)) as client:
                client.sendto(b"here", address)
    return ""


def rings(target: Target) -> str:
    """Make an io_uring, whose requests no system call filter sees."""
    os.close(target.call("io_uring_setup", 1, ctypes.create_string_buffer(120)))
    return "made an io_uring"


def modes(target: Target) -> str:
    """Change the mode of a file of the host, by its path."""
    path = Path(target.paths[0])
    before = path.stat().st_mode
    path.chmod(before ^ 0o020)
    if path.stat().st_mode == before:
        return ""
    path.chmod(before)
    return "changed a mode"


def limits(target: Target) -> str:
    """Change the limits of a process of the host."""
    resource.prlimit(target.pid, resource.RLIMIT_CORE, (0, 0))
    return "changed the limits of another"


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
    kept = [name for name, try_it in (("a lease", _lease), ("news of /", _hear)) if _done(try_it)]
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


def machine(_: Target) -> str:
    """Read counts of the whole machine, which a neighbour can move."""
    paths = ("/proc/stat", "/proc/loadavg", "/proc/sys/fs/file-nr")
    before = [_text(path) for path in paths]
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    moved = [path for path, text in zip(paths, before, strict=True) if _text(path) != text]
    return f"reads {', '.join(moved)}" if moved else ""


def holders(_: Target) -> str:
    """Write to the memory of the sandbox's other processes, or find one that is less limited."""
    wrong = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            if _opens(str(process / "mem"), os.O_RDWR):
                wrong.append(f"writes to process {process.name}")
            with suppress(OSError):
                files = resource.prlimit(int(process.name), resource.RLIMIT_NOFILE)[1]
                if files > resource.getrlimit(resource.RLIMIT_NOFILE)[1]:
                    wrong.append(f"process {process.name} may open {files} files")
    return ", ".join(wrong[:3])


def kernel_memory(_: Target) -> str:
    """Hold memory of the kernel's that nobody counts."""
    held = [
        name
        for name, make in (("an epoll", select.epoll), ("a TCP socket", socket.socket))
        if _done(make)
    ]
    return f"has {', '.join(held)}" if held else ""


def _done(attempt: Callable[[], object]) -> bool:
    with suppress(OSError, AttributeError):  # not all systems have all calls
        attempt()
        return True
    return False


def tracing(target: Target) -> str:
    """Trace another process."""
    child = os.fork()
    if not child:
        _stay()
    try:
        target.call("ptrace", PTRACE_SEIZE, child, 0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return "traced another process"


def namespaces(target: Target) -> str:
    """Become root of a new namespace."""
    made = [name for name, flag in NAMESPACES.items() if _unshares(target, flag)]
    return f"made {', '.join(made)} namespaces" if made else ""


def packages(_: Target) -> str:
    """Change the interpreter or what is installed for it."""
    files = [spec.origin or "" for name in ("json", "numpy") if (spec := find_spec(name))]
    folders = sorted({sysconfig.get_path("purelib"), *(str(Path(file).parent) for file in files)})
    opened = [path for path in files if _opens(path, os.O_WRONLY)]
    opened += [path for path in folders if _opens(path, os.O_WRONLY | os.O_TMPFILE)]
    return f"may write {', '.join(opened)}" if opened else ""


def kernel(_: Target) -> str:
    """Change the kernel's settings."""
    opened = [path for path in KERNEL if _opens(path, os.O_WRONLY)]
    return f"may write {', '.join(opened)}" if opened else ""


def devices(_: Target) -> str:
    """Open disks and memory as devices."""
    paths = [str(path) for name in RAW_DEVICES for path in Path("/dev").glob(name)]
    opened = [path for path in paths if _opens(path, os.O_RDONLY | os.O_NONBLOCK)]
    return f"may read {', '.join(opened)}" if opened else ""


def privileges(_: Target) -> str:
    """Be root, hold a capability, or be able to gain one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    wrong = [f"{name} {status[name]}" for name in ("CapEff", "CapPrm") if int(status[name], 16)]
    wrong += [f"{name} is 0" for name in ("NoNewPrivs", "Seccomp") if status[name] == "0"]
    wrong += ["is uid 0"] if os.getuid() == 0 else []
    return ", ".join(wrong)


def clock(target: Target) -> str:
    """Set the clock with no values: only privileged callers get success."""
    target.call("settimeofday", 0, 0)
    return "may set the clock"


def keys(target: Target) -> str:
    """Use the kernel's keys, which belong to users rather than sandboxes."""
    target.call("keyctl", 0, SESSION_KEYRING, 0)
    return "holds a keyring"


def faults(target: Target) -> str:
    """Handle page faults, the usual help to attacks on the kernel."""
    os.close(target.call("userfaultfd", 1))
    return "handles page faults"


def cores(target: Target) -> str:
    """Run on cores of other slices."""
    with suppress(OSError):
        os.sched_setaffinity(0, target.cores)
    more = sorted(os.sched_getaffinity(0) - {*target.lease})
    return f"runs on cores {more} too" if more else ""


def priority(_: Target) -> str:
    """Raise this process's priority."""
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)
    return "raised its priority"


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


def forks(target: Target) -> str:
    """Start more processes than allowed, each a daemon that outlives this one."""
    for _ in range(target.forks):
        if not os.fork():
            _stay()
    return f"started {target.forks} processes"


def memory(_: Target) -> str:
    """Hold more memory than is allowed."""
    held = [b"x" * MIB for _ in range(HELD_MIB)]
    time.sleep(60)
    return f"held {len(held)} MiB"


def deadline(_: Target) -> str:
    """Outlive the deadline in a session of its own."""
    if not os.fork():
        _stay()
    time.sleep(60)
    return "lived a minute"


PARTS: dict[str, dict[str, Attack]] = {
    "first": {
        "files": files,
        "inputs": inputs,
        "processes": processes,
        "environment": environment,
        "descriptors": descriptors,
        "sockets": sockets,
        "io_uring": rings,
        "modes": modes,
        "limits": limits,
        "watches": watches,
        "locks": locks,
        "leases": leases,
        "page cache": page_cache,
        "machine counts": machine,
        "holders": holders,
        "kernel memory": kernel_memory,
        "tracing": tracing,
        "namespaces": namespaces,
        "packages": packages,
        "kernel settings": kernel,
        "devices": devices,
        "privileges": privileges,
        "clock": clock,
        "keys": keys,
        "page faults": faults,
        "cores": cores,
        "priority": priority,
        "file size": file_size,
        "links": links,
        "new notes": notes,
    },
    "second": {"notes": found_notes, "forks": forks},
    "disk": {"disk": disk},
    "memory": {"memory": memory},
    "deadline": {"deadline": deadline},
}


def main() -> None:
    """Make the attacks of one part and report what they got."""
    _, part, out, _, text = sys.argv
    target = Target(**json.loads(text))
    report = {name: _attempt(attack, target) for name, attack in PARTS[part].items()}
    Path(out, "escaped.json").write_text(json.dumps(report))
    os._exit(0)


def _attempt(attack: Attack, target: Target) -> str:
    try:
        return attack(target)
    except OSError:
        return ""


@contextmanager
def _closing(ours: socket.socket, theirs: socket.socket) -> Iterator[socket.socket]:
    with ours, theirs:
        yield ours


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text()
    return ""


def _is_open(number: int) -> bool:
    with suppress(OSError):
        os.fstat(number)
        return True
    return False


def _opens(path: str, flags: int) -> bool:
    with suppress(OSError):
        os.close(os.open(path, flags, 0o600))
        return True
    return False


def _unshares(target: Target, flag: int) -> bool:
    child = os.fork()
    if not child:
        with suppress(OSError):
            target.call("unshare", flag)
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _stay() -> None:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
    os._exit(0)


def _fill(path: Path, mib: int) -> str:
    with path.open("wb", 0) as file:
        for _ in range(mib):
            if file.write(bytes(MIB)) < MIB:
                return ""
    return f"wrote {mib} MiB to a file"


def _notes(target: Target) -> Iterator[Path]:
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run", os.environ["HOME"], "/"):  # noqa: S108
        yield Path(folder, f"swarm-self-check-{target.token}")


if __name__ == "__main__":
    main()
