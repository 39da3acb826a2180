"""Runs trials on this machine: one trusted harness process per slice, one trial at a time in each.

Leaving the `async with` block kills the processes (see swarm/executors/harness_process.py and
harness/worker.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from harness.contract import HarnessError, Outcome, Slice, Trial, decode_outcome, encode
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.harness_process import HarnessProcess


class LocalExecutor:
    """This machine's slices."""

    def __init__(self, home: Path, terms: ExecutorConfig, slices: Sequence[Slice]) -> None:
        """Import the harness from `home` (see harness.fingerprint.export)."""
        self.harness, self._foreign_cpu = "", terms.foreign_cpu
        setup = {"task": terms.task, "data": terms.data, "sandbox": terms.sandbox}
        self._servers = {where.name: HarnessProcess(home, setup, where) for where in slices}

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

    def current_slice(self, where: Slice) -> Slice:
        """Return `where`: a machine that is lost takes us along."""
        return where

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial. Raises VoidError where it must be run again."""
        name = trial.slice.name
        try:
            reply = await self._servers[name].request(encode(trial))
        except ConnectionError as error:
            raise VoidError(f"slice {name}: its process ended ({error})") from error
        if "void" in reply:
            raise VoidError(str(reply["void"]))
        return _fair(decode_outcome(json.dumps(reply["outcome"])), self._foreign_cpu)


def _fair(outcome: Outcome, foreign_cpu: float | None) -> Outcome:
    """Return `outcome`, or raise VoidError where others took more than that of its cores' time."""
    taken = outcome.facts.get("foreign_cpu", 0.0)
    if foreign_cpu is not None and taken > foreign_cpu:
        raise VoidError(
            f"others took {taken:.1%} of its cores' time, and slices.max_foreign_cpu allows"
            f" {foreign_cpu:.1%}: free this machine of what else runs on it, or allow more"
        )
    return outcome
