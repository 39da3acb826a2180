"""What a run holds in memory: `python -m tests.benchmarks.bench_memory [TASK...]`.

Launches a real run of each task (gpt, packing, speed: one of task `command`) with the mutator on
this machine's slices, and sums the PSS of its processes, by part: what several processes share
counts in each for its share. Prints the median and the most, in MiB: of the coordinator, of a
slice's harness process, and of a slice's zygote with its sandboxes, of which a trial runs in one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from statistics import median

import psutil

from tests.support.target import command, environment, swarm

TASKS = ("gpt", "packing", "speed")
SECONDS, EVERY_S = 45, 0.25
MIB = 1 << 20


def pss(process):
    """Return a process's share of memory in MiB, 0 where it has ended."""
    with suppress(psutil.Error, OSError):
        return process.memory_full_info().pss / MIB
    return 0.0


def look(run):
    """Return the coordinator's memory, and that of each slice: harness process and sandboxes."""
    slices = []
    for child in run.children():
        with suppress(psutil.Error):
            if "harness.worker" in " ".join(child.cmdline()):
                sandboxes = sum(pss(each) for each in child.children(recursive=True))
                slices.append((pss(child), sandboxes))
    return pss(run), slices


def measured(task, folder):
    """Return what was seen of a run, by part."""
    repo, seen = folder / task, defaultdict(list)
    swarm(folder, "init", repo, "--task", task)
    words = command("launch", "--minutes", SECONDS / 60)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, cwd=repo, env=environment(), **quiet) as launched:
        run, began = psutil.Process(launched.pid), time.monotonic()
        while launched.poll() is None:
            coordinator, slices = look(run)
            if slices and time.monotonic() - began > SECONDS / 3:  # its modules are imported
                seen["coordinator"].append(coordinator)
                seen["a slice's harness process"] += [own for own, _ in slices]
                seen["a slice's zygote and sandboxes"] += [others for _, others in slices]
            time.sleep(EVERY_S)
    return seen


def main(tasks):
    """Print a line for each part of each task's run."""
    print(f"{'MiB':45}{'median':>8}{'most':>8}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for task in tasks:
            for part, held in measured(task, Path(folder)).items():
                print(f"{task + ': ' + part:45}{median(held):8.0f}{max(held):8.0f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or TASKS)
