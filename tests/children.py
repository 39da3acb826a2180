"""Child processes of tests: a piece of Python in one of its own, and which one serves boxes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import psutil


def child(code, cache, **env):
    """Run Python code in a process of its own on `cache`."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "SWARM_CACHE": str(cache), **env},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )


async def serving():
    """Return our child that serves trials or looks, once it has a child of its own, the box.

    Whatever else this process has for children is left alone.
    """
    while True:
        for process in psutil.Process().children():
            with suppress(psutil.Error):  # it has ended
                if "harness.serve" in " ".join(process.cmdline()) and process.children():
                    return process
        await asyncio.sleep(0.005)
