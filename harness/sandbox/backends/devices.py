"""Which device files and driver trees a slice's boxes see.

Not covered: this follows NVIDIA's documentation and public reports on bubblewrap; no machine with
a GPU was at hand. A MIG instance's box sees its GPU's node and every instance's capabilities, and
is told its own by CUDA_VISIBLE_DEVICES alone. Other vendors' GPUs are not bound at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.contract import Slice

SHARED = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps")
GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class DeviceNodes:
    """A GPU as the driver lists it: `/dev/nvidia{minor}` and the name that is the same anywhere."""

    minor: int
    uuid: str


def find_gpu(name: str, gpus: Path = GPUS) -> DeviceNodes | None:
    """Return the GPU with this UUID or index (by PCI bus), None where the driver lists none."""
    listed = [_read(each / "information") for each in sorted(gpus.glob("*"))]
    if name.isdigit():
        return listed[int(name)] if int(name) < len(listed) else None
    return next((gpu for gpu in listed if gpu.uuid == name), None)


def device_nodes(lease: Slice) -> list[Path]:
    """Return the device files of the slice's own GPU, and those that all GPUs share.

    A MIG instance is reached through the file of the GPU that it is a part of.
    """
    if lease.kind != "cuda":
        return []
    gpu = find_gpu(lease.parent or lease.gpu)
    own = (
        [f"nvidia{gpu.minor}"] if gpu else sorted(p.name for p in Path("/dev").glob("nvidia[0-9]*"))
    )
    return [node for name in (*own, *SHARED) if (node := Path("/dev", name)).exists()]


def driver_trees(lease: Slice) -> list[str]:
    """Return the trees that the driver reads: without /sys, cuInit answers 304."""
    return ["/sys"] if lease.kind == "cuda" else []


def visible(lease: Slice) -> str:
    """Return CUDA_VISIBLE_DEVICES: the UUID where it is known.

    An index would count only the nodes that the box has.
    """
    gpu = find_gpu(lease.gpu) if lease.kind == "cuda" else None
    return gpu.uuid if gpu else lease.gpu


def _read(information: Path) -> DeviceNodes:
    """Return what `/proc/driver/nvidia/gpus/*/information` says of one GPU."""
    text = information.read_text()
    minor = re.search(r"^Device Minor:\s*(\d+)", text, re.MULTILINE)
    uuid = re.search(r"^GPU UUID:\s*(\S+)", text, re.MULTILINE)
    return DeviceNodes(int(minor.group(1)) if minor else 0, uuid.group(1) if uuid else "")
