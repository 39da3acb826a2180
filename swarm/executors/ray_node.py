"""What runs on each node of a Ray cluster: the node's own executor, in an actor.

The actor is given the harness and each trial's genome as bytes, and gives outcomes back: nodes
share no disk. The harness must hash to the id that it was sent under. Replies are pairs of a word
and a value, as errors of ours would arrive wrapped: `done`, `setup` (the user's to mend), `void`.

Not covered: what a killed actor leaves in its temporary folder stays there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from harness.contract import HarnessError, SetupError, Slice, decode_trial, encode
from harness.fingerprint import tree_id
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.local import LocalExecutor
from swarm.executors.require_sandbox import require_sandbox
from swarm.executors.slices import discover
from swarm.project.schema import SlicesSection

Files = Mapping[str, tuple[int, bytes]]
"""A folder's files: mode and content by path."""

Reply = tuple[Literal["done", "setup", "void"], Any]

Find = Callable[[SlicesSection], Sequence[Slice]]


def packed(folder: Path) -> Files:
    """Return all files below `folder`, byte code left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in files
        if "__pycache__" not in path.parts
    }


def unpack(files: Files, into: Path) -> None:
    """Write `files` below the folder `into`."""
    for name, (mode, data) in files.items():
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)


class Node:
    """One node's slices; all of what Ray says it has is leased to us while this exists."""

    def __init__(self, cores: int, find: Find = discover) -> None:
        """Keep to `cores` of the machine's: Ray counts them, and does not say which."""
        self._find = find
        if hasattr(os, "sched_setaffinity"):
            mine = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, mine[:cores])
        self._home = Path(tempfile.mkdtemp(prefix="swarm-node-"))
        self._home.chmod(0o755)  # boxes have a user of their own
        self._executor: LocalExecutor | None = None

    async def slices(self, wish: SlicesSection) -> Reply:
        """Return this node's slices."""
        return await _told(self._slices, wish)

    async def open(
        self, harness: Files, tree: str, terms: ExecutorConfig, slices: Sequence[Slice]
    ) -> Reply:
        """Start the processes of `slices` and return the name of their measure."""
        return await _told(self._open, harness, tree, terms, slices)

    async def run(self, trial: str, genome: Files) -> Reply:
        """Run a trial of `genome` and return its outcome, both as lines of JSON."""
        return await _told(self._run, trial, genome)

    async def close(self) -> None:
        """End all processes and leave nothing on the disk."""
        if self._executor is not None:
            await self._executor.__aexit__()
        shutil.rmtree(self._home, ignore_errors=True)

    async def _slices(self, wish: SlicesSection) -> Sequence[Slice]:
        return self._find(wish)

    async def _open(
        self, harness: Files, tree: str, terms: ExecutorConfig, slices: Sequence[Slice]
    ) -> str:
        require_sandbox(terms.sandbox)
        home = self._home / "harness" / tree
        unpack(harness, home / "harness")
        if tree_id(home / "harness") != tree:
            raise HarnessError(f"the harness {tree} arrived as {tree_id(home / 'harness')}")
        self._executor = LocalExecutor(home, terms, slices)
        await self._executor.__aenter__()
        return self._executor.harness

    async def _run(self, line: str, files: Files) -> str:
        if self._executor is None:
            raise VoidError("the node is not open")
        trial = decode_trial(line)
        genome = self._home / "genomes" / trial.id
        try:
            unpack(files, genome)
            scratch = str(self._home / "trials")
            return encode(
                await self._executor.run(replace(trial, genome=str(genome), scratch=scratch))
            )
        finally:
            shutil.rmtree(genome, ignore_errors=True)


async def _told(call: Callable[..., Awaitable[Any]], *args: object) -> Reply:
    """Make a call and tell what came of it."""
    try:
        return "done", await call(*args)
    except SetupError as error:
        return "setup", str(error)
    except (VoidError, HarnessError) as error:
        return "void", str(error)
    except OSError as error:  # no space, no processes: this node's trouble
        return "void", f"{type(error).__name__}: {error}"
