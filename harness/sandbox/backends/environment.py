"""What a box's program is told through its environment: a fixed list, and what the policy adds."""

from __future__ import annotations

from harness.sandbox.backends.devices import visible
from harness.sandbox.policy import SandboxPolicy

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def environment(policy: SandboxPolicy, home: str, tmp: str = "/tmp") -> dict[str, str]:  # noqa: S108  # the box's own
    """Return the whole environment of a box; nothing of ours leaks into it.

    An unpinned slice gets no thread counts, a slice without a GPU sees none.
    """
    env = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": visible(policy.slice),
        "HOME": home,
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TMPDIR": tmp,
        "USER": "box",
    }
    threads = dict.fromkeys(THREADS, str(len(policy.slice.cores))) if policy.slice.cores else {}
    return env | threads | dict(policy.env)
