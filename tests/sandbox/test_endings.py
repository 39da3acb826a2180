"""Nothing outlives a sandbox, its limits or the process that made it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.sandboxes import (
    EVERY_START,
    alive,
    outliving,
)


@EVERY_START
def test_a_daemon_does_not_outlive_its_sandbox(run_sandboxed, tmp_path):
    """When the first process ends, what it left behind is killed."""
    before = {*psutil.Process().children()}
    code = "import os, time\nif not os.fork():\n    os.setsid(); os.fork(); time.sleep(600)"
    ended, _, _ = run_sandboxed(code)
    assert (ended.code, ended.killed) == (0, "")  # the daemon was not waited for
    assert not alive(str(tmp_path))
    new = {*psutil.Process().children()} - before
    assert not any(child.status() == "zombie" for child in new)


@EVERY_START
def test_the_deadline_ends_everything(run_sandboxed, tmp_path):
    """At the deadline a program and its detached children are dead, and the Exit says why."""
    code = (
        "import os, time\nfor _ in range(3):\n    if not os.fork(): os.setsid()\ntime.sleep(600)\n"
    )
    ended, _, _ = run_sandboxed(code, seconds=0.5)
    assert (ended.code, ended.killed) == (-9, "deadline")
    assert ended.seconds >= 0.5
    assert not alive(str(tmp_path))


def test_pid_hoppers_die_at_the_deadline(run_sandboxed, tmp_path):
    """Forty processes that live on by forking die at the deadline with the rest."""
    code = """
import os, time
for _ in range(40):
    if not os.fork():
        os.setsid()
        while True:
            if os.fork(): os._exit(0)
time.sleep(600)
"""
    ended, _, _ = run_sandboxed(code, seconds=0.5, processes=256)
    assert ended.killed == "deadline"
    assert ended.seconds >= 0.5
    assert not alive(str(tmp_path))


@EVERY_START
def test_memory_is_that_of_the_whole_tree(run_sandboxed):
    """Four processes that hold 200 MiB together are killed at 128, one with 50 MiB is not."""
    code = """
import os, sys, time
for _ in range(3):
    if not os.fork(): break
held = b"x" * (int(sys.argv[2]) << 20)
time.sleep(600 if len(held) > 20 << 20 else 1)
"""
    ended, _, _ = run_sandboxed(code, "50", memory_mib=128)
    assert ended.killed == "memory"
    assert 128 < ended.peak_mib < 300
    ended, _, _ = run_sandboxed(code, "10", memory_mib=128)
    assert ended.killed == ""
    assert 30 < ended.peak_mib < 128


def test_memory_counts_where_the_first_thread_has_ended(run_sandboxed):
    """A process whose first thread is gone looks dead and may hold as much as any other."""
    code = """
import ctypes, os, threading, time
def hold():
    held = [b"x" * (1 << 20) for _ in range(250)]
    time.sleep(600)
if not os.fork():
    threading.Thread(target=hold).start()
    ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
time.sleep(600)
"""
    assert run_sandboxed(code, memory_mib=100)[0].killed == "memory"


def test_memory_in_files_of_a_tmpfs_counts(run_sandboxed):
    """Hiding memory in /dev/shm is no way round the limit."""
    code = "import time; open('/dev/shm/x', 'wb').write(bytes(200 << 20)); time.sleep(600)"
    assert run_sandboxed(code, memory_mib=128, tmp_mib=256)[0].killed == "memory"


def test_a_log_is_capped_and_keeps_its_end(run_sandboxed):
    """A program that prints without end fills no disk, and its last words are kept."""
    code = "import os\nfor _ in range(40): os.write(1, b'x' * 65536)\nprint('last')"
    ended, log, _ = run_sandboxed(code)
    assert ended.code == 0
    assert len(log) < 1.2 * (1 << 20)
    assert log.endswith("last\n")
    assert "bytes left out" in log


def test_kill_9_of_the_supervisor_leaves_nothing_alive(tmp_path, start):
    """A sandbox and a zygote die with the process that made them."""
    tmp_path.chmod(0o755)
    ours, theirs = os.pipe()
    program = tmp_path / f"sleeper-{os.getpid()}.py"
    program.write_text(f"""
