"""A recorded run: events written to a ledger, read back, and child processes that use it."""

import os
import subprocess
import sys
from pathlib import Path

from analysis.ledger import Ledger, read_events

ROOT = Path(__file__).parents[2]


def write(folder, history):
    """Append events to a folder's ledger with the times they have."""
    times = iter([event.recorded for event in history])
    with Ledger.open(folder, lambda: next(times)) as ledger:
        ledger.extend(history)


def events_in(folder):
    """Return the events that a reader sees."""
    return [event for _, event in read_events(folder / "ledger.jsonl")]


def child(code, *args):
    """Start a Python process on `code`, its pipes open."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True)
