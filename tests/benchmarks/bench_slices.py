"""Benchmark of slices' wall time: the share inside training budgets, and the rest itemised.

    python -m tests.benchmarks.bench_slices [--minutes 6] [--task gpt]

Runs a real swarm with the mutator in a new repository, on this machine's slices, and itemises the
slices' wall time after the baseline: what the harness says of each trial's phases (`start` a box is
made, `other` files are sealed and cleared away), `around a trial` the way to the harness and back
with the ledger's fsync, `between trials` the verdict, the ledger, and whatever a slice waits for.
torch is imported once for each slice, before the first trial (boxes start warm), so no trial pays
for it. Others' share of the cores says whether the figures are of a quiet machine.
"""

import argparse
import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from islands import events as ev
from swarm.coordinator.assemble import assemble
from swarm.coordinator.launch_options import LaunchOptions
from swarm.coordinator.task_tree import run_islands
from tests.support.target import swarm


class Slots:
    """Follows a run; what its slices did, second by second, from the end of the baseline on."""

    def __init__(self):
        self.spent, self.foreign, self.trials = defaultdict(float), [], 0
        self._free = {}

    def __call__(self, event, state):
        if isinstance(event, ev.TrialStarted):
            if event.slice in self._free:
                self.spent["between trials"] += event.recorded - self._free.pop(event.slice)
        elif isinstance(event, ev.TrialEnded | ev.TrialVoided):
            began = event.started
            if began.purpose != "baseline":
                self._took(began, event)
            if len(state.scores.baseline()) == state.run.baseline_seeds:
                self._free[began.slice] = event.recorded

    def _took(self, began, ended):
        lasted = ended.recorded - began.recorded
        if isinstance(ended, ev.TrialVoided):
            self.spent["void trials"] += lasted
            return
        self.trials += 1
        self.foreign.append(ended.outcome.facts.get("foreign_cpu", 0.0))
        for phase, seconds in ended.outcome.seconds.items():
            self.spent[f"trial: {phase}"] += seconds
        self.spent["around a trial"] += lasted - sum(ended.outcome.seconds.values())


async def measure(repo, minutes):
    """Run for so long and return what the slices did."""
    slots = Slots()
    async with assemble(repo, LaunchOptions(minutes=minutes), slots) as run:
        await run_islands(run)
    return slots


def show(slots):
    """Print each item's share of the slices' wall time."""
    wall, others = sum(slots.spent.values()), fmean(slots.foreign)
    title = f"{wall:.0f} slice seconds after the baseline, {slots.trials} trials"
    table = Table(title=f"{title}; others had {others:.1%} of the cores")
    for heading in ("item", "seconds a trial", "share"):
        table.add_column(heading, justify="right")
    for item, seconds in sorted(slots.spent.items(), key=lambda pair: -pair[1]):
        table.add_row(item, f"{seconds / slots.trials:.3f}", f"{100 * seconds / wall:.1f} %")
    Console(width=100).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--task", default="gpt")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "repo"
        swarm(Path(scratch), "init", place, "--task", asked.task)
        show(asyncio.run(measure(place, asked.minutes)))
