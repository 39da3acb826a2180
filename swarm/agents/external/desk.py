"""The desk of one proposal: answers its coding agent's `tried` and `preflight` in the sandbox.

It listens at a Unix socket in the folder that the sandbox is shown. A question is a line of JSON
and so is its answer; whatever else arrives ends its connection. Questions are counted
(`swarm.agents.questions`), and so are connections at one time.

Not covered: an agent that floods the socket keeps its own questions from being answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from islands.records import Entry
from swarm.agents.agent_json import read_json
from swarm.agents.external import box_commands
from swarm.agents.questions import PREFLIGHT, TRIED, Asked

SOCKET: Final = box_commands.SOCKET.rpartition("/")[2]

BOX_COMMANDS: Final = Path(box_commands.__file__)

COMMANDS: Final = ".swarm"
"""The folder of the commands, below the sandbox's HOME."""

MAX_QUESTION_BYTES: Final = 8 << 20
MAX_TURNS: Final = 4
"""Questions of one proposal that are answered at one time."""

MAX_CONNECTIONS: Final = 16
"""Connections of one proposal; the next one is closed, or a flood would take all descriptors."""

QUESTION_S: Final = 30.0
"""Seconds in which a question must have arrived."""

SERVER: Final = (sys.executable, "-I", "-S", "-B", box_commands.__file__)
"""The words that start box_commands.py inside."""

MCP: Final = (*SERVER, "mcp", TRIED, PREFLIGHT)
"""The words that start the MCP server inside, for agents whose shell is taken away."""


def commands() -> dict[str, str]:
    """Return the two commands as files below HOME."""
    start = shlex.join(SERVER)
    return {
        f"{COMMANDS}/{name}": f'#!/bin/sh\nexec {start} {name} "$@"\n'
        for name in ("tried", "preflight")
    }


@asynccontextmanager
async def desk(socket: Path, asked: Asked, paths: Collection[str]) -> AsyncIterator[None]:
    """Answer at `socket` inside the block; `paths`: the files that the agent was given."""
    turns = asyncio.Semaphore(MAX_TURNS)
    open_: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task
        if len(open_) >= MAX_CONNECTIONS:
            writer.close()
            return
        open_.add(task)
        try:
            # this task ends here: asyncio's streams would log a cancellation as an error
            with contextlib.suppress(asyncio.CancelledError, OSError, ValueError, LookupError):
                async with turns:
                    async with asyncio.timeout(QUESTION_S):
                        line = await reader.readline()
                    answer = await _answer(line, asked, paths)
                    writer.write(json.dumps({"answer": answer}).encode() + b"\n")
                    await writer.drain()
        finally:
            open_.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(serve, socket, limit=MAX_QUESTION_BYTES)
    try:
        socket.chmod(0o666)  # noqa: ASYNC240 - as root the sandbox has a uid of its own
        yield
    finally:
        server.close()
        for task in [*open_]:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)


async def _answer(line: bytes, asked: Asked, paths: Collection[str]) -> str:
    """Return the answer to a question. Raises ValueError if it is none."""
    match read_json(line):
        case {"ask": "tried", "words": str(words)}:
            return await asked.tried(words)
        case {"ask": "preflight", "files": {**files}}:
            return await asked.preflight(_changed(files, asked.brief.genome, paths))
    raise ValueError("no question")


def _changed(
    files: Mapping[Any, Any], genome: Mapping[str, str], paths: Collection[str]
) -> dict[str, Entry | None]:
    """Return what files, as an agent sends them, change of those it was given."""
    texts = {path: text for path, text in files.items() if isinstance(text, str)}
    changed: dict[str, Entry | None] = {
        path: Entry(text.encode())
        for path, text in texts.items()
        if genome.get(path) != text or path not in paths
    }
    return changed | {path: None for path in paths if path not in texts}
