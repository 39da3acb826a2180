"""Child processes of tests: Python code in a new process, and the harness process in use."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import psutil


def child(code, cache, **env):
    """Run Python code in a new process with SWARM_CACHE at `cache`."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "SWARM_CACHE": str(cache), **env},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def kill_session(leader):
    """Kill a forked child that leads a session, and all in it, until none runs.

    Each git that it started has a process group of its own, and would go on.
    """
    os.killpg(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    while running := _session(leader):
        for process in running:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _session(leader):
    """Return the processes of a session that still run (a zombie does not)."""
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes


def has_sandbox(process):
    """Return whether a slice's process has a child beside its zygote."""
    own = process.cmdline()  # which a child has, too, until it becomes something else
    lines = [child.cmdline() for child in process.children()]
    return any("zygote" not in line and line != own for line in lines)


async def serving():
    """Return our child that serves trials or looks, once it has a child of its own, the box.

    Whatever else this process has for children is left alone.
    """
    while True:
        for process in psutil.Process().children():
            with suppress(psutil.Error):  # it has ended
                if "harness.worker" in " ".join(process.cmdline()) and has_sandbox(process):
                    return process
        await asyncio.sleep(0.005)
