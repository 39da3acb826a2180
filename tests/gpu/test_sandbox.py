"""CUDA inside a sandbox: it works, it sees one device, and nothing more escapes than on a CPU."""

import json
import subprocess

import pytest

from harness.contract import SetupError
from harness.sandbox import Zygote
from harness.sandbox.backends import seccomp
from harness.sandbox.tiers import CONFINED, check
from tests.attacks import table
from tests.support import target

pytestmark = pytest.mark.gpu

SELF_CHECK = """
import json, sys
from harness.contract import Slice
from harness.sandbox.self_check import run_self_check
kind, fields = json.loads(sys.argv[1])
found = run_self_check(kind, Slice(**{**fields, "cores": ()}))
escaped = {a.name: a.escaped for a in found if a.escaped}
print(json.dumps({"attacks": len(found), "escaped": escaped}))
"""

PROBE = """
import ctypes, os, sys, time
device = sys.argv[1]
def step(name):
    print("step", name, flush=True)
if device == "cuda":
    step("load libcuda.so.1")
    driver = ctypes.CDLL("libcuda.so.1")
    step("cuInit")
    code = driver.cuInit(0)
    if code:
        sys.exit(f"cuInit returns {code}")
step("import torch")
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
if device == "cuda":
    step("count devices")
    assert torch.cuda.is_available(), "torch sees no GPU"
    print("devices", torch.cuda.device_count())
    print("uuid", torch.cuda.get_device_properties(0).uuid)
step("allocate")
x = torch.randn(512, 512, device=device)
step("matrix product")
want = x.double() @ x.double()
assert (x @ x - want).abs().max() < 1e-2
step("flash attention")
q = torch.randn(2, 4, 128, 64, device=device, dtype=torch.bfloat16, requires_grad=True)
with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
    F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()
assert q.grad.isfinite().all()
step("autocast")
layer = torch.nn.Linear(512, 512).to(device)
with torch.autocast(device, torch.bfloat16):
    out = layer(x)
assert out.dtype == torch.bfloat16
out.float().square().mean().backward()
step("pinned memory")
if device == "cuda":
    host = torch.ones(1 << 20).pin_memory()
    assert host.to(device, non_blocking=True).sum().item() == 1 << 20
step("generator")
torch.manual_seed(1)
a = torch.randn(8, device=device)
torch.manual_seed(1)
assert torch.equal(a, torch.randn(8, device=device))
step("speed")
n = 8192 if device == "cuda" else 256
y = torch.randn(n, n, device=device, dtype=torch.bfloat16)
for timed in (False, True):
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.monotonic()
    for _ in range(10):
        y @ y
    if device == "cuda":
        torch.cuda.synchronize()
print("tflops", 20 * n**3 / (time.monotonic() - began) / 1e12)
print("nodes", sorted(name for name in os.listdir("/dev") if name.startswith("nvidia")))
step("done")
"""


def told(log, name):
    """Return what a program printed after a word, the last time."""
    found = [line for line in log.splitlines() if line.startswith(f"{name} ")]
    return found[-1].partition(" ")[2] if found else None


def need(kind):
    """Skip where this machine cannot make sandboxes of a kind."""
    try:
        check(kind)
    except SetupError as error:
        pytest.skip(str(error))


def blamed(device, tmp_path, kind):
    """Return which answers of the system call filter the probe needs to be otherwise, and its log.

    The table is relaxed entry by entry: an entry without which the probe gets further is to blame.
    """

    def reached():
        _, log = device.run(PROBE, tmp_path / "blame", None, device.kind, kind=kind)
        return log.count("step "), log

    steps, log = reached()
    found = []
    for table_name in ("REFUSED", "REFUSED_ARGUMENTS"):
        whole = getattr(seccomp, table_name)
        for entry in whole:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(seccomp, table_name, tuple(e for e in whole if e is not entry))
                seccomp.program.cache_clear()
                further, _ = reached()
            if further > steps:
                found.append(entry.reason)
    seccomp.program.cache_clear()
    return found, log


@pytest.mark.parametrize("start", ["cold", "zygote"])
@pytest.mark.parametrize("kind", CONFINED)
def test_cuda_computes(device, figure, tmp_path, kind, start):
    """Driver, products, flash attention, autocast, pinned memory; if not, who refuses is named."""
    need(kind)
    if start == "zygote":
        with Zygote(device.slice) as source:
            ended, log = device.run(PROBE, tmp_path / "p", source, device.kind, kind=kind)
    else:
        ended, log = device.run(PROBE, tmp_path / "p", None, device.kind, kind=kind)
    figure("seconds", round(ended.seconds, 2))
    figure("host_mib", round(ended.peak_mib))
    if ended.code or ended.killed:
        outside, _ = device.run(PROBE, tmp_path / "outside", None, device.kind, kind="none")
        found, _ = blamed(device, tmp_path, kind) if not outside.code else (["no sandbox"], "")
        pytest.fail(f"stops after {told(log, 'step')}: {log.splitlines()[-1:]}; to blame: {found}")
    figure("tflops", float(told(log, "tflops")))


@pytest.mark.parametrize("kind", CONFINED)
def test_a_sandbox_sees_its_own_device_only(device, only_gpu, tmp_path, kind):
    """One GPU for torch, with the slice's UUID, and one device file."""
    need(kind)
    ended, log = device.run(PROBE, tmp_path / "p", None, device.kind, kind=kind)
    assert ended.code == 0, log
    assert told(log, "devices") == "1"
    assert told(log, "uuid") in device.slice.gpu
    if kind == "namespaces":  # with Landlock names are visible and cannot be opened
        nodes = [
            name for name in json.loads(told(log, "nodes").replace("'", '"')) if name[6:].isdigit()
        ]
        assert len(nodes) == 1


@pytest.mark.parametrize("user", table.USERS)
@pytest.mark.parametrize("kind", CONFINED)
def test_nothing_escapes_with_the_device_bound(device, figure, kind, user):
    """The self-check's attacks, in sandboxes that see the GPU and may call its driver."""
    if reason := table.why_not(user, kind):
        pytest.skip(reason)
    fields = {"name": "gpu0", "kind": device.kind, "gpu": device.slice.gpu}
    words = [table.interpreter(user, kind), "-c", SELF_CHECK, json.dumps([kind, fields])]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **table.become(user))
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    figure("attacks", result["attacks"])
    assert result["escaped"] == {}


def test_doctor_finds_the_device(device, figure, tmp_path):
    """It lists the slice, and has nothing to fix that concerns it."""
    diagnosis = json.loads(target.swarm(tmp_path, "doctor", "--json"))
    figure("slices", len(diagnosis["slices"]))
    assert diagnosis["sound"]
    assert diagnosis["fixes"] == []
    if not device.dry:
        assert diagnosis["slices"][0]["gpu"] == device.slice.gpu
