"""The device files, driver trees and driver libraries that a slice's sandboxes see.

Not covered: this follows NVIDIA's documentation and public reports on bubblewrap and was not tested
on a machine with a GPU. GPUs of other vendors, and WSL's /dev/dxg, are not bound.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.contract import SetupError, Slice
from harness.sandbox.backends import mig
from harness.sandbox.backends.uids import sandbox_uid

DEV = Path("/dev")
NEEDED_NODES = ("nvidiactl", "nvidia-uvm")
SHARED_NODES = (*NEEDED_NODES, "nvidia-uvm-tools", "nvidia-modeset")
OPEN_TO_ALL = 0o006  # readable and writable by others
WSL = "dxg"
GPUS = Path("/proc/driver/nvidia/gpus")

DRIVER = "libcuda.so.1"
LIBRARY_FOLDERS = (
    "/usr/local/nvidia/lib64",
    "/usr/lib64-nvidia",
    "/usr/lib/wsl/lib",
    "/run/opengl-driver/lib",
)
"""Where containers, notebook hosts and NixOS keep the driver's libraries, unknown to the loader's
cache; their users find them by LD_LIBRARY_PATH."""


@dataclass(frozen=True, slots=True)
class DeviceNodes:
    """A GPU as the driver lists it: number in `/dev/nvidia{minor}` and UUID."""

    minor: int
    uuid: str


def find_gpu(name: str, gpus: Path = GPUS) -> DeviceNodes | None:
    """Return the GPU with this UUID or index (in PCI bus order); None where none is listed."""
    listed = [_read(gpu / "information") for gpu in sorted(gpus.glob("*"))]
    if name.isdigit():
        return listed[int(name)] if int(name) < len(listed) else None
    return next((gpu for gpu in listed if gpu.uuid == name), None)


def device_nodes(lease: Slice) -> list[Path]:
    """Return the device files of the slice's GPU and those shared by all GPUs.

    A MIG instance is reached through the file of its parent GPU and those of its capabilities.
    """
    if lease.kind != "cuda":
        return []
    gpu = find_gpu(lease.parent or lease.gpu, GPUS)
    own = [f"nvidia{gpu.minor}"] if gpu else sorted(p.name for p in DEV.glob("nvidia[0-9]*"))
    caps = _capabilities(lease.gpu, gpu.minor if gpu else 0) if lease.parent else ()
    return [node for name in (*own, *SHARED_NODES, *caps) if (node := DEV / name).exists()]


_capabilities = cache(mig.capability_files)


def check_device(lease: Slice) -> None:
    """Raise SetupError where the slice's device cannot work in a sandbox.

    Inside one nobody can make the driver's device files, which outside it CUDA makes itself when it
    starts as root.
    """
    if lease.kind != "cuda":
        return
    if (DEV / WSL).exists():
        raise SetupError(
            f"slice {lease.name}: under WSL CUDA does not start in a sandbox; use Linux itself, set"
            " slices.kind: cpu, or pass --sandbox none"
        )
    gpu = find_gpu(lease.parent or lease.gpu, GPUS)
    number = gpu.minor if gpu else 0
    needed = [DEV / name for name in (*NEEDED_NODES, *([f"nvidia{number}"] if gpu else []))]
    if missing := [str(node) for node in needed if not node.exists()]:
        raise SetupError(
            f"slice {lease.name}: no {' and no '.join(missing)}, without which CUDA cannot start in"
            f" a sandbox; make them, as root: `nvidia-modprobe -u -c {number}`"
        )
    if closed := [str(node) for node in needed if not _opens(node)]:
        raise SetupError(
            f"slice {lease.name}: the user of its sandboxes cannot open {' and '.join(closed)}; as"
            f" root: `chmod a+rw {' '.join(closed)}`"
        )


def _opens(node: Path) -> bool:
    """Return whether a sandbox's user may read and write a device file."""
    if sandbox_uid() is None:
        return os.access(node, os.R_OK | os.W_OK)
    return node.stat().st_mode & OPEN_TO_ALL == OPEN_TO_ALL


def driver_trees(lease: Slice) -> list[str]:
    """Return the trees that the driver reads: without /sys, cuInit returns 304."""
    return ["/sys", *library_folders(lease)] if lease.kind == "cuda" else []


def library_folders(lease: Slice) -> list[str]:
    """Return the folders of the driver's libraries that LD_LIBRARY_PATH has to name, if any."""
    if lease.kind != "cuda":
        return []
    named = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    folders = dict.fromkeys(path for path in (*named, *LIBRARY_FOLDERS) if path.startswith("/"))
    return [path for path in folders if Path(path, DRIVER).exists()]


def visible_devices(lease: Slice) -> str:
    """Return CUDA_VISIBLE_DEVICES: the UUID where it is known.

    An index would count only the device nodes inside the sandbox.
    """
    gpu = find_gpu(lease.gpu, GPUS) if lease.kind == "cuda" else None
    return gpu.uuid if gpu else lease.gpu


def _read(information: Path) -> DeviceNodes:
    """Parse `/proc/driver/nvidia/gpus/*/information`."""
    text = information.read_text()
    minor = re.search(r"^Device Minor:\s*(\d+)", text, re.MULTILINE)
    uuid = re.search(r"^GPU UUID:\s*(\S+)", text, re.MULTILINE)
    return DeviceNodes(int(minor.group(1)) if minor else 0, uuid.group(1) if uuid else "")
