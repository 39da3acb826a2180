"""Benchmark of readers: by how much ten of them at full speed change a run's trial rate.

    python -m tests.benchmarks.bench_readers [--readers 10] [--past 2000] [--blocks 20]

One coordinator, its real ledger and its own refreshes; four islands whose trials sleep for half a
second. In every second block of five seconds the readers ask for the standings as often as they
can, each time of a record that is brought up to date first. They run only where a core is idle
(SCHED_IDLE): processor time that any program would take is not what is asked for, but what locks,
disk and memory cost the writer. Seconds and CPU are of the coordinator, a trial; the ratio of a
block to the one before it comes with its 95 % interval over the pairs of blocks.
"""

import argparse
import asyncio
import math
import multiprocessing
import os
import resource
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from analysis.database.queries import ask
from swarm.cli.launch import _refresh_database
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.intervals import mean_of
from swarm.simulation.virtual_time import run_virtual
from tests.benchmarks.bench_coordinator import Instant, NoGit, Ready, bounded, opened

ISLANDS = 4
TRIAL_S = 0.5
BLOCK_S = 5.0


class Sleeping(Instant):
    """Scores every trial by chance, after TRIAL_S."""

    seconds = TRIAL_S


@dataclass(frozen=True)
class Block:
    """What happened in a block: whether it had readers, its seconds, CPU seconds and trials."""

    read: bool
    wall: float
    cpu: float
    trials: int
    answers: int


def read(folder, going, answers):
    """Ask for the standings while `going`, one question after the other."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        going.wait()
        ask(folder, "FROM standings")
        with answers.get_lock():
            answers.value += 1


class Meter:
    """Ends a block at the first trial's end after BLOCK_S, and switches the readers."""

    def __init__(self, going, answers):
        self.going, self.answers = going, answers
        self.blocks, self.trials, self.since = [], 0, self.now()

    def now(self):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), usage.ru_utime + usage.ru_stime, self.answers.value

    def __call__(self, event, state):
        if event.kind != "trial_ended":
            return
        self.trials += 1
        now = self.now()
        if now[0] - self.since[0] < BLOCK_S:
            return
        wall, cpu, answers = (new - old for new, old in zip(now, self.since, strict=True))
        self.blocks.append(Block(self.going.is_set(), wall, cpu, self.trials, answers))
        self.trials = 0
        (self.going.clear if self.going.is_set() else self.going.set)()
        self.since = self.now()


async def fill(folder, trials):
    """Give the run a past of so many trials."""
    with opened(folder, ISLANDS, Ready, branches=NoGit()) as run:
        await run_islands(bounded(run, trials=trials))


async def measured(folder, asked, going, answers):
    """Return the blocks of the run that goes on, the first two left out."""
    meter = Meter(going, answers)
    with opened(folder, ISLANDS, Ready, branches=NoGit(), executor=Sleeping()) as run:
        run.watch = meter
        tasks = [asyncio.ensure_future(work(run)) for work in (run_islands, _refresh_database)]
        while len(meter.blocks) < asked.blocks + 2:
            await asyncio.sleep(0.2)
            for task in tasks:
                if task.done():
                    task.result()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return meter.blocks[2:]


def ratio(blocks, figure):
    """Return the mean ratio of the blocks with readers to those without, and its interval."""
    pairs = [sorted(pair, key=lambda one: one.read) for pair in zip(blocks[::2], blocks[1::2])]  # noqa: B905 - an odd one is left
    found = mean_of([math.log(figure(busy) / figure(quiet)) for quiet, busy in pairs])
    mean, low, high = (math.exp(value) for value in (found.mean, found.low, found.high))
    return f"x {mean:.4f} [{low:.4f}, {high:.4f}]"


def main(asked):
    """Print the figures."""
    context = multiprocessing.get_context("spawn")
    going, answers = context.Event(), context.Value("q", 0)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        folder = Path(scratch)
        run_virtual(fill(folder, asked.past))
        run = folder / "repo/.swarm/bench"
        readers = [
            context.Process(target=read, args=(run, going, answers), daemon=True)
            for _ in range(asked.readers)
        ]
        for reader in readers:
            reader.start()
        try:
            blocks = asyncio.run(measured(folder, asked, going, answers))
        finally:
            for reader in readers:
                reader.kill()
                reader.join()
    for name, figure in (
        ("seconds a trial", lambda one: one.wall / one.trials),
        ("CPU ms a trial", lambda one: 1e3 * one.cpu / one.trials),
    ):
        quiet, busy = (
            median(figure(one) for one in blocks if one.read is some) for some in (False, True)
        )
        print(f"{name}: {quiet:.4f} alone, {busy:.4f} beside readers, {ratio(blocks, figure)}")
    asked_for = fmean(one.answers / one.wall for one in blocks if one.read)
    print(f"{asked.readers} readers got {asked_for:.1f} answers a second")
    if asked_for < 1:
        print("no core was idle for the readers: run it on a quieter machine")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--past", type=int, default=2_000, help="trials before it begins")
    parser.add_argument("--blocks", type=int, default=20, help="blocks of five seconds")
    main(parser.parse_args())
