"""Looks at candidates beside the slices: what cannot run costs no slice time.

    async with PreflightPool(home, task, data, choose_slices("auto", slices), sandbox) as pool:
        found = await pool.check(trial)

Where trials run on CPU cores, a look runs on a core that belongs to no slice, or by itself not at
all: where it stood back on a trial's own core, every second one was had within 6 s and the trial
lost a few per cent of its steps; on the next core it lost nothing that could be told from noise
(tests/benchmarks/bench_preflight.py, 2 cores that others used too). Where trials run on GPUs every
core will
do, at the lowest priority.

Not covered:
- What looks take from trials on GPUs was not measured, for want of one.
- A hostile candidate can take up to half of a core from a trial where looks stand back: a new
  session of its own is weighed afresh (see harness/runners/gpt_preflight.py).
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
"""Looks at one time: one takes half a second of a core, and a hung one 30 s."""


@dataclass(frozen=True, slots=True)
class PreflightSlices:
    """Where looks run: nowhere, if there are no slices; `shared` says that trials run there too."""

    slices: tuple[Slice, ...] = ()
    shared: bool = False


def choose_slices(
    wish: PreflightMode, slices: Collection[Slice], cores: Collection[int] | None = None
) -> PreflightSlices:
    """Return where looks may run beside `slices`, on `cores` (those we may use if None)."""
    if wish == "never":
        return PreflightSlices()
    mine = usable_cores() if cores is None else sorted(cores)
    pinned = all(where.cores for where in slices)
    leased = {core for where in slices for core in where.cores}
    spare = [core for core in mine if core not in leased] if pinned else []
    if spare:
        chosen = enumerate(spare[:MAX_PREFLIGHTS])
        return PreflightSlices(tuple(Slice(f"preflight{n}", "cpu", (core,)) for n, core in chosen))
    if wish == "always" or all(where.kind != "cpu" for where in slices):
        return PreflightSlices(
            (Slice("preflight0", "cpu", tuple(mine) if pinned else ()),), shared=True
        )
    return PreflightSlices()


class PreflightPool:
    """Trusted processes that lease no slice, started when first needed."""

    def __init__(
        self,
        home: Path,
        task: str,
        data: str,
        where: PreflightSlices = PreflightSlices(),
        sandbox: SandboxKind = "namespaces",
    ) -> None:
        """Import the harness from `home` (see harness.fingerprint.export)."""
        setup = {"task": task, "data": data, "sandbox": sandbox, "stand_back": where.shared}
        self._servers = [HarnessProcess(home, setup, each) for each in where.slices]
        self._idle: asyncio.LifoQueue[HarnessProcess] = asyncio.LifoQueue()
        for server in reversed(self._servers):
            self._idle.put_nowait(server)

    @property
    def available(self) -> bool:
        """Whether anybody can look."""
        return bool(self._servers)

    async def check(self, trial: Trial) -> Preflight:
        """Say what is against the candidate of `trial`, whose slice is left alone.

        Where nobody can look, or the harness is at fault, nothing is: its trial will tell. Raises
        SetupError where the user must mend something.
        """
        if not self._servers:
            return Preflight(ok=True)
        server = await self._idle.get()
        try:
            reply = await server.request(json.dumps({"preflight": json.loads(encode(trial))}))
        except ConnectionError as error:
            return Preflight(ok=True, tail=f"no look was had: {error}")
        finally:
            self._idle.put_nowait(server)
        if "void" in reply:
            return Preflight(ok=True, tail=f"no look was had: {reply['void']}")
        return decode_preflight(json.dumps(reply["preflight"]))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill the processes, and by that all that runs in their boxes."""
        await asyncio.gather(*(server.stop() for server in self._servers))