import os, time
os.fork() or os.setsid()
os.write({theirs}, b"+")
time.sleep(600)
""")
    server = tmp_path / "server.py"
    server.write_text(f"""
from pathlib import Path
from harness.sandbox import SandboxPool, SandboxPolicy, Zygote, python_argv, run
from harness.contract import Slice
slice_ = Slice("a", "cpu")
zygote = Zygote(slice_, ("json",)) if {start == "zygote"} else None
argv = python_argv(Path({str(program)!r}))
run(SandboxPolicy(slice_, 600, 512, fds=({theirs},)), argv, Path({str(tmp_path / "log")!r}), zygote)
""")
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, server], env=env, pass_fds=(theirs,)) as child:
        os.close(theirs)
        assert os.read(ours, 1) + os.read(ours, 1) == b"++"
        started = psutil.Process(child.pid).children(recursive=True)
        child.kill()
    os.close(ours)
    assert started
    assert not outliving(started)


MAKER = """
import os, signal, sys, time
from pathlib import Path
from harness.sandbox import SandboxPolicy, Zygote, python_argv
from harness.sandbox.backends import bubblewrap
from harness.sandbox.boot.prewarmed import PrewarmedSandbox, SandboxShape
from harness.contract import Slice
zygote = Zygote(Slice("a", "cpu"), ("json",))
zygote.wait()
argv, home = python_argv(Path(sys.argv[0])), Path(sys.argv[0]).parent
shape = SandboxShape.of(SandboxPolicy(zygote.slice, 600, 512), argv)
def make():
    return PrewarmedSandbox(shape, zygote, home)
def tell(*words):
    print(*words, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def killed_maker(tmp_path):
    """Return a function that kills a program and returns the processes that it had begun.

    The program may `make()` sandboxes, and must `tell()`, also of a process group whose leader is
    dead, when it is to be killed; `ready` waits for more.
    """

    def kill_after(code, ready=lambda *_: None):
        maker = tmp_path / "maker.py"
        maker.write_text(MAKER + code)
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen([sys.executable, maker], env=env, stdout=subprocess.PIPE) as child:
            told = {int(group) for group in child.stdout.readline().split()}
            ready(child.pid, *told)
            family = psutil.Process(child.pid).children(recursive=True)
            groups = {_group(process) for process in family} | told
            begun = [process for process in psutil.process_iter() if _group(process) in groups]
            child.kill()
        return begun

    return kill_after


@pytest.mark.sandbox
@pytest.mark.parametrize("pause", [0, 0.02, 0.2])
def test_kill_9_leaves_no_prewarmed_sandbox(killed_maker, pause):
    """A prewarmed sandbox dies with the process that made it, at any stage."""
    begun = killed_maker(f"held = [make() for _ in range(3)]; time.sleep({pause}); tell()")
    assert len(begun) > 3
    assert not outliving(begun)


@pytest.mark.sandbox
def test_kill_9_before_the_zygote_has_forked_leaves_no_sandbox(killed_maker):
    """Bubblewrap makes nothing before there is a copy of the zygote that would end it."""
    begun = killed_maker("""
os.kill(zygote._process.pid, signal.SIGSTOP)
held = make()
tell()
""")
    assert len(begun) == 2  # the zygote, and bubblewrap, which waits for its options
    assert not outliving(begun)


@pytest.mark.sandbox
def test_kill_9_while_bubblewrap_makes_a_sandbox_leaves_nothing_of_it(killed_maker):
    """Where bubblewrap dies before its own waiting process, that one ends as well."""

    def until_the_copy_is_there(maker, group):
        while not _copies(maker, group):
            pass

    begun = killed_maker(
        """
bubblewrap.command = lambda *_: ["/bin/sh", "-c", "sleep 600 & kill -9 $$"]
held = make()
held.process.wait()
tell(held.process.pid)
""",
        until_the_copy_is_there,
    )
    assert len(begun) == 3  # the zygote, its copy, and what bubblewrap has left behind
    assert not outliving(begun)


def _copies(pid, group):
    """Return what the zygote of process `pid` has forked."""
    family = psutil.Process(pid).children(recursive=True)
    return [p for p in family if p.ppid() != pid and _group(p) != group]


def _group(process):
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None
