"""What CUDA needs of the machine: device files, the driver's libraries, a compiler for kernels."""

import os
import sys
import sysconfig
from dataclasses import replace
from email.message import Message
from functools import partial
from importlib import metadata
from types import SimpleNamespace

import pynvml
import pytest

from harness import installation
from harness.contract import SetupError, Slice
from harness.sandbox import SandboxPolicy, python_argv, run
from harness.sandbox.backends import bubblewrap, devices, interpreter, landlock, mig
from harness.sandbox.backends.environment import environment
from harness.sandbox.boot import zygote_client
from harness.sandbox.guest.toolchain import missing_toolchain
from harness.tasks.base import RUNNERS
from swarm.cli import doctor
from swarm.executors import harness_process
from tests.support.nvml import FakeNvml
from tests.support.sandboxes import CORE, SLICE

LEASE = Slice("gpu0", "cuda", (CORE,), "GPU-bb")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with two GPUs, as the driver lists them; its /dev begins empty."""
    for name, place in (("DEV", "dev"), ("GPUS", "gpus")):
        monkeypatch.setattr(devices, name, tmp_path / place)
    (tmp_path / "dev").mkdir()
    for minor, uuid in enumerate(("GPU-aa", "GPU-bb")):
        (tmp_path / f"gpus/{minor}").mkdir(parents=True)
        text = f"GPU UUID: {uuid}\nDevice Minor: {minor}\n"
        (tmp_path / f"gpus/{minor}/information").write_text(text)
    monkeypatch.setattr(devices, "LIBRARY_FOLDERS", ())
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    return tmp_path


def make_nodes(machine, *names):
    """Make device files; ordinary ones will do."""
    for name in names:
        (machine / "dev" / name).parent.mkdir(exist_ok=True)
        (machine / "dev" / name).touch()
        (machine / "dev" / name).chmod(0o666)


def test_a_sandbox_is_given_its_own_gpu_and_the_drivers_files(machine):
    """Those that exist, in every kind of sandbox; by UUID, by index, and for a MIG instance."""
    make_nodes(machine, "nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "sda", "nvidia-caps/x")
    for lease in (LEASE, Slice("gpu1", "cuda", (CORE,), "1")):
        names = [node.name for node in devices.device_nodes(lease)]
        assert names == ["nvidia1", "nvidiactl", "nvidia-uvm"]
    words = bubblewrap.options(SandboxPolicy(LEASE, 1.0, 64), ["/bin/true"], 9)
    bound = [words[i + 1] for i, word in enumerate(words) if word == "--dev-bind"]
    assert bound == sorted(str(machine / "dev" / name) for name in names)
    ruled = [path for path, _ in landlock._driver_rules(LEASE)]
    assert ruled[:3] == [str(machine / "dev" / name) for name in names]
    assert "/proc/driver" in ruled


def test_a_mig_instance_is_given_its_own_capabilities(machine, monkeypatch):
    """Its GPU's file and two of the capabilities; all of them where NVML does not tell which."""
    monkeypatch.setattr(mig, "CAPABILITIES", machine / "capabilities")
    make_nodes(machine, "nvidia1", *(f"nvidia-caps/nvidia-cap{n}" for n in (1, 30, 31, 40, 41)))
    for place, number in (("gi3", 30), ("gi3/ci0", 31), ("gi4", 40), ("gi4/ci0", 41)):
        folder = machine / "capabilities/gpu1/mig" / place
        folder.mkdir(parents=True)
        (folder / "access").write_text(f"DeviceFileMinor: {number}\nDeviceFileMode: 292\n")
    nvml = FakeNvml({"GPU-aa": None, "GPU-bb": (None, None, None, "MIG-x", "MIG-y")})
    monkeypatch.setattr(devices, "_capabilities", partial(mig.capability_files, nvml=nvml))

    def names(uuid):
        nodes = devices.device_nodes(Slice("gpu1", "cuda", (CORE,), uuid, parent="GPU-bb"))
        return [str(node.relative_to(machine / "dev")) for node in nodes]

    assert names("MIG-x") == ["nvidia1", "nvidia-caps/nvidia-cap30", "nvidia-caps/nvidia-cap31"]
    assert names("MIG-y") == ["nvidia1", "nvidia-caps/nvidia-cap40", "nvidia-caps/nvidia-cap41"]
    nvml.broken = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert names("MIG-x") == ["nvidia1", "nvidia-caps"]
    assert nvml.opened == 0


