"""The clock under foreign load: `python -m tests.benchmarks.bench_clock [PAIRS] [KIND]`.

Runs a program of fixed work per step on one core and on two, quiet and beside a busy loop on each
core, in turn, and prints its steps and its CPU time per budget, loaded over quiet: 0.97 to 1.03 is
wanted. Where the machine is busy already its load is added to both sides, and the steps vary with
the caches that others use; the CPU time does not. Then the programs that try to lengthen their
clock (tests/sandbox/clock_programs.py), as CPU time per budget over an honest program's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev

from harness.contract import SandboxKind, Slice
from harness.sandbox import SandboxPolicy, python_argv, run
from harness.sandbox.policy import Exit
from tests.sandbox.clock_programs import PROGRAMS

SECONDS = 4.0
WORK = """
import os, sys, threading, time
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy
from guest.clock import Deadline

deadline, count = Deadline(float(sys.argv[1])), int(sys.argv[2])
meet, steps = threading.Barrier(count), [0]

def work(place):
    a = numpy.full((256, 256), 0.5)
    while True:
        if place == 0:
            going[0] = time.monotonic() < deadline
        meet.wait()
        if not going[0]:
            return
        for _ in range(4):
            a @ a
        steps[0] += place == 0

going = [True]
began = time.process_time()
threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
[each.start() for each in threads]
[each.join() for each in threads]
print("steps", steps[0], "spent", time.process_time())
"""


@contextmanager
def busy(cores: Sequence[int]) -> Iterator[None]:
    """Keep a busy loop on each core, each in a session of its own."""
    code = "import os, sys; os.sched_setaffinity(0, [int(sys.argv[1])])\nwhile True: pass"
    loops = [
        subprocess.Popen([sys.executable, "-c", code, str(core)], start_new_session=True)
        for core in cores
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def ran(
    folder: Path, program: str, cores: Sequence[int], kind: SandboxKind
) -> tuple[float, float, Exit]:
    """Run a program on a slice of `cores`; return its steps, its CPU seconds and its Exit."""
    file, log = folder / "program.py", folder / "log"
    file.write_text(program)
    policy = SandboxPolicy(
        Slice("bench", "cpu", tuple(cores)), SECONDS + 1, 1024, kind=kind, clock=True
    )
    ended = run(policy, python_argv(file, str(SECONDS), str(len(cores))), log)
    words = log.read_text().split()
    if ended.code:
        raise RuntimeError(f"{ended}: {log.read_text()}")
    steps = float(words[words.index("steps") + 1]) if "steps" in words else 0.0
    return steps, float(words[words.index("spent") + 1]), ended


def ratio(loaded: Sequence[float], quiet: Sequence[float]) -> str:
    """Return the mean ratio of pairs ± its standard error."""
    ratios = [one / other for one, other in zip(loaded, quiet, strict=True)]
    error = stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else 0.0
    return f"{fmean(ratios):.3f} ± {error:.3f}"


def main(pairs: int = 6, kind: SandboxKind = "namespaces") -> None:
    """Print both tables."""
    machine = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        print(f"{'threads':>8} {'steps':>16} {'CPU time':>16} {'others took':>22}")
        for count in (1, 2):
            cores, quiet, loaded = machine[:count], [], []
            for _ in range(pairs):
                quiet.append(ran(folder, WORK, cores, kind))
                with busy(cores):
                    loaded.append(ran(folder, WORK, cores, kind))
            took = [fmean(each[2].foreign or 0.0 for each in side) for side in (quiet, loaded)]
            columns = [ratio([a[n] for a in loaded], [b[n] for b in quiet]) for n in (0, 1)]
            print(f"{count:>8} {columns[0]:>16} {columns[1]:>16} {took[0]:>14.0%} -> {took[1]:.0%}")
        print(f"\n{'program':>16} {'CPU time over honest':>22}")
        spent: dict[str, list[float]] = {attack: [] for attack in PROGRAMS}
        for _ in range(pairs):
            for attack, program in PROGRAMS.items():
                with busy(machine[:1]):
                    spent[attack].append(ran(folder, program, machine[:1], kind)[1])
        for attack, seconds in spent.items():
            print(f"{attack:>16} {ratio(seconds, spent['honest']):>22}")


if __name__ == "__main__":
    main(*(int(word) if word.isdigit() else word for word in sys.argv[1:]))
