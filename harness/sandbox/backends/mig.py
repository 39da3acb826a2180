"""The device files of a MIG instance's capabilities: its own two, not those of its neighbours.

A process opens an instance through its GPU's device file and two files of /dev/nvidia-caps: one for
the GPU instance, one for the compute instance in it. /proc tells their numbers.

Not covered: this follows NVIDIA's documentation of the driver's files and of NVML, and was not
tested on a machine with MIG.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped]  # it has no annotations

CAPABILITIES = Path("/proc/driver/nvidia/capabilities")
FOLDER = "nvidia-caps"
"""Below /dev."""

_MINOR = re.compile(r"^DeviceFileMinor:\s*(\d+)", re.MULTILINE)


def capability_files(
    uuid: str,
    minor: int,
    nvml: Any = pynvml,  # noqa: ANN401  # a module
) -> tuple[str, ...]:
    """Return the names below /dev of the capabilities of the instance `uuid` of GPU `minor`.

    The whole folder where they cannot be told.
    """
    with suppress(pynvml.NVMLError, OSError):
        gpu, compute = _instance(uuid, nvml)
        place = CAPABILITIES / f"gpu{minor}/mig/gi{gpu}"
        found = [
            _MINOR.search((folder / "access").read_text())
            for folder in (place, place / f"ci{compute}")
        ]
        if all(found):
            return tuple(f"{FOLDER}/nvidia-cap{each.group(1)}" for each in found if each)
    return (FOLDER,)


def _instance(uuid: str, nvml: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return the numbers of an instance: of its GPU instance, of its compute instance."""
    nvml.nvmlInit()
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        return (
            nvml.nvmlDeviceGetGpuInstanceId(handle),
            nvml.nvmlDeviceGetComputeInstanceId(handle),
        )
    finally:
        nvml.nvmlShutdown()
