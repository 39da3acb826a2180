"""Runs preflights beside the slices: a candidate that cannot run at all costs no slice time.

    async with PreflightPool(harness, task, data, choose_slices("auto", slices), sandbox) as pool:
        preflight = await pool.check(trial)

Where trials run on CPU cores, preflights run on a core that belongs to no slice, or by default not
at all. On a trial's own core, yielding to it, every second preflight ended within 6 s and the trial
lost a few per cent of its steps; on the next core the trial lost nothing that stood out from noise
(tests/benchmarks/bench_preflight.py, 2 cores that other programs used too). Where trials run on
GPUs any core serves, at the lowest priority.

Not covered:
- What preflights take from trials on GPUs was not measured.
- A hostile candidate can take up to half of a core from a trial where preflights yield: a new
  session of its own is scheduled as a new group (see harness/runners/gpt_preflight.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from harness.contract import Preflight, SandboxKind, Slice, Trial, decode_preflight, encode
from harness.cpus import usable_cores
from swarm.executors.harness_process import HarnessProcess

PreflightMode = Literal["auto", "always", "never"]

MAX_PREFLIGHTS = 2
"""Preflights at one time; one takes half a second of a core, a hung one 30 s."""


@dataclass(frozen=True, slots=True)
class PreflightSlices:
    """Where preflights run."""

    slices: tuple[Slice, ...] = ()
    """Empty: nowhere."""

    shared: bool = False
    """Whether trials run on the same cores."""


def choose_slices(
    mode: PreflightMode, slices: Collection[Slice], cores: Collection[int] | None = None
) -> PreflightSlices:
    """Return where preflights may run beside `slices`, on `cores` (None: all that are usable)."""
    if mode == "never":
        return PreflightSlices()
    usable = usable_cores() if cores is None else sorted(cores)
    pinned = all(slice_.cores for slice_ in slices)
    leased = {core for slice_ in slices for core in slice_.cores}
    spare = [core for core in usable if core not in leased] if pinned else []
    if spare:
        chosen = enumerate(spare[:MAX_PREFLIGHTS])
        return PreflightSlices(tuple(Slice(f"preflight{n}", "cpu", (core,)) for n, core in chosen))
    if mode == "always" or all(slice_.kind != "cpu" for slice_ in slices):
        return PreflightSlices(
            (Slice("preflight0", "cpu", tuple(usable) if pinned else ()),), shared=True
        )
    return PreflightSlices()


class PreflightPool:
    """Trusted harness processes beside the slices, started when first needed."""

    def __init__(  # noqa: PLR0913, PLR0917  # the options of its processes
        self,
        home: Path,
        task: str,
        data: str,
        places: PreflightSlices = PreflightSlices(),
        sandbox: SandboxKind = "namespaces",
        problem: str = "",
    ) -> None:
        """Import the harness from `home` (see harness.fingerprint.export)."""
        setup = {
            "task": task,
            "data": data,
            "problem": problem,
            "sandbox": sandbox,
            "stand_back": places.shared,
        }
        self._processes = [HarnessProcess(home, setup, slice_) for slice_ in places.slices]
        self._idle: asyncio.LifoQueue[HarnessProcess] = asyncio.LifoQueue()
        for process in reversed(self._processes):
            self._idle.put_nowait(process)

    @property
    def available(self) -> bool:
        """Whether there is a place to run them."""
        return bool(self._processes)

    async def check(self, trial: Trial) -> Preflight:
        """Return whether the candidate of `trial` can run at all; its slice is not used.

        It passes if there is no place to run, or if the harness fails: its trial will tell. Raises
        SetupError for what the user must fix.
        """
        if not self._processes:
            return Preflight(ok=True)
        process = await self._idle.get()
        try:
            reply = await process.request(json.dumps({"preflight": json.loads(encode(trial))}))
            if "void" not in reply:
                return await process.record(reply, "preflight", decode_preflight)
        except ConnectionError as error:
            return Preflight(ok=True, tail=f"no preflight: {error}")
        finally:
            self._idle.put_nowait(process)
        return Preflight(ok=True, tail=f"no preflight: {reply['void']}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill the processes and with them all of their sandboxes."""
        await asyncio.gather(*(process.stop() for process in self._processes))
