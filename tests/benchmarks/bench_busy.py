"""Benchmark of real runs on a busy machine: what they gain, and whether their claims hold in quiet.

    python -m tests.benchmarks.bench_busy bursts     # busy loops, half of the time
    python -m tests.benchmarks.bench_busy constant   # busy loops from before the baseline on
    python -m tests.benchmarks.bench_busy rest --repeats 10 --seconds 20
    python -m tests.benchmarks.bench_busy beside --seconds 20

Each is a run of the mutator on `gpt` in a new repository for `--minutes`, on every core but those
that launch leaves free. `bursts` and `constant` put a busy loop of nice 0 on each of two cores
(`bursts`: once the baseline is measured, for 90 s of each 180), and are followed by a quiet run of
as many trials, and by `--seeds` fresh pairs of each change that the busy run kept, in quiet.

| wanted | `bursts` | `constant` | `rest` | `beside` |
| --- | --- | --- | --- | --- |
| kept gain over the quiet run's | 0.5 | a keep | | |
| claims within two standard errors of what quiet pairs show | all | 95 % | | |
| first keep within | | | 5 min in 9 of 10 | 10 min, or a line that says why not |
| different keeps within 10 minutes | | | 3 in the median | |
| sentinels and calibration, share of the slices' time | | | 6 % | |

Not covered: the machine must be quiet but for the loops; what others had is printed.
"""

import argparse
import asyncio
import json
import os
import tempfile
from collections import defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from math import hypot
from pathlib import Path
from statistics import fmean, median

from islands import events as ev
from swarm.coordinator.assemble import assemble
from swarm.coordinator.launch_options import LaunchOptions
from swarm.coordinator.task_tree import run_islands
from tests.benchmarks.bench_clock import busy
from tests.support.target import git, swarm

FIRST_MINUTES = 10.0
"""Minutes within which keeps are counted."""


@dataclass
class Night:
    """What a run did; an observer of its events.

    - `keeps`: minutes since the first trial, and the change, of each keep
    - `spent`: the slices' seconds by purpose of the trial
    - `foreign`: share of the cores' time that others had, in each trial
    - `void`: void trials
    - `gain`: the best head's over the base
    - `measured`: set once the baseline is
    """

    trials: int = 0
    keeps: list = field(default_factory=list)
    spent: dict = field(default_factory=lambda: defaultdict(float))
    foreign: list = field(default_factory=list)
    void: int = 0
    gain: float = 0.0
    began: float = 0.0
    measured: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event, state):
        """Take in an event."""
        if isinstance(event, ev.TrialStarted):
            self.began = self.began or event.recorded
        elif isinstance(event, ev.TrialVoided):
            self.void += 1
            self.spent["void"] += event.recorded - event.started.recorded
        elif isinstance(event, ev.TrialEnded):
            self.trials += 1
            self.spent[event.started.purpose] += event.recorded - event.started.recorded
            self.foreign.append(event.outcome.facts.get("foreign_cpu", 0.0))
            if len(state.scores.baseline()) == state.run.baseline_seeds:
                self.measured.set()
        elif isinstance(event, ev.VerdictReached) and event.verdict == "keep" and not event.null:
            minutes = (event.recorded - self.began) / 60
            self.keeps.append((minutes, state.islands[event.island].kept[-1]))
        if state.islands:
            self.gain = max([state.gain(island) or 0.0 for island in state.islands.values()])

    @property
    def overhead(self):
        """Return the share of the slices' time that sentinels took."""
        return self.spent["sentinel"] / sum(self.spent.values())

    def line(self):
        """Return the run in a line."""
        first = f"{self.keeps[0][0]:.1f} min" if self.keeps else "never"
        early = {change.hypothesis for minutes, change in self.keeps if minutes <= FIRST_MINUTES}
        return (
            f"{self.trials} trials ({self.void} void), gain {self.gain:.4f},"
            f" {len(self.keeps)} keeps, first {first},"
            f" {len(early)} different in {FIRST_MINUTES:g} min, sentinels {self.overhead:.1%},"
            f" others had {fmean(self.foreign or [0.0]):.1%} of the cores"
        )


async def bursts(night, cores, seconds):
    """Keep busy loops on `cores` half of the time, once the baseline is measured."""
    await night.measured.wait()
    while True:
        with busy(cores):
            await asyncio.sleep(seconds)
        await asyncio.sleep(seconds)