def test_the_slice_is_visible_by_its_uuid(machine):
    """An index would count inside the sandbox, where there is one GPU only."""
    assert environment(SandboxPolicy(LEASE, 1, 1), "/")["CUDA_VISIBLE_DEVICES"] == "GPU-bb"
    by_index = Slice("gpu0", "cuda", (), "0")
    assert environment(SandboxPolicy(by_index, 1, 1), "/")["CUDA_VISIBLE_DEVICES"] == "GPU-aa"


def test_device_files_that_only_root_can_make_are_asked_for(machine):
    """CUDA makes them outside a sandbox and cannot inside; a CPU needs none, WSL has none."""
    devices.check_device(SLICE)
    make_nodes(machine, "nvidia0", "nvidiactl")
    lacking = r"slice gpu0: no .*/nvidia-uvm and no .*/nvidia1, .*`nvidia-modprobe -u -c 1`"
    with pytest.raises(SetupError, match=lacking):
        devices.check_device(LEASE)
    make_nodes(machine, "nvidia-uvm", "nvidia1")
    devices.check_device(LEASE)
    make_nodes(machine, "dxg")
    with pytest.raises(SetupError, match=r"slice gpu0: under WSL CUDA does not start in a sandbox"):
        devices.check_device(LEASE)


def test_device_files_that_the_sandboxs_user_cannot_open_are_named(machine, monkeypatch):
    """As root that user is another one, whom the group of a file does not help."""
    make_nodes(machine, "nvidia1", "nvidiactl", "nvidia-uvm")
    (machine / "dev/nvidia1").chmod(0o660)
    for uid in (65_000, None):
        monkeypatch.setattr(devices, "sandbox_uid", lambda uid=uid: uid)
        monkeypatch.setattr(os, "access", lambda node, mode: node.name != "nvidia1")
        with pytest.raises(SetupError, match=r"cannot open (\S+/nvidia1); .*`chmod a\+rw \1`"):
            devices.check_device(LEASE)


def test_doctor_says_what_gpus_lack(machine, monkeypatch):
    """A line for each slice without device files, for torch, for its compiler; none for cores."""
    monkeypatch.setattr(installation, "version", lambda name: "2.13.0+cpu")
    monkeypatch.setattr(doctor, "missing_toolchain", lambda device, path: f"no compiler: {path}")
    lines = list(doctor.gpu_fixes([LEASE, replace(LEASE, name="gpu1"), SLICE]))
    begin = ["slice gpu0", "slice gpu1", "torch 2.13", "no compile"]
    assert [line[:10] for line in lines] == begin
    monkeypatch.setattr(installation, "version", lambda name: "2.13.0")
    make_nodes(machine, "nvidiactl", "nvidia-uvm", "nvidia1")
    monkeypatch.setattr(doctor, "missing_toolchain", lambda device, path: "")
    assert list(doctor.gpu_fixes([LEASE, SLICE])) == []


