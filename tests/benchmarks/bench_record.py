"""Benchmark of the record's cost as a run grows.

    python -m tests.benchmarks.bench_record [TRIALS]

A simulated run's events are appended to a real ledger one by one, with the coordinator's
refreshes where they are due. At each power of ten of past trials a line says what the events
since half as many cost, and what a reader's own refresh and a question took there.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.database.queries import ask
from analysis.database.refresh import Refresher, refresh
from analysis.ledger import Ledger
from tests.support.histories import lived

HEADINGS = (
    ("past trials", "{:,.0f}"),
    ("append: CPU ms/event", "{:.3f}"),
    ("bytes/event", "{:.0f}"),
    ("refreshes: CPU ms/event", "{:.3f}"),
    ("bytes/event", "{:.0f}"),
    ("one refresh, ms", "{:.0f}"),
    ("for events", "{:,.0f}"),
    ("one question, ms", "{:.0f}"),
)


class Meter:
    """Adds up the CPU milliseconds and bytes written that calls cost."""

    def __init__(self):
        self.cpu = self.bytes = self.calls = 0

    def __call__(self, call, *args):
        before = spent()
        call(*args)
        cpu, written = spent()
        self.cpu, self.bytes = self.cpu + cpu - before[0], self.bytes + written - before[1]
        self.calls += 1


def spent():
    """Return this process's CPU milliseconds and the bytes it has written, since it began."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    counted = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return 1e3 * (usage.ru_utime + usage.ru_stime), int(counted["wchar"])


def timed(call, *args):
    """Return how many milliseconds a call took."""
    began = time.perf_counter()
    call(*args)
    return 1e3 * (time.perf_counter() - began)


def measure(folder, history, marks):
    """Yield a row of figures for each number of past trials in `marks`."""
    times = iter([event.recorded for event in history])
    refresher, trials, last = Refresher(), 0, 0
    append, project = Meter(), Meter()
    with Ledger.open(folder, lambda: next(times)) as ledger:
        for number, event in enumerate(history, 1):
            append(ledger.append, event)
            if refresher.due(number):
                project(refresh, folder)
                last = number
            trials += event.kind == "trial_ended"
            if event.kind != "trial_ended" or trials not in {
                mark // d for mark in marks for d in (1, 2)
            }:
                continue
            if trials in marks:
                n = append.calls
                costs = append.cpu / n, append.bytes / n, project.cpu / n, project.bytes / n
                reads = timed(refresh, folder), number - last, timed(ask, folder, "FROM standings")
                yield trials, *costs, *reads
                last = number
            append, project = Meter(), Meter()


def main(most):
    """Print the table, and below each line its ratios to the first."""
    marks = [mark for mark in (10, 100, 1_000, 10_000, 100_000) if mark <= most]
    grid = Table(*(heading for heading, _ in HEADINGS))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        history, _ = lived(Path(scratch), most)
        first = None
        for row in measure(Path(scratch), history, marks):
            first = first or row
            grid.add_row(
                *(form.format(cell) for (_, form), cell in zip(HEADINGS, row, strict=True))
            )
            ratios = (
                f"x {cell / old:.2f}" if old else "" for cell, old in zip(row, first, strict=True)
            )
            grid.add_row("", *list(ratios)[1:], style="dim", end_section=True)
    Console(width=160).print(grid)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trials", type=int, nargs="?", default=10_000, help="default: 10,000")
    main(parser.parse_args().trials)
