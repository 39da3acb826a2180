"""Runs trials: one trusted harness process per slice, one trial at a time in each.

The processes import the harness from an export of its pinned tree, so that an edit of the
checkout during a run changes nothing. Whoever leaves the `async with` kills them, and a killed
coordinator takes them along (see harness/serve.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, Self

from harness.contract import HarnessError, Outcome, SetupError, Slice, Trial, decode_outcome, encode

LINE = 1 << 20
"""Bytes of one reply at most; the longest part is a capped log tail."""

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from harness.serve import main; main(sys.argv[2])"
)

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SWARM_CACHE", "XDG_CACHE_HOME")


class VoidError(Exception):
    """A trial came to nothing through no fault of its candidate; the message says why."""


class Executor(Protocol):
    """Where trials run. `harness` is the measure's name, known once the executor is entered."""

    harness: str

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial on its slice. Raises VoidError where the harness was at fault."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...


class LocalExecutor:
    """This machine's slices."""

    def __init__(
        self, home: Path, task: str, data: str, slices: tuple[Slice, ...], tier: int = 2
    ) -> None:
        """Import the harness from `home` (see harness.identity.export); all trials at `tier`."""
        self.harness = ""
        setup = {"task": task, "data": data, "tier": tier, "parent": os.getpid()}
        self._servers = {where.name: _Server(home, setup, where) for where in slices}

    async def __aenter__(self) -> Self:
        """Start every slice's process; they must agree on what the measure is."""
        try:
            names = await asyncio.gather(*(server.start() for server in self._servers.values()))
        except BaseException:
            await self.__aexit__()
            raise
        if len(set(names)) != 1:
            raise HarnessError(f"slices of unlike harnesses: {', '.join(sorted(set(names)))}")
        self.harness = names[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill every slice's process, and by that all that runs in its boxes."""
        await asyncio.gather(*(server.stop() for server in self._servers.values()))

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial. Raises VoidError where it must be run again."""
        return await self._servers[trial.slice.name].run(trial)


class _Server:
    """One slice's process and the pipe to it."""

    def __init__(self, home: Path, setup: Mapping[str, object], where: Slice) -> None:
        self._home, self._where = home, where
        self._setup = {**setup, "slice": asdict(where)}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """Start the process and return the harness id that it says."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _BOOT,
            str(self._home),
            json.dumps(self._setup),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(self._where),
            limit=LINE,
            start_new_session=True,
        )
        return str((await self._read())["ready"])

    async def run(self, trial: Trial) -> Outcome:
        """Send `trial`, return its outcome; a process that dies under it is started again."""
        process = self._process
        if process is None or process.returncode is not None or process.stdin is None:
            await self.start()
            return await self.run(trial)
        try:
            process.stdin.write(encode(trial).encode() + b"\n")
            await process.stdin.drain()
            reply = await self._read()
        except asyncio.CancelledError:
            await self.stop()
            raise
        except ConnectionError as error:
            await self.stop()
            raise VoidError(f"slice {self._where.name}: its process ended ({error})") from error
        if "void" in reply:
            raise VoidError(str(reply["void"]))
        return decode_outcome(json.dumps(reply["outcome"]))

    async def stop(self) -> None:
        """Kill the process and wait for its end."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    async def _read(self) -> Mapping[str, object]:
        process = self._process
        if process is None or process.stdout is None or process.stderr is None:
            raise ConnectionResetError("stopped")
        line = await process.stdout.readline()
        if line:
            reply: Mapping[str, object] = json.loads(line)
            return _checked(reply)
        complaint = (await process.stderr.read()).decode(errors="replace").strip()
        last = complaint.splitlines()[-1] if complaint else f"exit status {await process.wait()}"
        raise ConnectionResetError(last)


def _checked(reply: Mapping[str, object]) -> Mapping[str, object]:
    if "setup" in reply:
        raise SetupError(str(reply["setup"]))
    return reply


def _environment(where: Slice) -> dict[str, str]:
    """Return the environment of a harness process: no keys, numpy held to the slice's cores."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    threads = str(len(where.cores) or 1)
    return {
        **kept,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
