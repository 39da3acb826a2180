"""Runs trials on this machine: one trusted harness process per slice, one trial at a time in each.

Leaving the `async with` block kills the processes (see swarm/executors/harness_process.py and
harness/worker.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, cast

from harness.contract import (
    MAX_WALL,
    CheckResult,
    HarnessError,
    Outcome,
    Slice,
    Trial,
    VoidCause,
    decode_check,
    decode_outcome,
    encode,
    one_line,
)
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.harness_process import HarnessProcess, Record

MAX_REASON_CHARS = 2_000
"""Characters kept of why a trial is void."""


class LocalExecutor:
    """Runs trials on this machine's slices."""

    def __init__(self, home: Path, config: ExecutorConfig, slices: Sequence[Slice]) -> None:
        """Import the harness from `home` (see harness.fingerprint.export)."""
        self.harness, self._max_foreign_cpu = "", config.max_foreign_cpu
        setup = {
            "task": config.task,
            "data": config.data,
            "problem": config.problem,
            "sandbox": config.sandbox,
        }
        self._processes = {slice_.name: HarnessProcess(home, setup, slice_) for slice_ in slices}

    async def __aenter__(self) -> Self:
        """Start every slice's process.

        Raises HarnessError where one ends before it is ready, and if their harness ids differ.
        """
        try:
            ids = await asyncio.gather(*(self._start(name) for name in self._processes))
        except BaseException:
            await self.__aexit__()
            raise
        if len(set(ids)) != 1:
            raise HarnessError(
                f"slices have different harnesses ({', '.join(sorted(set(ids)))}): set slices.kind,"
                " so that all are on one kind of device"
            )
        self.harness = ids[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill every slice's process and with it all of its sandboxes."""
        await asyncio.gather(*(process.stop() for process in self._processes.values()))

    async def _start(self, name: str) -> str:
        """Start a slice's process and return its harness id."""
        try:
            return await self._processes[name].start()
        except ConnectionError as error:
            raise HarnessError(f"slice {name}: its process did not start ({error})") from error

    def current_slice(self, slice_: Slice) -> Slice:
        """Return `slice_`: a lost machine takes the coordinator with it."""
        return slice_

    async def run(self, trial: Trial) -> Outcome:
        """Run one trial. Raises VoidError if it must be run again."""
        outcome = await self._record(trial, encode(trial), "outcome", decode_outcome)
        # a slice that stays busy measures all the same, at its own noise
        patient = trial.max_wall > MAX_WALL
        return outcome if patient else _undisturbed(outcome, self._max_foreign_cpu)

    async def check(self, trial: Trial) -> CheckResult:
        """Run the problem's checks. Raises VoidError if they must run again."""
        request = json.dumps({"check": json.loads(encode(trial))})
        return await self._record(trial, request, "check", decode_check)

    async def _record(
        self, trial: Trial, request: str, key: str, decode: Callable[[str], Record]
    ) -> Record:
        """Return the record that its slice's process answers. Raises VoidError if it has none."""
        name = trial.slice.name
        process = self._processes[name]
        try:
            reply = await process.request(request)
            if "void" not in reply:
                return await process.record(reply, key, decode)
        except ConnectionError as error:
            raise VoidError(f"slice {name}: its process ended ({error})", "lost") from error
        reason = one_line(str(reply["void"]), MAX_REASON_CHARS)
        raise VoidError(reason, cast(VoidCause, reply.get("cause", "harness")))


def _undisturbed(outcome: Outcome, max_foreign_cpu: float | None) -> Outcome:
    """Return `outcome`; raise VoidError if other programs took more of its cores' time."""
    taken = outcome.facts.get("foreign_cpu", 0.0)
    if max_foreign_cpu is not None and taken > max_foreign_cpu:
        raise VoidError(
            f"others took {taken:.1%} of its cores' time, and slices.max_foreign_cpu allows"
            f" {max_foreign_cpu:.1%}: stop what else runs on this machine, or allow more",
            "busy",
        )
    return outcome
