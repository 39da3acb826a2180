"""The self-check: a small attack on every line of defence, made in sandboxes of this machine.

What works elsewhere may fail here: kernels differ, and so do container hosts. So `swarm doctor`
shows the self-check's results, and a launch calls `require_self_check`. The attacks are in
harness/runners/self_check; what can be observed from outside (who reached a socket,
which process died, what was left behind) is judged here.

Not covered: there is one attack for each line of defence, none that would harm the machine if it
succeeded; tests/attacks goes further. The GPU driver itself. Other hosts: none is contacted.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import select
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, Final

import harness.contract
from harness.contract import HarnessError, SandboxKind, SetupError, Slice
from harness.cpus import usable_cores
from harness.sandbox.backends import call_arguments, seccomp, system_calls
from harness.sandbox.backends.environment import environment
from harness.sandbox.backends.interpreter import python_argv
from harness.sandbox.policy import Exit, SandboxPolicy
from harness.sandbox.run import run

PROGRAM: Final = Path(__file__).parents[1] / "runners" / "self_check_attacks.py"
SUBJECTS: Final = PROGRAM.with_name("self_check")

ATTACKS: Final[Mapping[str, str]] = {
    "files": "read the host's files by path",
    "inputs": "change a file that is given to be read",
    "processes": "read and end the host's processes",
    "environment": "see variables of the host's",
    "descriptors": "use the host's open files",
    "tcp": "reach a server of the host's by TCP",
    "udp": "reach a server of the host's by UDP",
    "abstract socket": "reach a server of the host's by an abstract socket",
    "path socket": "reach a server of the host's by a socket that is a file",
    "io_uring": "make a ring, whose requests no filter sees",
    "modes": "change who may open the host's files",
    "limits": "change the limits of the host's processes",
    "watches": "be told of what others do with files",
    "locks": "tell another sandbox something by locks on files",
    "leases": "delay another sandbox by a lease, or hear of its files",
    "page cache": "see what another sandbox has read",
    "machine counts": "read counts of the machine that another sandbox moves",
    "holders": "take over the processes that hold its sandbox, or find one without its limits",
    "kernel memory": "hold memory of the kernel's that nobody counts",
    "terminals": "take the machine's terminals",
    "tracing": "take hold of another process",
    "namespaces": "become root of a namespace of its own",
    "packages": "change the interpreter or what is installed for it",
    "kernel settings": "change core_pattern and the like",
    "devices": "open disks and memory as devices",
    "privileges": "be root, or gain a privilege",
    "clock": "set the clock",
    "keys": "use the kernel's keys",
    "page faults": "handle page faults",
    "cores": "run on other slices' cores",
    "priority": "run before others",
    "file size": "write a file beyond the limit",
    "disk": "fill /tmp beyond the limit",
    "links": "leave behind links and pipes",
    "notes": "leave notes to the next sandbox in files and shared memory",
    "forks": "start processes beyond the limit",
    "memory": "hold memory beyond the limit",
    "daemons": "outlive its first process",
    "deadline": "outlive its time",
}

OPEN_TO_DRIVERS: Final = frozenset({"kernel memory"})
"""Attacks that are not made where a GPU's driver needs what they use (epoll)."""

TIMEOUT_S = 20.0  # a sandbox takes 0.2 s, much longer where the cores are starved
SMALL_MIB = 8  # the limit on files
FORKS = 24  # more than PROCESSES and the four that a core adds
PROCESSES = 12


@dataclass(frozen=True, slots=True)
class SelfCheckAttack:
    """One attack: its name, what it tries, and what escaped in one line ("": it held)."""

    name: str
    tries: str
    escaped: str


