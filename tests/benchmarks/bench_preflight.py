"""Benchmark of a preflight's cost, and of what it takes from a trial on the same core.

    python -m tests.benchmarks.bench_preflight [--pairs 5] [--seconds 8]

First one look after another at the gpt seed on the last core at usual priority: seconds of the core
each. Then trials of the seed there, one alone and one with looks on the same core in turn: looks
stand back for it (`preflight: always` where every core belongs to a slice), and then looks on the
next core (`auto`, where one is spare). Steps tell what the trial lost. Run it on a quiet machine.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

from harness.contract import Rung, Slice
from harness.data import prepare
from swarm.executors.base import ExecutorConfig
from swarm.executors.local import LocalExecutor
from swarm.executors.preflight import PreflightPool, PreflightSlices
from tests.harness.test_preflight import ROOT, TRAIN, trial_of

CORES = sorted(os.sched_getaffinity(0))
CORE, NEXT = CORES[-1], CORES[-2]


def place(core):
    """Return a place for looks on `core`."""
    return Slice("preflight0", "cpu", (core,))


def busy(core):
    """Return the seconds that `core` has worked for anybody."""
    times = psutil.cpu_times(percpu=True)[core]
    return times.user + times.nice + times.system


async def cost(trial, looks):
    """Print what a look takes at usual priority."""
    async with PreflightPool(ROOT, "gpt", "kjv", PreflightSlices((place(CORE),))) as preflights:
        await preflights.check(trial)  # torch is imported now
        walls, works = [], []
        for _ in range(looks):
            began, worked = time.monotonic(), busy(CORE)
            await preflights.check(trial)
            walls.append(time.monotonic() - began)
            works.append(busy(CORE) - worked)
    print(f"a look: {statistics.median(walls):.2f} s, {statistics.median(works):.2f} s of its core")


async def steps(executor, trial, preflights):
    """Run `trial`; return its steps and, where there are `preflights`, how many looks were had."""
    running, looks = asyncio.create_task(executor.run(trial)), 0
    while preflights and not running.done():
        await preflights.check(trial)
        looks += not running.done()
    return (await running).claims["steps"], looks


async def taken(trial, pairs, where):
    """Print what looks at `where` take from trials."""
    executor = LocalExecutor(ROOT, ExecutorConfig("gpt", "kjv"), (trial.slice,))
    async with executor, PreflightPool(ROOT, "gpt", "kjv", where) as preflights:
        await preflights.check(trial)
        rows = []
        for n in range(pairs):
            order = (None, preflights) if n % 2 else (preflights, None)  # neither is always first
            by = {one: await steps(executor, trial, one) for one in order}
            rows.append((by[None][0], *by[preflights]))
            print("  alone {:.0f} steps, with looks {:.0f}, looks {}".format(*rows[-1]), flush=True)
    losses = [100 * (1 - with_ / alone) for alone, with_, _ in rows]
    error = statistics.stdev(losses) / len(losses) ** 0.5
    had = statistics.fmean(looks for _, _, looks in rows)
    kind = "standing back on its core" if where.shared else "on the next core"
    print(
        f"looks {kind}: {statistics.fmean(losses):.1f} ± {error:.1f} % of the steps, {had:.1f} had"
    )


async def main(trial, pairs):
    """Measure all."""
    await cost(trial, 10)
    await taken(trial, pairs, PreflightSlices((place(CORE),), shared=True))
    await taken(trial, pairs, PreflightSlices((place(NEXT),)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    asked = parser.parse_args()
    prepare("kjv")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        seed = trial_of(Path(folder) / "g", TRAIN, "gpt", 2)
        rung = Rung(2, asked.seconds, 4096)
        asyncio.run(
            main(replace(seed, slice=Slice("cpu0", "cpu", (CORE,)), rung=rung), asked.pairs)
        )
