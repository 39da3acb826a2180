"""A CUDA slice's sandbox on a machine without a GPU: real but for the device and its driver.

The device files are ordinary ones, and libcuda.so.1 is a stub that starts where the slice's UUID is
visible. What Triton does on a CPU is done: launchers are built, linked and loaded, kernels compiled
for an H100.
"""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from harness.contract import Slice
from harness.sandbox import SandboxPolicy, python_argv, run
from harness.sandbox.backends import devices
from tests.support.sandboxes import CORE

pytestmark = pytest.mark.sandbox

DRIVER = """
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) {
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  return visible && !strcmp(visible, "GPU-bb") ? 0 : 100;
}
"""

LAUNCHER = r"""
import ctypes, multiprocessing, os, select, subprocess, sys, sysconfig, tempfile
from pathlib import Path

print("nodes", *sorted(os.listdir(sys.argv[1])))
print("cuInit", ctypes.CDLL("libcuda.so.1").cuInit(0))
work = tempfile.mkdtemp()
Path(work, "launcher.c").write_text('''
#include <Python.h>
int cuInit(unsigned);
static PyObject *start(PyObject *self, PyObject *none) { return PyLong_FromLong(cuInit(0)); }
static PyMethodDef methods[] = {{"start", start, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "launcher", 0, -1, methods};
PyMODINIT_FUNC PyInit_launcher(void) { return PyModule_Create(&module); }
''')
words = ["cc", "-shared", "-fPIC", "-I", sysconfig.get_paths()["include"], "launcher.c"]
words += ["-L", os.environ["TRITON_LIBCUDA_PATH"], "-l:libcuda.so.1", "-o", "launcher.so"]
subprocess.run(words, cwd=work, check=True)
sys.path.insert(0, work)
import launcher
print("launcher", launcher.start())
multiprocessing.Lock()  # /dev/shm
os.close(os.memfd_create("driver"))
select.epoll().close()
print("sysfs", os.path.isdir("/sys/devices"))
"""

KERNEL = """
import os
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.driver import library_dirs
from triton.compiler import ASTSource

@triton.jit
def add_one(x, y, n, SIZE: tl.constexpr):
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    tl.store(y + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

signature = {"x": "*fp32", "y": "*fp32", "n": "i32", "SIZE": "constexpr"}
source = ASTSource(fn=add_one, signature=signature, constexprs={(3,): 128})
compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
print("cubin", len(compiled.asm["cubin"]))
print("driver", library_dirs()[-1])
print("cached", len(os.listdir(os.environ["TRITON_CACHE_DIR"])))
"""


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with two GPUs, whose driver's libraries only LD_LIBRARY_PATH names."""
    monkeypatch.setattr(devices, "DEV", tmp_path / "dev")
    monkeypatch.setattr(devices, "GPUS", tmp_path / "gpus")
    monkeypatch.setattr(devices, "LIBRARY_FOLDERS", ())
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "driver"))
    for minor, uuid in ((3, "GPU-aa"), (4, "GPU-bb")):
        (tmp_path / f"gpus/{minor}").mkdir(parents=True)
        text = f"GPU UUID: {uuid}\nDevice Minor: {minor}\n"
        (tmp_path / f"gpus/{minor}/information").write_text(text)
    (tmp_path / "dev").mkdir()
    for name in ("nvidia3", "nvidia4", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
        (tmp_path / "dev" / name).chmod(0o666)
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver.c").write_text(DRIVER)
    words = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", tmp_path / "driver.c"]
    subprocess.run([*words, "-o", tmp_path / "driver/libcuda.so.1"], check=True)
    tmp_path.chmod(0o755)
    return tmp_path


def ran(machine, code, *words, **more):
    """Run a program in a sandbox of the second GPU; return what it printed, by first word."""
    slice_ = Slice("gpu1", "cuda", (CORE,), "GPU-bb")
    devices.check_device(slice_)
    (machine / "program.py").write_text(code)
    argv = python_argv(machine / "program.py", *words)
    ended = run(SandboxPolicy(slice_, 300.0, 4096, **more), argv, machine / "log")
    log = (machine / "log").read_text()
    assert ended.code == 0, log
    return dict(line.partition(" ")[::2] for line in log.splitlines())


needs_compiler = pytest.mark.skipif(
    not shutil.which("cc") or not Path(sysconfig.get_paths()["include"], "Python.h").exists(),
    reason="needs a C compiler and Python's headers",
)


@needs_compiler
def test_the_driver_starts_and_launchers_are_built(machine):
    """Its own device file, the driver by the loader and by the linker, `cc`, /dev/shm, /sys."""
    said = ran(machine, LAUNCHER, str(machine / "dev"), torch=False)
    assert said == {
        "nodes": "nvidia-uvm nvidia4 nvidiactl",
        "cuInit": "0",
        "launcher": "0",
        "sysfs": "True",
    }


@needs_compiler
def test_triton_compiles_for_an_h100(machine):
    """Down to the machine code, by its own assembler, into the folder that the harness names."""
    pytest.importorskip("triton", reason="needs Triton, which comes with torch for CUDA")
    env = {"TRITON_CACHE_DIR": "/tmp/kernels"}
    said = ran(machine, KERNEL, all_packages=True, env=env)
    assert int(said["cubin"]) > 1000
    assert said["driver"] == str(machine / "driver") == os.environ["LD_LIBRARY_PATH"]
    assert int(said["cached"]) > 0