def test_libraries_that_the_loader_does_not_know_are_named(machine, monkeypatch):
    """Folders of LD_LIBRARY_PATH that hold the driver's, and no other, reach the sandbox."""
    driver, other = machine / "nvidia/lib64", machine / "other"
    for folder in (driver, other):
        folder.mkdir(parents=True)
    (driver / "libcuda.so.1").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{other}:{driver}:relative:")
    assert devices.driver_trees(LEASE) == ["/sys", str(driver)]
    env = environment(SandboxPolicy(LEASE, 1, 1), "/")
    assert env["LD_LIBRARY_PATH"] == env["TRITON_LIBCUDA_PATH"] == str(driver)
    named = harness_process._environment(LEASE)["LD_LIBRARY_PATH"]  # NVML is there, too
    assert named.split(":")[1] == str(driver)
    assert "LD_LIBRARY_PATH" not in harness_process._environment(SLICE)
    assert "LD_LIBRARY_PATH" not in environment(SandboxPolicy(SLICE, 1, 1), "/")
    monkeypatch.setattr(zygote_client, "library_path", lambda: {"LD_LIBRARY_PATH": "/python/lib"})
    assert zygote_client._environment(LEASE)["LD_LIBRARY_PATH"] == f"/python/lib:{driver}"


def test_libraries_that_torch_takes_from_extras_are_there(monkeypatch):
    """`cuda-toolkit[cublas]` brings cublas, and none of the extras that nobody asks for."""
    requires = {
        "torch": ['cuda-toolkit[cublas,cudart]==13.0; platform_system == "Linux"', "sympy"],
        "cuda-toolkit": [
            "nvidia-cublas==13.1.*; (sys_platform == 'linux') and extra == 'cublas'",
            "nvidia-cufft==12.*; extra == 'cufft'",
            'nvidia-cuda-runtime; extra == "cudart"',
        ],
        "nvidia-cublas": ["Torch"],
        "nvidia-cuda-runtime": [],
    }

    def distribution(name):
        if name.lower() not in requires:
            raise metadata.PackageNotFoundError(name)
        named = Message()
        named["Name"] = name.lower()
        return SimpleNamespace(requires=requires[name.lower()], name=name.lower())

    monkeypatch.setattr(metadata, "distribution", distribution)
    found = {one.name for one in interpreter._closure(("torch",))}
    assert found == {"torch", "cuda-toolkit", "nvidia-cublas", "nvidia-cuda-runtime"}


def test_what_a_compiled_model_lacks_is_said_in_one_line(tmp_path, monkeypatch):
    """Each kind of device wants its compiler, Triton also Python's headers; a Mac wants nothing."""
    assert missing_toolchain("mps", path="") == ""
    for device, compiler in (("cpu", "g++"), ("cuda", "gcc")):
        assert "`apt install g++`" in missing_toolchain(device, path=str(tmp_path))
        (tmp_path / compiler).touch(0o755)
    assert missing_toolchain("cpu", path=str(tmp_path)) == ""
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    said = missing_toolchain("cuda", path=str(tmp_path))
    assert said.endswith(f"/Python.h: `apt install python{version}-dev`")
    (tmp_path / "Python.h").touch()
    assert missing_toolchain("cuda", path=str(tmp_path)) == ""


@pytest.mark.sandbox
def test_without_a_compiler_a_trial_ends_with_that_line(tmp_path):
    """The genome gets no further than its call of torch.compile, and its log says what to do."""
    (tmp_path / "genome").mkdir()
    (tmp_path / "genome/train.py").write_text(
        "import torch\ndef train(trial):\n    torch.compile(torch.nn.Linear(1, 1))\n"
    )
    (tmp_path / "tokens").write_bytes(b"\0" * 8)
    tmp_path.chmod(0o755)
    words = "--entry /g/train.py --tokens /t --out /out --device cpu --share 1 --seconds 60"
    words += " --vocab 2 --context 2 --depth 1 --seed 1"
    policy = SandboxPolicy(
        SLICE,
        60.0,
        1024,
        read={"/g": tmp_path / "genome", "/t": tmp_path / "tokens"},
        env={"PATH": "/nowhere"},
    )
    ended = run(policy, python_argv(RUNNERS / "gpt_train.py", *words.split()), tmp_path / "log")
    assert ended.code == 1
    said = (tmp_path / "log").read_text().splitlines()
    assert said[-1] == "torch.compile finds no compiler (g++, c++, clang++): `apt install g++`"
