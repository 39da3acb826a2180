"""Benchmark of budgets scaled by the speed of the moment: whether scores repeat better.

    python -m tests.benchmarks.bench_speed [--seconds 10] [--rounds 20] [--kernel 0.2]

The seed runs again and again on one seed and one core, and before and after each trial a kernel of
the benchmark's own (products of matrices, and copies larger than the caches) says how fast the core
is at that moment, by CPU time. Of each two trials one has the usual budget, the other one scaled by
the kernel: reference speed over the speed just before. Three ways are compared by how well the same
trial repeats:

    neither  the score, as it is
    scaled   the score on the scaled budget
    slope    the score less what the speed around it explains: a line through the other trials

Prints the standard deviation of the score in each way, as a ratio to `neither` with the 95 %
interval that F's distribution gives, the same for the steps, and what the kernel costs. A way is
worth having where its interval ends below 1.
"""

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median, stdev

import numpy as np
from scipy.stats import f as fisher

from swarm.executors.workbench import make_workbench
from swarm.project.repository import load_program, tip
from tests.support.target import swarm

REFERENCE_KERNELS = 5
"""Kernels whose median speed is the reference."""


class Kernel:
    """Fixed work that takes about `seconds`, on the core of the slice."""

    def __init__(self, seconds, cores):
        self._cores, self._square = set(cores), np.full((192, 192), 0.5, dtype=np.float32)
        self._source = np.ones(4_000_000)  # 32 MB
        self._target = np.empty_like(self._source)
        self.rounds = 1
        self.rounds = max(1, round(seconds * self.speed()))

    def speed(self):
        """Return how many rounds a CPU second does now."""
        usual = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._cores)
        try:
            began = time.thread_time()
            for _ in range(self.rounds):
                for _ in range(8):
                    self._square @ self._square
                np.copyto(self._target, self._source)
            return self.rounds / (time.thread_time() - began)
        finally:
            os.sched_setaffinity(0, usual)


async def measure(bench, commit, seed, asked):
    """Run the trials; return a row each: whether it is scaled, speeds around it, steps, score."""
    slice_ = bench.slices[0]
    kernel, rows = Kernel(asked.kernel, slice_.cores), []
    reference = median(kernel.speed() for _ in range(REFERENCE_KERNELS))
    rung = replace(bench.program.settings.rungs[0], seconds=asked.seconds)
    async with bench.opened() as executor:
        for number in range(2 * asked.rounds):
            scaled, before = number % 2 == 1, kernel.speed()
            share = reference / before if scaled else 1.0
            trial = bench.trial(
                f"t{number}", commit, seed, slice_, rung=replace(rung, seconds=share * rung.seconds)
            )
            outcome = await executor.run(trial)
            if outcome.failure is not None:
                raise SystemExit(f"the seed fails: {outcome.failure.reason}")
            speed = (before + kernel.speed()) / 2 / reference
            steps = outcome.claims.get("steps", np.nan)
            rows.append((scaled, speed, steps, outcome.score))
            taken = outcome.facts.get("foreign_cpu", 0.0)
            print(
                f"{'scaled' if scaled else 'usual':>8} speed {speed:.3f} steps {steps:8.0f}"
                f" score {outcome.score:.5f} others {taken:.1%}",
                flush=True,
            )
    return rows


def by_slope(speeds, values):
    """Return each value less what its speed explains, by a line through all other trials."""
    left = []
    for place, value in enumerate(values):
        others = np.arange(len(values)) != place
        slope, level = np.polyfit(np.log(speeds[others]), values[others], 1)
        left.append(value - slope * np.log(speeds[place]) - level)
    return left


def line(name, values, usual):
    """Return the line of one way: its spread, and the ratio to the usual one's."""
    spread = np.std(values, ddof=1)
    ratio, freedom = spread / np.std(usual, ddof=1), (len(values) - 1, len(usual) - 1)
    low, high = (ratio / fisher.ppf(chance, *freedom) ** 0.5 for chance in (0.975, 0.025))
    told = "" if values is usual else f"  {ratio:5.2f} of neither ({low:.2f} to {high:.2f})"
    return f"{name:>10} {spread:10.3g}{told}"


def show(rows, asked):
    """Print what the trials say of each way."""
    table = np.array(rows)
    usual, scaled = table[table[:, 0] == 0], table[table[:, 0] == 1]
    cost = 2 * asked.kernel / (asked.seconds + 2 * asked.kernel)
    print(
        f"\nspeed varied by {stdev(table[:, 1]):.1%}; the kernel takes {cost:.1%} of a slice's time"
    )
    for column, what, of in ((3, "score", np.array), (2, "log of steps", np.log)):
        plain, other = (of(side[:, column]) for side in (usual, scaled))
        if not np.isfinite([*plain, *other]).all() or np.ptp(plain) == 0:
            print(f"{what}: nothing to compare")
            continue
        with_speed = np.corrcoef(usual[:, 1], plain)[0, 1]
        print(f"{what}, standard deviation (correlation with the speed {with_speed:+.2f}):")
        print(line("neither", plain, plain))
        print(line("scaled", other, plain))
        print(line("slope", by_slope(usual[:, 1], plain), plain))


def main():
    """Measure in a new repository and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="budget of a trial")
    parser.add_argument("--rounds", type=int, default=20, help="of a usual and a scaled trial each")
    parser.add_argument("--kernel", type=float, default=0.2, help="seconds of one kernel")
    parser.add_argument("--task", default="gpt")
    parser.add_argument("--sandbox", default="namespaces")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        repo = Path(scratch) / "repo"
        swarm(Path(scratch), "init", repo, "--task", asked.task)
        base = tip(repo)
        program = load_program(repo, base.commit, base.program)
        bench = make_workbench(
            repo,
            program,
            [base.commit],
            Path(scratch) / "bench",
            asked.sandbox,
            frozen_at=base.commit,
        )
        show(asyncio.run(measure(bench, base.commit, program.settings.seed, asked)), asked)


if __name__ == "__main__":
    main()
