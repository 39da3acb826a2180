"""Runs every attack program in one kind of sandbox; prints what succeeded as JSON.

`python tests/attacks/suite.py KIND START [PROGRAM...]`. START is `cold`, or what the process has
imported that every sandbox begins as a copy of, as a run's sandboxes do: `numpy`, or `torch`, whose
copies take five times the CPU time (see harness/sandbox/boot/zygote_client.py); or `bare`, as
`numpy`, where sandboxes see no file of the system's. The evidence is looked for from outside: what
was printed, changed, reached, left behind or still alive. Programs that name no ROOM share one
sandbox.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import platform
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from attack_target import AttackTarget

from harness.contract import HarnessError, SandboxKind, Slice
from harness.sandbox import Exit, SandboxPolicy, SandboxPool, Zygote, python_argv, run
from harness.sandbox.backends import call_arguments, seccomp, system_calls
from harness.sandbox.boot.prewarmed import SandboxShape
from harness.sandbox.boot.zygote_client import NUMPY_MODULES, TORCH_MODULES
from harness.sandbox.monitor import watchdog

HERE = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in (HERE / "programs").glob("*.py"))
SECONDS = 1.0  # of the deadline's room
KILL_S = 2.0  # a survivor of `none`, which nothing can kill, is killed no longer
LINGER_S, LATE_S = 60.0, 30.0  # a survivor's time, and what is late: a loaded machine is neither

MODULES = {"numpy": NUMPY_MODULES, "torch": TORCH_MODULES, "bare": NUMPY_MODULES}

ROOMS = {
    "open": {},
    "disk": {},
    "full": {},
    "hidden": {},
    "forks": {"processes": 16, "memory_mib": 2048},
    "tables": {"memory_mib": 384},
    "sockets": {"memory_mib": 384},
    "memory": {"memory_mib": 384},  # a copy of the process that has imported torch holds 276
    "deadline": {"seconds": SECONDS},
}

NEIGHBOUR = """
import os, sys, time
file = open(sys.argv[1] + "/deleted", "w+"); os.unlink(file.name)
file.write(os.environ["SECRET"]); file.flush()
held = bytearray(("targets" + "=" + os.environ["SECRET"]).encode() * 20)
print(flush=True)
time.sleep(600)
"""

HOST = {
    "secret": "",
    "given/file": "",
    "repo/harness/trial.py": "",
    "repo/harness/__pycache__/measure.cpython-311.pyc": "",
    "repo/.git/config": "",
    "repo/.git/refs/heads/main": "",
    "repo/.git/hooks/pre-commit.sample": "",
    "repo/.git/info/attributes": "",
    "packages/torch.py": "",
    "home/.bashrc": "",
}


@dataclass
class Seen:
    """What the host saw of one attack, and of the sandbox that it was made in.

    `loot` is what it printed, `left` what lies where results are expected, `log` the log's length,
    `late` what lived too long.
    """

    loot: str
    ended: Exit | None
    left: list[Path]
    log: int
    late: str
    reached: set[str]
    leaked: bytes
    victim_ended: bool
    folder: Path
    before: dict[str, bytes]

    @property
    def claim(self) -> str:
        """What the program says that it got."""
        lines = [line for line in self.loot.splitlines() if line.startswith("got ")]
        return ", ".join(lines)

    def changed(self, name: str) -> str:
        """Say which files below `name` are not what they were."""
        now = files(self.folder / name)
        odd = [path for path, held in now.items() if self.before.get(path) != held]
        return f"changed {', '.join(sorted(Path(path).name for path in odd))}" if odd else ""


class Suite:
    """A host to be attacked: files, processes and servers; and what there is to be seen on it."""

    def __init__(self, kind: SandboxKind, start: str, stack: ExitStack) -> None:
        self.kind, self.secret = kind, secrets.token_hex(16)
        if kind == "none":
            watchdog.KILL_TIMEOUT_S = KILL_S
        self.slice = Slice("attacked", "cpu", tuple(cores()[:1]))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="swarm-attacks-"))
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        for name, text in (HOST | {"secret": self.secret}).items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o666)
        shutil.copytree(HERE, self.folder / "attacks", ignore=shutil.ignore_patterns("__pycache__"))
        self.before = files(self.folder)
        self.servers = servers(self.folder, stack)
        os.environ["SECRET"] = self.secret
        self.leak, inherited = os.pipe()
        os.set_inheritable(inherited, True)
        os.set_blocking(self.leak, False)
        self.neighbour = self._child([sys.executable, "-c", NEIGHBOUR, folder], stack)
        self.victim = self._child(["/bin/sh", "-c", "echo; exec sleep 600"], stack)
        self.bare, self.warm = start == "bare", None
        if start in MODULES:
            zygote = stack.enter_context(Zygote(self.slice, MODULES[start]))
            self.warm = stack.enter_context(SandboxPool(zygote))

    def _child(self, words: list[str], stack: ExitStack) -> subprocess.Popen[bytes]:
        child = stack.enter_context(
            subprocess.Popen(words, stdout=subprocess.PIPE, cwd=self.folder)
        )
        stack.callback(child.kill)
        child.stdout.readline()  # until it is ready
        return child

    def target(self) -> AttackTarget:
        """Return what the attackers are shown."""
        column = seccomp.MACHINES[platform.machine()].column
        more = {"unshare": call_arguments.UNSHARE, "shmctl": (31, 195), "msgctl": (71, 187)}
        more |= {"semctl": (66, 191), "mq_unlink": (241, 181), "preadv2": (327, 286)}
        more |= {"madvise": (28, 233), "clone": call_arguments.CLONE}
        return AttackTarget(
            tag=f"swarm-{self.folder.name[-8:]}",
            folder=str(self.folder),
            neighbour=self.neighbour.pid,
            victim=self.victim.pid,
            parent=os.getpid(),
            servers={name: address(each) for name, each in self.servers.items()},
            key=os.getpid() + 1,
            lease=cores()[:1],
            cores=cores(),
            until=time.monotonic() + LINGER_S,
            calls=system_calls.numbers(column)
            | {name: call[column] for name, call in more.items()},
        )

    def attack(self, room: str, turn: str, names: list[str]) -> dict[str, Seen]:
        """Let programs attack from a sandbox, and return what was seen of each."""
        if not names:
            return {}
        out, log = self.folder / f"out-{room}-{turn}", self.folder / f"log-{room}-{turn}"
        out.mkdir()
        usual = {"seconds": 60.0, "memory_mib": 512, "file_mib": 8, "tmp_mib": 8}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        policy = SandboxPolicy(
            self.slice,
            **usual | ROOMS[room],
            read={"/attacks": self.folder / "attacks", "/given": self.folder / "given"},
            write={"/out": out},
            fds=(theirs.fileno(),),
            kind=self.kind,
            bare=self.bare,
        )
        program = self.folder / "attacks" / "run_programs.py"
        target = json.dumps(dataclasses.asdict(self.target()))
        words = ["/out", "/attacks", "/given/file", target, str(theirs.fileno()), turn, *names]
        if self.warm and self.kind == "namespaces":  # prewarmed, as in a run
            make_ahead(self.warm, policy, python_argv(program), self.folder)
        ended, late = None, ""
        with ours:
            with theirs:
                try:
                    ended = run(policy, python_argv(program, *words), log, self.warm)
                except HarnessError as error:
                    late = str(error)
            late = late or lateness(ended, told(ours, names))
        return {name: self._seen(name, ended, out, log, late) for name in names}

    def _seen(self, name: str, ended: Exit | None, out: Path, log: Path, late: str) -> Seen:
        loot = out / name
        came = select.select(list(self.servers.values()), [], [], 0)[0]
        return Seen(
            loot=loot.read_text(errors="replace") if loot.exists() else "",
            ended=ended,
            left=list(out.iterdir()),
            log=log.stat().st_size,
            late=late,
            reached={name for name, each in self.servers.items() if each in came},
            leaked=read(self.leak),
            victim_ended=self.victim.poll() is not None,
            folder=self.folder,
            before=self.before,
        )

    def landed(self, program: object, seen: Seen) -> str:
        """Say what an attack came to: "" where it failed."""
        if hasattr(program, "landed"):
            return str(program.landed(seen))
        return "read the secret" * (self.secret in seen.loot) or seen.claim


def make_ahead(ahead: SandboxPool, policy: SandboxPolicy, argv: list[str], home: Path) -> None:
    """Prewarm a sandbox for this program."""
    ahead.next_trial(home)
    held = ahead.take(policy, argv)
    if held:
        held.close()
    while not any(held.shape == SandboxShape.of(policy, argv) for held in ahead.waiting):
        ahead.prewarm()
    ahead.next_trial(home)


def suite(kind: SandboxKind, start: str, *only: str) -> dict[str, str]:
    """Make every attack, or some, in a sandbox of `kind`; return what each came to, "" if held."""
    sys.path.append(str(HERE / "programs"))
    programs = {name: importlib.import_module(name) for name in only or PROGRAMS}
    result = {}
    with ExitStack() as stack:
        host = Suite(kind, start, stack)
        for room in ROOMS:
            names = [n for n, each in programs.items() if getattr(each, "ROOM", "open") == room]
            turn = "at once" if room == "deadline" else "attack"
            seen = host.attack(room, turn, names)
            result |= {name: host.landed(programs[name], seen[name]) for name in names}
        again = [name for name, each in programs.items() if hasattr(each, "again")]
        for name, found in host.attack("open", "again", again).items():
            result[name] = host.landed(programs[name], found)
    return result


def told(sandbox: socket.socket, names: list[str]) -> bool:
    """Check that every attack was made and none broke by itself; say whether one is alive."""
    said, alive = [], False
    sandbox.setblocking(False)
    with suppress(BlockingIOError):
        alive = True
        while message := sandbox.recv(1 << 14):
            said.append(message.decode(errors="replace"))
        alive = False  # nobody holds the other end any more
    broken = [message for message in said if message.startswith("broken")]
    never = [name for name in names if f"begun {name}" not in said]
    assert not broken and not never, f"broken: {broken}, never made: {never}"
    return alive


def lateness(ended: Exit | None, alive: bool) -> str:
    """Return what of a sandbox lived too long."""
    if ended is None or ended.killed != "deadline":
        return ""
    if alive:
        return "is still alive"
    over = ended.seconds - SECONDS
    return f"lived {over:.1f} s past the deadline" if over > LATE_S else ""


def read(pipe: int) -> bytes:
    """Return what a pipe holds."""
    try:
        return os.read(pipe, 64)
    except BlockingIOError:
        return b""


def files(folder: Path) -> dict[str, bytes]:
    """Return every regular file below `folder` and what it holds."""
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


def servers(folder: Path, stack: ExitStack) -> dict[str, socket.socket]:
    """Start servers of every kind that a process on this machine could reach."""
    path = str(folder / "socket")
    wanted = {
        "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "abstract": (socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{folder.name}"),
        "path": (socket.AF_UNIX, socket.SOCK_DGRAM, path),
    }
    made = {}
    for name, (family, kind, where) in wanted.items():
        made[name] = stack.enter_context(socket.socket(family, kind))
        made[name].bind(where)
        if kind == socket.SOCK_STREAM:
            made[name].listen()
    Path(path).chmod(0o777)
    return made


def address(server: socket.socket) -> tuple[int, int, str, int]:
    """Return family, kind, address and port (0: none) of a server."""
    name = server.getsockname()
    where = name if server.family == socket.AF_INET else (os.fsdecode(name), 0)
    return (int(server.family), int(server.type), *where)


def cores() -> list[int]:
    """Return the processors of this machine that are ours."""
    return sorted(os.sched_getaffinity(0))


if __name__ == "__main__":
    print(json.dumps(suite(*sys.argv[1:])))
