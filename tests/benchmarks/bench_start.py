"""What a sandbox costs: `python -m tests.benchmarks.bench_start [STARTS]`, as root.

Prints the CPU time, of all processes together, of an empty program in a sandbox: cold, from a
zygote, with and without torch, bare or not. A cgroup of version 2 counts it, so load on the machine
does not matter much; the wall time beside it is that of this machine now.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from harness.contract import Slice
from harness.cpus import usable_cores
from harness.sandbox import SandboxPolicy, Zygote, python_argv, run
from harness.sandbox.boot.zygote_client import NUMPY_MODULES, TORCH_MODULES

ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


class Meter:
    """A cgroup with this process in it."""

    def __init__(self):
        root = next(Path(each) for each in ROOTS if Path(each, "cgroup.procs").exists())
        self.root, self.folder = root, root / f"bench-start-{os.getpid()}"
        self.folder.mkdir()
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def milliseconds(self):
        """Return the CPU time of all that was started since."""
        text = (self.folder / "cpu.stat").read_text()
        return int(re.search(r"usage_usec (\d+)", text)[1]) / 1000

    def close(self):
        """Leave the cgroup and remove it, once what was started in it is dead."""
        (self.root / "cgroup.procs").write_text(str(os.getpid()))
        while (self.folder / "cgroup.procs").read_text():
            time.sleep(0.1)
        self.folder.rmdir()


class Starts:
    """Starts an empty program so many times and prints what each way costs."""

    def __init__(self, meter, number, place):
        self.meter, self.number, self.log = meter, number, place / "log"
        (place / "empty.py").write_text("")
        self.argv = python_argv(place / "empty.py")

    def measure(self, name, policy, zygote=None):
        """Print the cost of one start, the mean of several."""
        run(policy, self.argv, self.log, zygote)
        before, began, waits = self.meter.milliseconds(), time.monotonic(), []
        for _ in range(self.number):
            ended = run(policy, self.argv, self.log, zygote)
            assert ended.code == 0, self.log.read_text()
            waits.append(ended.start * 1000)
        cost = (self.meter.milliseconds() - before) / self.number
        took = (time.monotonic() - began) / self.number * 1000
        wall = f"{median(waits):6.0f} ms to the start, {took:6.0f} ms in all"
        print(f"{name:24} {cost:6.1f} ms of CPU time; {wall}", flush=True)


def main(starts):
    """Print a line for each way to start."""
    meter = Meter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            place.chmod(0o755)
            of = Starts(meter, starts, place)
            policy = SandboxPolicy(Slice("a", "cpu", tuple(usable_cores()[:1])), 60, 1024)
            bare = SandboxPolicy(policy.slice, 60, 1024, bare=True)
            of.measure("cold", policy)
            for name, modules in (("numpy", NUMPY_MODULES), ("torch", TORCH_MODULES)):
                with Zygote(policy.slice, modules) as zygote:
                    zygote.wait()
                    of.measure(f"{name}, warm", policy, zygote)
                    of.measure(f"{name}, warm, bare", bare, zygote)
    finally:
        meter.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
