"""The sandbox of a coding agent: what it is given, how it is watched, what is read back.

It is the sandbox of namespaces that candidates run in (harness/sandbox): a PID namespace, the same
system call filter, no file of the host's but the system's programs and the agent's installation,
read-only. Scratch copy, HOME and TMPDIR lie in its own memory and vanish with it, so a coordinator
that is killed leaves none of them. It has no network: `guest` passes connections of its loopback to
the Unix sockets that lie in one folder of the host's.

At its time or memory limit, or when the proposal is cancelled, all of it is killed at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from harness.contract import Slice
from harness.sandbox.backends.interpreter import python_argv
from harness.sandbox.kinds.base import Observer
from harness.sandbox.kinds.namespaces import NamespaceSandbox
from harness.sandbox.policy import Exit, SandboxPolicy
from islands.records import Entry
from swarm.agents.external.scratch import read_tree

GUEST: Final = Path(__file__).with_name("guest.py")
"""What runs inside, and is never imported here."""

SCRATCH: Final = "/scratch/genome"
"""The agent's working folder, inside."""

HOME: Final = "/home/sandbox"
SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
SOCKETS: Final = "/run/swarm"
"""The host's folder of Unix sockets, inside."""

WRITABLE_MIB = 512
MAX_PROCESSES = 2048
"""Processes and threads of all agents together where we are root: their sandboxes share a uid."""


@dataclass(frozen=True, slots=True)
class AgentJob:
    """One command to run in a sandbox.

    - `argv`, `env`: the command; `env` is added to a fixed list
    - `files`: texts by absolute path inside, below SCRATCH or HOME
    - `cwd`: the working folder; it exists
    - `stdin`: what the command reads
    - `read`: folders and files of the host's, shown read-only under their own paths
    - `sockets`: the host's folder that becomes SOCKETS, None for none
    - `bridges`: the socket's path inside, by the port of the loopback that leads to it
    - `report`: a JSON file and a key in it, whose value is printed as one line at the end
    - `seconds`: wall time
    - `memory_mib`: memory of all processes and files together
    - `network`: whether it has the host's network
    - `secrets`: values that its log must not hold
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, str]
    cwd: str = SCRATCH
    stdin: str = ""
    read: tuple[Path, ...] = ()
    sockets: Path | None = None
    bridges: Mapping[int, str] = field(default_factory=dict)
    report: tuple[str, str] | None = None
    seconds: float = 600.0
    memory_mib: int = 2048
    network: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a job ended: its exit, what it printed, and the files in its scratch copy.

    The output ends with the last part of its standard error, and holds no secret of the job.
    """

    exit: Exit
    output: str
    files: Mapping[str, Entry]

    @property
    def code(self) -> int:
        """Exit status, 128 and more for a signal."""
        return self.exit.code


async def run_job(job: AgentJob, genome: tuple[str, ...], log: Path) -> Finished:
    """Run `job` to its end; its output goes to the file `log`, 1 MiB at most.

    Only the paths of `genome` are read back from its scratch copy. Cancelling kills it, and returns
    when nothing of it is alive. Raises SetupError where this machine cannot make the sandbox,
    HarnessError where it does not start, ScratchError where it left too much.
    """
    unwanted = threading.Event()
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Finished] = loop.create_future()

    # a thread of its own: the sandbox dies with the thread that made it
    def work() -> None:
        try:
            finished = _run(job, genome, log, unwanted)
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            report(partial(done.set_exception, error))
        else:
            report(partial(done.set_result, finished))

    def report(settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            loop.call_soon_threadsafe(lambda: None if done.done() else settle())

    thread = threading.Thread(target=work, name="coding agent")
    thread.start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        unwanted.set()
        await asyncio.shield(asyncio.wait([done]))
        raise
    finally:
        unwanted.set()


def _run(job: AgentJob, genome: tuple[str, ...], log: Path, unwanted: threading.Event) -> Finished:
    number = os.memfd_create("job", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(json.dumps(_described(job)).encode())
        os.lseek(number, 0, os.SEEK_SET)
        policy = _policy(job, number)
        argv = python_argv(GUEST, str(number))
        with Observer(log, policy) as observer:
            sandbox = NamespaceSandbox(observer.policy, argv, observer, None)
            with sandbox:
                program = sandbox.program

                def ended(wait: float) -> bool:
                    return unwanted.is_set() or program.ended(wait)

                exit_ = observer.watch(program, sandbox.tree, _nothing, ended)
                tree = read_tree(program.handles[-1], SCRATCH.rpartition("/")[2], genome)
    finally:
        os.close(number)
    return Finished(exit_, log.read_text(errors="replace"), tree.files)


def _nothing() -> None: ...


def _described(job: AgentJob) -> dict[str, object]:
    """Return what `guest` reads."""
    env = {
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "PATH": SYSTEM_PATH,
        "TMPDIR": "/tmp",  # noqa: S108 - the sandbox's own
        "USER": "sandbox",
    }
    return {
        "argv": list(job.argv),
        "env": {**env, **job.env},
        "files": dict(job.files),
        "cwd": job.cwd,
        "stdin": job.stdin,
        "report": job.report,
        "bridges": {str(port): path for port, path in job.bridges.items()},
    }


def _policy(job: AgentJob, number: int) -> SandboxPolicy:
    read = {str(path): path for path in job.read}
    read[str(GUEST)] = GUEST
    if job.sockets is not None:
        read[SOCKETS] = job.sockets
    return SandboxPolicy(
        slice=Slice("agent", "cpu"),
        seconds=job.seconds,
        memory_mib=job.memory_mib,
        read=read,
        write={SCRATCH.rpartition("/")[0]: Path("/nonexistent")},  # read by `read_tree`
        fds=(number,),
        processes=MAX_PROCESSES,
        file_mib=WRITABLE_MIB,
        tmp_mib=WRITABLE_MIB,
        torch=False,
        network=job.network,
        event_loop=True,
        secrets=job.secrets,
    )
