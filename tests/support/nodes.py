"""A Ray cluster of nodes on this machine, each a family of processes that can be killed at once."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.children import has_sandbox

ROOT = Path(__file__).parents[2]

# a dead node is otherwise declared so after half a minute
HEALTH_CHECKS = json.dumps(
    {
        "health_check_initial_delay_ms": 500,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 4,
    }
)


class Family:
    """A process and its descendants."""

    def __init__(self, argv, env, core):
        self._log = os.memfd_create("log")
        self._process = subprocess.Popen(
            ["taskset", "-c", str(core), *argv],
            env=env,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def kill(self):
        """Kill all processes, as a power loss does."""
        if self._process.returncode is not None:
            return
        first = psutil.Process(self._process.pid)
        family = [*first.children(recursive=True), first]
        for signal in (psutil.Process.suspend, psutil.Process.kill):
            for process in family:  # suspended first: else some could tell others that they end
                with suppress(psutil.NoSuchProcess):  # a worker that had ended anyway
                    signal(process)
        self._process.wait()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
        os.close(self._log)

    def running_trials(self):
        """Return the number of trials that run on this node now."""
        return sum(map(_busy, psutil.Process(self._process.pid).children(recursive=True)))

    def output(self):
        """Return the printed output of all processes."""
        return os.pread(self._log, 1 << 20, 0).decode(errors="replace")


def _busy(process):
    """Return whether this is a slice's process that runs a sandbox."""
    try:
        return "harness.worker" in " ".join(process.cmdline()) and has_sandbox(process)
    except psutil.Error:  # it has ended
        return False


def free_port():
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def cluster(cores, more=(), **environment):
    """Yield the address of a cluster with a node of one CPU on each of `cores`, and the nodes.

    `more` are further words for `ray start`.
    """
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT), **environment}
    address = f"127.0.0.1:{free_port()}"
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    start += ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000", *more]
    with tempfile.TemporaryDirectory(prefix="ray-") as scratch, ExitStack() as stack:
        port = address.partition(":")[2]
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={scratch}"]
        nodes = []
        for core in cores:
            role = (
                [f"--address={address}"] if nodes else [*head, f"--system-config={HEALTH_CHECKS}"]
            )
            nodes.append(Family([*start, *role], env, core))
            stack.callback(nodes[-1].kill)
            # one after the other: of nodes that start at once, some never hear of the first
            _wait(nodes[-1])
        yield address, nodes


def _wait(node):
    limit = time.monotonic() + 120  # on two quiet cores a node takes 3
    while "Ray runtime started" not in (output := node.output()):
        assert time.monotonic() < limit, output
        time.sleep(0.1)