def run_self_check(kind: SandboxKind, device: Slice | None = None) -> tuple[SelfCheckAttack, ...]:
    """Attack every line of defence of `kind` once; takes a second or two.

    With `device` the sandboxes are as on that slice: a GPU's see its driver and may call it.

    Raises SetupError where this machine does not support it, HarnessError where a sandbox gives no
    answer.
    """
    with _targets(kind, device) as targets:
        leaks = targets.first() | targets.second() | targets.third() | targets.fourth()
    return tuple(
        SelfCheckAttack(name, tries, leaks[name])
        for name, tries in ATTACKS.items()
        if name in leaks and not (device and device.kind == "cuda" and name in OPEN_TO_DRIVERS)
    )


def require_self_check(kind: SandboxKind) -> None:
    """Raise SetupError naming the first attack that escapes; `none` promises nothing."""
    for attack in run_self_check(kind) if kind != "none" else ():
        if attack.escaped:
            raise SetupError(
                f"the sandbox does not hold here: a program could {attack.tries}"
                f" ({attack.escaped}); see `swarm doctor`"
            )


@dataclass(frozen=True, slots=True)
class _Targets:
    """What is attacked, and the sandboxes that attack it; each method returns what escaped."""

    kind: SandboxKind
    lease: Slice
    folder: Path
    token: str
    servers: Mapping[str, socket.socket]
    bystander: subprocess.Popen[bytes]

    def first(self) -> dict[str, str]:
        """Run the attacks that need neither a second sandbox nor an ending."""
        with _pipe() as (ours, theirs):
            os.set_inheritable(theirs.fileno(), True)
            leaks = self._report("first", self._run_part("first"))
            leaked = _read_closed(ours, theirs)
        reached = select.select(list(self.servers.values()), [], [], 0)[0]
        leaks |= {name: "reached it" * (server in reached) for name, server in self.servers.items()}
        odd = [path.name for path in self._out("first").iterdir() if not _regular(path)]
        leaks["links"] = f"left {', '.join(odd)}" if odd else ""
        leaks["descriptors"] = leaks["descriptors"] or "wrote to one" * bool(leaked)
        leaks["processes"] = leaks["processes"] or "ended one" * (self.bystander.poll() is not None)
        return leaks

    def second(self) -> dict[str, str]:
        """Look in another sandbox for what the first left, and leave daemons."""
        with _pipe() as (ours, theirs):
            ended = self._run_part("second", fds=(theirs.fileno(),), memory_mib=2048)
            leaks = self._report("second", ended)
            alive = _read_closed(ours, theirs) is None
        return leaks | {"daemons": "one is alive" * alive}

    def third(self) -> dict[str, str]:
        """Exceed the limits on files and on memory."""
        ended = self._run_part("disk")
        leaks = {"disk": ""} if ended.killed == "disk" else self._report("disk", ended)
        ended = self._run_part("memory", memory_mib=96)
        stopped = ended.killed == "memory"
        leaks["memory"] = "" if stopped else f"held {ended.peak_mib:.0f} MiB"
        return leaks

    def fourth(self) -> dict[str, str]:
        """Outlive the deadline."""
        with _pipe() as (ours, theirs):
            ended = self._run_part("deadline", fds=(theirs.fileno(),), seconds=0.5)
            alive = _read_closed(ours, theirs) is None or ended.killed != "deadline"
        return {"deadline": "one process is alive" * alive}

    def _run_part(self, part: str, **rules: Any) -> Exit:  # noqa: ANN401  # fields of a Policy
        """Run one part of the attacks in a sandbox of its own."""
        self._out(part).mkdir()
        policy = SandboxPolicy(**self._rules(part) | rules)
        argv = python_argv(
            PROGRAM, part, "/out", "/given/file", json.dumps(self._program_target(policy))
        )
        return run(policy, argv, self._log(part))

    def _rules(self, part: str) -> dict[str, Any]:
        return {
            "slice": self.lease,
            "seconds": TIMEOUT_S,
            "memory_mib": 256,
            "read": {"/given": self.folder / "given", str(SUBJECTS): SUBJECTS},
            "write": {"/out": self._out(part)},
            "processes": PROCESSES,
            "file_mib": SMALL_MIB,
            "tmp_mib": SMALL_MIB,
            "kind": self.kind,
        }

    def _program_target(self, policy: SandboxPolicy) -> dict[str, object]:
        """Return the fields of the attack program's `Target`."""
        machine = seccomp.MACHINES.get(platform.machine(), seccomp.MACHINES["x86_64"])
        more = {"unshare": call_arguments.UNSHARE, "shmctl": (31, 195)}
        calls = system_calls.numbers(machine.column)
        calls |= {name: call[machine.column] for name, call in more.items()}
        paths = [self.folder / "secret", Path("/etc/passwd"), Path(harness.contract.__file__)]
        return {
            "token": self.token,
            "paths": [str(path) for path in paths],
            "pid": self.bystander.pid,
            "variables": list(environment(policy, "")),
            "servers": [_address(server) for server in self.servers.values()],
            "calls": calls,
            "lease": policy.slice.cores,
            "cores": usable_cores(),
            "key": int(self.token[:7], 16) or 1,
            "large_mib": 2 * SMALL_MIB,
            "forks": FORKS,
        }

    def _report(self, part: str, ended: Exit) -> dict[str, str]:
        """Return the attack program's report. Raises HarnessError where there is none."""
        try:
            report: dict[str, str] = json.loads((self._out(part) / "escaped.json").read_text())
        except FileNotFoundError:
            output = self._log(part).read_text(errors="replace").strip()[-300:]
            raise HarnessError(f"a self-check ended with {ended.code}: {output}") from None
        return report

    def _out(self, part: str) -> Path:
        return self.folder / f"{part}-out"

    def _log(self, part: str) -> Path:
        return self.folder / f"{part}.log"


