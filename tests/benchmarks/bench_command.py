"""Benchmark of what swarm adds to a command of one second.

    python -m tests.benchmarks.bench_command [--seconds 1] [--trials 40] [--islands 2]

Launches a real run of a `command` task in a new repository: the mutator, git, ledger, sandboxes and
one harness process for each slice. The command is a Python script that sleeps, so that as many
slices as there are cores stay busy whatever else the machine does. The same command line is run
bare before and after, on one core; its median wall time is what a trial is compared with.

    added = time of a slice for each trial - time of the bare command

is itemised: `start` a sandbox is made (or taken, where one was made ahead) and the genome copied
into it, `in sandbox` what the command takes there beyond its bare time, `reading` the output is
read and the outcome written, `between` from a trial's end to the start of the slice's next: ledger,
verdict, export of the next candidate.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support.repository import make
from tests.support.target import ledger, swarm

BENCH = """\
import time
from src import work
time.sleep(SECONDS)
print("value:", work.value())
"""

PROGRAM = """\
---
task: command
genome: [src/work.py]
run: python bench.py
metric: value
direction: maximize
islands: {islands}
slices: {{count: {islands}}}
rungs: [{{depth: 1, seconds: {budget}, memory_mib: 512}}]
---
"""

BARE_RUNS = 7

PHASES = ("build", "start", "budget", "lost", "other")


def repository(folder, options):
    """Make the repository that is launched."""
    files = {
        "bench.py": BENCH.replace("SECONDS", str(options.seconds)),
        "src/work.py": "N = 10.0\nSTEP = 3\n\n\ndef value():\n    return N * STEP\n",
        "program.md": PROGRAM.format(islands=options.islands, budget=60 * options.seconds),
    }
    return make(folder / "repo", files)


def bare_runs(repo):
    """Return the wall times of the command without swarm, on one core."""
    core, times = min(os.sched_getaffinity(0)), []
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for _ in range(BARE_RUNS):
        began = time.monotonic()
        subprocess.run(
            ["taskset", "-c", str(core), "sh", "-c", "python -B bench.py"],
            cwd=repo,
            env={**os.environ, "PATH": path},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        times.append(time.monotonic() - began)
    return times


def slice_times(events):
    """Return, for each trial but a slice's first, its outcome's seconds and the time before it."""
    by_slice = {}
    for event in events:
        if event["kind"] == "trial_ended":
            started = event["started"]
            by_slice.setdefault(started["slice"], []).append((started, event))
    rows = []
    for trials in by_slice.values():
        for (_, before), (started, ended) in pairwise(trials):
            gap = started["recorded"] - before["recorded"]
            whole = ended["recorded"] - before["recorded"]
            rows.append({**ended["outcome"]["seconds"], "gap": gap, "whole": whole})
    return rows


def main():
    """Launch, and print what each item took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--islands", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-command-") as scratch:
        Path(scratch).chmod(0o755)
        repo = repository(Path(scratch), options)
        bare = bare_runs(repo)
        swarm(repo, "launch", "--trials", options.trials)
        bare += bare_runs(repo)
        rows = slice_times(ledger(repo))
    command = statistics.median(bare)
    report(command, rows)


def report(command, rows):
    """Print the table, and the share of the command's time that was added."""
    items = {
        "start": [row["start"] for row in rows],
        "in sandbox": [row["budget"] + row["lost"] - command for row in rows],
        "reading": [row["other"] + row["build"] for row in rows],
        "between": [row["whole"] - sum(row[name] for name in PHASES) for row in rows],
    }
    whole = [row["whole"] - command for row in rows]
    table = Table("item", "median, ms", "mean, ms", "share of the command")
    for name, values in {**items, "added": whole}.items():
        median = statistics.median(values)
        mean = statistics.fmean(values)
        table.add_row(name, f"{1e3 * median:.0f}", f"{1e3 * mean:.0f}", f"{median / command:.1%}")
    Console().print(table)
    print(json.dumps({"command": command, "added": statistics.median(whole), "trials": len(rows)}))


if __name__ == "__main__":
    main()
