"""Sandboxes that run beside each other while their starter goes on."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest

from harness.sandbox import Running, SandboxPolicy, python_argv
from tests.support.sandboxes import SLICE, alive, outliving

ECHO = """
import os, sys
number, mark = int(sys.argv[1]), sys.argv[2]
os.write(number, b"%d" % len([p for p in os.listdir("/proc") if p.isdigit()]))
while True:
    data = os.read(number, 1)
    if data == b"s":
        sum(range(20_000_000))
    if data == b"x":
        os._exit(7)
    os.write(number, data)
"""

KINDS = pytest.mark.parametrize(
    "kind", [pytest.param("namespaces", marks=pytest.mark.sandbox), "none"]
)


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a program which echoes bytes, and a socket to it."""
    tmp_path.chmod(0o755)
    program = tmp_path / "echo.py"
    program.write_text(ECHO)

    with ExitStack() as stack:

        def started(kind, mark="mark"):
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            number = theirs.fileno()
            policy = SandboxPolicy(SLICE, seconds=60.0, memory_mib=512, fds=(number,), kind=kind)
            argv = python_argv(program, str(number), mark)
            with theirs:
                running = stack.enter_context(Running(policy, argv, tmp_path / f"log-{mark}"))
            ours.recv(8)
            return running, ours

        yield started


@KINDS
def test_ending_one_leaves_the_other(start, kind):
    """Each is a tree of its own, and a socket of its own; nothing of an ended one is alive."""
    first, one = start(kind, f"first-{os.getpid()}")
    second, other = start(kind, f"second-{os.getpid()}")
    processes = alive(f"first-{os.getpid()}") if kind == "none" else []
    assert first.end().killed == ""
    assert one.recv(1) == b""
    assert not outliving(processes)
    other.sendall(b"a")
    assert other.recv(1) == b"a"
    assert second.end().code == -9


@KINDS
def test_its_own_end_is_told_from_ours(start, kind):
    """The exit status is the program's where it ended by itself."""
    running, channel = start(kind)
    assert not running.ended(0)
    channel.sendall(b"x")
    assert running.ended(60)
    assert running.end().code == 7


@pytest.mark.sandbox
def test_the_cpu_time_of_one_is_its_own(start):
    """What one uses is not counted for the other."""
    busy, channel = start("namespaces", "busy")
    idle, _ = start("namespaces", "idle")
    before = busy.cpu_seconds(), idle.cpu_seconds()
    channel.sendall(b"s")
    channel.recv(1)
    assert busy.cpu_seconds() - before[0] > 0.1
    assert idle.cpu_seconds() - before[1] < 0.1
