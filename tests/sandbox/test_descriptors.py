"""Descriptors that a program keeps, whatever numbers they have."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.sandbox import tiers
from tests.attacks import table

HARNESS = """
import contextlib, os, sys
from pathlib import Path
from harness.contract import Slice
from harness.sandbox import SandboxPolicy, SandboxPool, Zygote, python_argv, run
from harness.sandbox.boot.prewarmed import SandboxShape

start, kind, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
numbers = range(3, 10)
for number in numbers:  # files far above, then moved to low numbers that this process has not used
    file = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT)
    os.dup2(file, number + 100)
    os.close(file)
for number in numbers:
    os.dup2(number + 100, number)
    os.close(number + 100)

slice_ = Slice("cpu0", "cpu", (min(os.sched_getaffinity(0)),))
for turn, order in enumerate([numbers, reversed(numbers)]):
    policy = SandboxPolicy(slice_, 60, 512, fds=(*order,), kind=kind)
    argv = python_argv(folder / "program.py", str(turn))
    with contextlib.ExitStack() as stack:
        source = None
        if start != "cold":
            source = zygote = stack.enter_context(Zygote(slice_, ("json",)))
        if start == "prewarmed":
            source = stack.enter_context(SandboxPool(zygote))
            source.next_trial(folder)
            assert source.take(policy, argv) is None
            source.prewarm()
            (prewarmed,) = source.waiting
            source.next_trial(folder)
        ended = run(policy, argv, folder / "log", source)
        assert start != "prewarmed" or prewarmed not in source.waiting
        print(ended.code, (folder / "log").read_text().split())
"""

PROGRAM = """
import os, sys
for number in range(3, 10):
    os.write(number, f"{number} in turn {sys.argv[1]}\\n".encode())
print(*sorted(int(name) for name in os.listdir("/proc/self/fd")))
"""

OPEN = [str(number) for number in range(11)]  # three, those kept, the one that lists them


@pytest.fixture
def folder():
    """A folder that every user can reach, as Landlock's sandboxes need it."""
    with tempfile.TemporaryDirectory(prefix="swarm-test-", dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        pytest.param(tiers.NAMESPACES, "cold", marks=pytest.mark.sandbox),
        pytest.param(tiers.NAMESPACES, "zygote", marks=pytest.mark.sandbox),
        pytest.param(tiers.NAMESPACES, "prewarmed", marks=pytest.mark.sandbox),
        ("landlock", "cold"),
        ("landlock", "zygote"),
    ],
)
def test_a_program_keeps_low_descriptors(folder, kind, start):
    """Descriptors 3 to 9, which a sandbox's first process uses itself, lead where the host's do."""
    python, child = sys.executable, {"cwd": Path(__file__).parents[2]}
    if kind == "landlock":
        user = "user" if os.geteuid() else "root"
        python, child = table.interpreter(user, kind), table.become(user)
        if python is None:
            pytest.skip(table.why_not(user, kind))
    (folder / "program.py").write_text(PROGRAM)
    words = [python, "-B", "-c", HARNESS, start, kind, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **child)
    assert done.stdout.splitlines() == [f"0 {OPEN}"] * 2, done.stderr
    for number in range(3, 10):
        lines = [f"{number} in turn {turn}" for turn in range(2)]
        assert (folder / str(number)).read_text().splitlines() == lines