@contextmanager
def _targets(kind: SandboxKind, device: Slice | None) -> Iterator[_Targets]:
    """Yield servers to reach, a process to end and files to read; remove them at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swarm-self-check-")))
        folder.chmod(0o755)
        (folder / "given").mkdir()
        for path, mode in ((folder / "secret", 0o644), (folder / "given" / "file", 0o666)):
            path.touch()
            path.chmod(mode)
        token = secrets.token_hex(8)
        servers = {
            "tcp": socket.create_server(("127.0.0.1", 0)),
            "udp": _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "path socket": _bound(socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "socket")),
        }
        if sys.platform == "linux":
            name = f"\0swarm-self-check-{token}"
            servers["abstract socket"] = _bound(socket.AF_UNIX, socket.SOCK_DGRAM, name)
        for server in servers.values():
            stack.enter_context(server)
        (folder / "socket").chmod(0o777)
        # it reads until our end of the pipe closes, so it ends even where we are killed
        env, pipe = {"SWARM_SELF_CHECK": token}, subprocess.PIPE
        bystander = subprocess.Popen(["/bin/cat"], env=env, stdin=pipe, start_new_session=True)
        stack.enter_context(bystander)
        stack.callback(bystander.kill)
        cores = tuple(usable_cores()[:1])
        lease = replace(device or Slice("self-check", "cpu"), cores=cores)
        yield _Targets(kind, lease, folder, token, servers, bystander)


def _bound(family: int, kind: int, address: str | tuple[str, int]) -> socket.socket:
    server = socket.socket(family, kind)
    server.bind(address)
    return server


def _address(server: socket.socket) -> tuple[int, int, str, int]:
    """Return family, kind, address and port (0: none) of a server."""
    name = server.getsockname()
    address, port = name if server.family == socket.AF_INET else (os.fsdecode(name), 0)
    return server.family, server.type, address, port


@contextmanager
def _pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """Yield the two ends of a pipe, to read from and to write to."""
    ours, theirs = os.pipe()
    with FileIO(ours) as reading, FileIO(theirs, "w") as writing:
        yield reading, writing


def _read_closed(ours: FileIO, theirs: FileIO) -> bytes | None:
    """Close our writing end; return what was written, None while others hold that end open."""
    theirs.close()
    os.set_blocking(ours.fileno(), False)
    return ours.read(64)


def _regular(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)
