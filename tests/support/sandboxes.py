"""The ways to start a sandbox, and the processes that are left of one."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from harness.contract import Slice
from harness.sandbox.boot.prewarmed import SandboxShape

CORE = min(os.sched_getaffinity(0))
SLICE = Slice("cpu0", "cpu", (CORE,))
STARTS = [
    pytest.param(start, marks=pytest.mark.sandbox) for start in ("cold", "zygote", "prewarmed")
]
EVERY_START = pytest.mark.parametrize("start", ["unconfined", *STARTS])
END_TIMEOUT_S = 60  # for killed processes to be gone; they would sleep longer


def prewarm(pool, policy, argv, home):
    """Return a prewarmed sandbox for this program, the pool's next."""
    pool.next_trial(home)
    if unwanted := pool.take(policy, argv):
        unwanted.close()
    shape = SandboxShape.of(policy, argv)
    while not (fitting := [sandbox for sandbox in pool.waiting if sandbox.shape == shape]):
        pool.prewarm()
    pool.next_trial(home)
    return fitting[0]


def running(process):
    """Return whether a process runs; a zombie does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def alive(mark):
    """Return the processes whose command line holds `mark`."""
    processes = psutil.process_iter(["cmdline"])
    return [p for p in processes if mark in " ".join(p.info["cmdline"] or [])]


def outliving(processes):
    """Return which of the processes do not end."""
    limit = time.monotonic() + END_TIMEOUT_S
    while (left := [p for p in processes if running(p)]) and time.monotonic() < limit:
        psutil.wait_procs(left, timeout=0.02)
    return left
