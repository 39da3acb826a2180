"""Benchmark of scoring: its cost for the gpt task beside its trial.

    python -m tests.benchmarks.bench_scoring [TRIALS]

Trains the seed for two seconds in the real sandbox, as often as said, as root, and prints what
scoring and audit cost, and their share of trials of 20 and 10 s (at most 12 % is wanted): the CPU
time of all processes together, which load on the machine hardly moves, and the wall time by phase.
With sandboxes that start warm, as a slice's process starts them, and cold, each importing torch;
and with the full audit of a promotion. Then what a sandbox costs over a plain process (at most
100 ms is wanted).
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.contract import FULL_AUDIT, Rung, Slice, Trial
from harness.sandbox import Exit, SandboxPolicy, Zygote, run
from harness.tasks.base import Confine
from harness.tasks.gpt.task import TASK
from harness.trial import measure
from tests.benchmarks.bench_start import Meter

SEED = Path(__file__).parents[2] / "islands" / "seeds" / "gpt"
PHASES = ("score_start", "score", "audit")
BUDGET, SHORTEST = 20.0, 10.0
STARTS = 40

SHORT = """
from types import SimpleNamespace
from time import monotonic
import train as seed
from train import build

def train(trial):
    fields = {name: getattr(trial, name) for name in seed.Trial.__annotations__}
    return seed.train(SimpleNamespace(**fields | {"deadline": monotonic() + 2}))
"""


def main(trials: int) -> None:
    """Print one line a trial, then the medians, warm and cold."""
    TASK.prepare("kjv")
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # as a slice's process does
    with tempfile.TemporaryDirectory() as folder:
        genome = Path(folder, "genome")
        shutil.copytree(SEED, genome, ignore=shutil.ignore_patterns("__pycache__"))
        (genome / "short.py").write_text(SHORT)
        Path(folder).chmod(0o755)
        trial = Trial(
            id="bench",
            task="gpt",
            data="kjv",
            commit="-",
            seed=1,
            rung=Rung(depth=2, seconds=BUDGET),
            slice=Slice("bench", "cpu", (core,)),
            genome=str(genome),
            entry="short.py",
            scratch=folder,
        )
        with closing(Meter()) as meter, Zygote(trial.slice) as warm:
            warm.wait()
            started = partial(run, source=warm)
            first = replace(trial, rung=replace(trial.rung, seconds=SHORTEST))
            _print("warm", trial, Metered(started, meter), trials)
            _print("warm", first, Metered(started, meter), trials)
            _print("cold", trial, Metered(run, meter), trials)
            full = replace(trial, audit=FULL_AUDIT)
            _print("warm, promoted", full, Metered(started, meter), trials)
        _print_start(trial.slice, Path(folder, "log"))


class Metered:
    """Starts sandboxes, and meters the CPU time of all processes after the first, which trains."""

    def __init__(self, confine: Confine, meter: Meter) -> None:
        self._confine, self._meter, self._trained = confine, meter, 0.0

    def __call__(self, *policy_argv_log: Any) -> Exit:
        ended = self._confine(*policy_argv_log)
        self._trained = self._trained or self._meter.milliseconds()
        return ended

    def taken(self) -> float:
        """Return the seconds since training ended; the next trial begins."""
        taken, self._trained = (self._meter.milliseconds() - self._trained) / 1000, 0.0
        return taken


def _print(name: str, trial: Trial, confine: Metered, trials: int) -> None:
    rows = [_row(trial, confine) for _ in range(trials)]
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{name}, median of {trials}: {_line(medians, trial.rung.seconds)}", flush=True)


def _print_start(where: Slice, log: Path) -> None:
    true = shutil.which("true") or "/bin/true"
    policy = SandboxPolicy(where, 60, 512)
    boxed = [_seconds(lambda: run(policy, [true], log)) for _ in range(STARTS)]
    plain = [_seconds(lambda: subprocess.run([true], check=True)) for _ in range(STARTS)]
    box, process = statistics.median(boxed), statistics.median(plain)
    print(
        f"start and end of `true`, median of {STARTS}: in a box {1e3 * box:.0f} ms, plain "
        f"{1e3 * process:.0f} ms, {1e3 * (box - process):.0f} ms more"
    )


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def _row(trial: Trial, confine: Metered) -> list[float]:
    outcome = measure(trial, confine, "bench")
    if outcome.failure:
        raise SystemExit(f"the trial failed: {outcome.failure.reason}")
    taken, audited = confine.taken(), outcome.facts["audited"]
    row = [taken, audited, *(outcome.seconds[phase] for phase in PHASES)]
    print(_line(row, trial.rung.seconds), flush=True)
    return row


def _line(row: list[float], budget: float) -> str:
    cpu, audited, *wall = row
    phases = ", ".join(f"{name} {s:.2f} s" for name, s in zip(PHASES, wall, strict=True))
    share = f"{cpu:.2f} s of CPU time, {cpu / budget:.1%} of a {budget:g} s trial"
    return f"{share}, {audited:.0f} audited; by wall, {phases}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trials", type=int, nargs="?", default=5, help="default: 5")
    main(parser.parse_args().trials)