async def run(repo, options, loops=(), burst=0.0):
    """Carry out a run beside busy loops on the cores `loops`; return what it did."""
    night = Night()
    with ExitStack() as stack:
        if loops and not burst:
            stack.enter_context(busy(loops))
        async with assemble(repo, options, night) as made:
            load = asyncio.create_task(bursts(night, loops, burst)) if burst else None
            try:
                await run_islands(made)
            finally:
                if load is not None:
                    load.cancel()
                    with suppress(asyncio.CancelledError):
                        await load
    return night


def repository(folder, name, seconds):
    """Make a repository whose first rung takes so many seconds."""
    repo = folder / name
    swarm(folder, "init", repo, "--task", "gpt")
    program = repo / "program.md"
    text = program.read_text().replace("depth: 2, seconds: 20,", f"depth: 2, seconds: {seconds:g},")
    program.write_text(text)
    if git(repo, "status", "--porcelain"):
        git(repo, "commit", "-qam", "Shorter trials")
    return repo


def held(repo, seeds):
    """Measure what a run kept on fresh seeds; print a line each, return how many claims hold."""
    rows = json.loads(swarm(repo, "measure", "--kept", "--seeds", seeds, "--json"))
    good = 0
    for row in rows:
        claim, again = row["claimed"], row["gain"]
        off = abs(claim["mean"] - again["mean"]) / hypot(claim["noise"], again["noise"])
        good += off <= 2
        print(
            f"  #{row['experiment']}: claimed {claim['mean']:+.4f} ± {claim['noise']:.4f},"
            f" in quiet {again['mean']:+.4f} ± {again['noise']:.4f}: {off:.1f} errors off"
        )
    return good, len(rows)


def compare(folder, asked):
    """Run busy, then quiet for as many trials, and measure the busy run's claims."""
    loops = sorted(os.sched_getaffinity(0))[:2]
    burst = asked.burst if asked.load == "bursts" else 0.0
    for number in range(asked.repeats):
        repo, calm = (repository(folder, f"{name}{number}", asked.seconds) for name in "bq")
        night = asyncio.run(run(repo, LaunchOptions(minutes=asked.minutes), loops, burst))
        print(f"{asked.load}: {night.line()}", flush=True)
        quiet = asyncio.run(run(calm, LaunchOptions(trials=night.trials)))
        print(f"quiet:  {quiet.line()}", flush=True)
        ratio = night.gain / quiet.gain if quiet.gain else float("nan")
        good, count = held(repo, asked.seeds)
        print(f"gain over the quiet run's: {ratio:.2f}; {good} of {count} claims hold", flush=True)


def alone(folder, asked):
    """Run at rest, or beside one busy loop, so many times."""
    loops = sorted(os.sched_getaffinity(0))[:1] if asked.load == "beside" else ()
    nights = []
    for number in range(asked.repeats):
        repo = repository(folder, f"r{number}", asked.seconds)
        nights.append(asyncio.run(run(repo, LaunchOptions(minutes=asked.minutes), loops)))
        print(f"{asked.load}: {nights[-1].line()}", flush=True)
    first = [night.keeps[0][0] if night.keeps else float("inf") for night in nights]
    early = [
        len({change.hypothesis for minutes, change in night.keeps if minutes <= FIRST_MINUTES})
        for night in nights
    ]
    print(
        f"first keep within 5 min in {sum(minutes <= 5 for minutes in first)} of {len(nights)},"
        f" median {median(first):.1f} min; different keeps {median(early):g} in the median;"
        f" sentinels {fmean(night.overhead for night in nights):.1%}"
    )


def main():
    """Carry out what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("load", choices=("bursts", "constant", "rest", "beside"))
    parser.add_argument("--minutes", type=float, help="default: 20 under load, 10 otherwise")
    parser.add_argument("--seconds", type=float, default=10.0, help="budget of a trial")
    parser.add_argument("--burst", type=float, default=90.0, help="seconds of a burst, and between")
    parser.add_argument("--seeds", type=int, default=6, help="pairs of each claim, in quiet")
    parser.add_argument("--repeats", type=int, default=1)
    asked = parser.parse_args()
    under_load = asked.load in ("bursts", "constant")
    asked.minutes = asked.minutes or (20.0 if under_load else FIRST_MINUTES)
    with tempfile.TemporaryDirectory() as scratch:
        (compare if under_load else alone)(Path(scratch), asked)


if __name__ == "__main__":
    main()
