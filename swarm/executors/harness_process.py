"""Client of one trusted harness process (harness/worker.py): one line of JSON a request and reply.

The process imports the harness from an export of its pinned tree, so that an edit of the checkout
during a run changes nothing. It ends with the coordinator, even if that is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from harness.contract import SetupError, Slice, one_line
from harness.problem.spec import variables
from islands.environment import secret

MAX_REPLY_BYTES = 1 << 20
"""Largest reply; most of it is a capped log tail."""

MAX_SHOWN_CHARS = 300
"""Characters of an error that a message quotes."""

_BOOT = (
    "import sys; "
    "sys.path.insert(0, sys.argv[1]); "
    "from harness.worker import main; "
    "main(sys.argv[2])"
)

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SWARM_CACHE", "XDG_CACHE_HOME")
DRIVER_PATH = "LD_LIBRARY_PATH"
"""Where containers name the folder of NVIDIA's libraries, without which NVML does not load."""

Record = TypeVar("Record")


class UnreadableReplyError(ConnectionError):
    """A harness process replied what is no reply, so whatever else it says is worth nothing."""

    def __init__(self, error: Exception) -> None:
        text = one_line(f"{type(error).__name__}: {error}", MAX_SHOWN_CHARS)
        super().__init__(f"its reply cannot be read, {text}")


class HarnessProcess:
    """A harness process on one slice; started by `start`, or by the first request."""

    def __init__(self, home: Path, setup: Mapping[str, object], slice_: Slice) -> None:
        """Import the harness from `home` (see harness.fingerprint.export) with `setup`."""
        self._home, self._slice = home, slice_
        self._variables = variables(str(setup.get("problem", "")))
        self._setup = {**setup, "slice": asdict(slice_), "parent": os.getpid()}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """Start the process and return its harness id. Raises SetupError if it cannot serve."""
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
            env=_environment(self._slice, self._variables),
            limit=MAX_REPLY_BYTES,
            start_new_session=True,
        )
        return str((await self._reply(self._process))["ready"])

    async def request(self, line: str) -> Mapping[str, object]:
        """Send `line` and return the reply; start the process again if it has ended.

        Raises ConnectionError with its last line of output if it ends before it replies, and where
        its reply cannot be read, for which it is killed. If the caller is cancelled the process is
        killed, so that no late reply is taken for another's.
        """
        try:
            if self._process is None or self._process.returncode is not None:
                await self.start()
            process = self._process
            if process is None or process.stdin is None:
                raise ConnectionResetError("stopped")
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
            return await self._reply(process)
        except (asyncio.CancelledError, ConnectionError):
            await self.stop()
            raise

    async def record(
        self, reply: Mapping[str, object], key: str, decode: Callable[[str], Record]
    ) -> Record:
        """Return what `decode` makes of `key` in a reply of this process.

        Raises ConnectionError where that cannot be read, for which the process is killed.
        """
        try:
            return decode(json.dumps(reply[key]))
        except (KeyError, ValueError) as error:  # pydantic's are ValueErrors
            await self.stop()
            raise UnreadableReplyError(error) from error

    async def stop(self) -> None:
        """Kill the process and with it all of its sandboxes; wait for its end."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    async def _reply(self, process: asyncio.subprocess.Process) -> Mapping[str, object]:
        if process.stdout is None or process.stderr is None:
            raise ConnectionResetError("no pipe")
        try:
            if line := await process.stdout.readline():
                return _read(line)
        except (ValueError, RecursionError) as error:  # longer than MAX_REPLY_BYTES, or no JSON
            raise UnreadableReplyError(error) from error
        stderr = (await process.stderr.read()).decode(errors="replace").strip()
        last = stderr.splitlines()[-1] if stderr else f"exit status {await process.wait()}"
        raise ConnectionResetError(last)


def _read(line: bytes) -> Mapping[str, object]:
    """Return the reply in `line`. Raises ValueError for what is none, SetupError if it is one."""
    reply = json.loads(line)
    if not isinstance(reply, dict):
        raise ValueError("no object")  # noqa: TRY004 - as json.loads does
    if "setup" in reply:
        raise SetupError(str(reply["setup"]))
    return reply


def _environment(slice_: Slice, variables: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the environment of a harness process: as many threads as cores, and no API keys.

    Except the `variables` that program.md asks for, for the one command that may have them.
    """
    wanted = (*_INHERITED, *variables, *((DRIVER_PATH,) if slice_.kind == "cuda" else ()))
    inherited = {name: value for name in wanted if (value := secret(name))}
    threads = str(len(slice_.cores) or 1)
    return {
        **inherited,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
