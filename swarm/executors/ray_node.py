"""The actor on each node of a Ray cluster: the node's own local executor.

The actor gets the harness, the frozen problem and each trial's genome as bytes and returns
outcomes: nodes share no disk. The harness must hash to the id that it was sent under. A reply is a
pair of a kind and a value, since Ray would wrap our exceptions: `done`, `setup` (for the user to
fix), or what voids a trial.

Not covered: a killed actor leaves its temporary folder behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from harness.contract import HarnessError, SetupError, Slice, VoidCause, decode_trial, encode
from harness.fingerprint import tree_id
from harness.problem.travel import unpack_problem
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.local import LocalExecutor
from swarm.executors.require_sandbox import require_sandbox
from swarm.executors.slices import discover
from swarm.project.schema.settings import SlicesSection

Files = Mapping[str, tuple[int, bytes]]
"""A folder's files: mode and content by path."""

Reply = tuple[Literal["done", "setup"] | VoidCause, Any]

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
    """One node's slices; all that Ray lists for the node is leased while this actor exists."""

    def __init__(self, cores: int, find: Find = discover) -> None:
        """Use `cores` of the machine's cores: Ray says how many, not which."""
        self._find = find
        if hasattr(os, "sched_setaffinity"):
            usable = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, usable[:cores])
        self._home = Path(tempfile.mkdtemp(prefix="swarm-node-"))
        self._home.chmod(0o755)  # sandboxes run as another user
        self._executor: LocalExecutor | None = None
        self._problem = ""

    async def slices(self, section: SlicesSection) -> Reply:
        """Return this node's slices."""
        return await _reply(self._slices, section)

    async def open(
        self,
        harness: Files,
        tree: str,
        problem: bytes,
        config: ExecutorConfig,
        slices: Sequence[Slice],
    ) -> Reply:
        """Start the processes of `slices` and return their harness id."""
        return await _reply(self._open, harness, tree, problem, config, slices)

    async def run(self, trial: str, genome: Files) -> Reply:
        """Run a trial of `genome` and return its outcome, both as lines of JSON."""
        return await _reply(self._on_genome, "run", trial, genome)

    async def check(self, trial: str, genome: Files) -> Reply:
        """Run the problem's checks on `genome` and return their result, as lines of JSON."""
        return await _reply(self._on_genome, "check", trial, genome)

    async def close(self) -> None:
        """End all processes and remove the files."""
        if self._executor is not None:
            await self._executor.__aexit__()
        shutil.rmtree(self._home, ignore_errors=True)

    async def _slices(self, section: SlicesSection) -> Sequence[Slice]:
        return self._find(section)

    async def _open(
        self,
        harness: Files,
        tree: str,
        problem: bytes,
        config: ExecutorConfig,
        slices: Sequence[Slice],
    ) -> str:
        require_sandbox(config.sandbox)
        home = self._home / "harness" / tree
        unpack(harness, home / "harness")
        if tree_id(home / "harness") != tree:
            raise HarnessError(f"harness {tree} arrived as {tree_id(home / 'harness')}")
        self._problem = unpack_problem(problem, self._home / "problem")
        here = replace(config, problem=self._problem)
        self._executor = LocalExecutor(home, here, slices)
        await self._executor.__aenter__()
        return self._executor.harness

    async def _on_genome(self, method: Literal["run", "check"], line: str, files: Files) -> str:
        if self._executor is None:
            raise VoidError("the node is not open")
        trial = decode_trial(line)
        genome = self._home / "genomes" / trial.id
        try:
            unpack(files, genome)
            scratch = str(self._home / "trials")
            here = replace(trial, genome=str(genome), scratch=scratch, problem=self._problem)
            if method == "check":
                return encode(await self._executor.check(here))
            return encode(await self._executor.run(here))
        finally:
            shutil.rmtree(genome, ignore_errors=True)


async def _reply(call: Callable[..., Awaitable[Any]], *args: object) -> Reply:
    """Return the reply of a call."""
    try:
        return "done", await call(*args)
    except SetupError as error:
        return "setup", str(error)
    except VoidError as error:
        return error.cause, str(error)
    except HarnessError as error:
        return "harness", str(error)
    except OSError as error:  # no disk space, no processes: this node's failure
        return "harness", f"{type(error).__name__}: {error}"
