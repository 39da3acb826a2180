"""The environment of a sandboxed program: a fixed list plus what the policy adds."""

from __future__ import annotations

from harness.sandbox.backends.devices import library_folders, visible_devices
from harness.sandbox.policy import SandboxPolicy

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
"""The PATH of a sandbox."""


def environment(policy: SandboxPolicy, home: str, tmp: str = "/tmp") -> dict[str, str]:  # noqa: S108  # the sandbox's own
    """Return the whole environment; nothing of the caller's is inherited.

    An unpinned slice sets no thread counts; a slice without a GPU makes none visible.
    """
    env = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": visible_devices(policy.slice),
        "HOME": home,
        "LANG": "C.UTF-8",
        "PATH": PROGRAMS,
        "TMPDIR": tmp,
        "USER": "sandbox",
    }
    if folders := library_folders(policy.slice):  # Triton asks `ldconfig`, which may not be there
        env |= {"LD_LIBRARY_PATH": ":".join(folders), "TRITON_LIBCUDA_PATH": folders[0]}
    threads = dict.fromkeys(THREADS, str(len(policy.slice.cores))) if policy.slice.cores else {}
    return env | threads | dict(policy.env)
