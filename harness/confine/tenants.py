"""Who computes on a slice's GPU: nobody may but a box of ours, or the trial is void.

Before a trial, and when nothing of it is alive any more, NVIDIA's management library (NVML) is
asked for the processes that compute there. Whoever is there took time and memory from the trial,
or will.

Not covered: who came and went between the two looks. Slices that share a GPU, where each one's
boxes are strangers to the others. Drivers that do not tell (WSL, some virtual GPUs); from inside a
container, processes outside may not be listed. Graphics. No machine with a GPU was at hand: the
tests speak to a stand-in for NVML.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped]  # it has no annotations

from harness.contract import HarnessError, Slice

PATIENCE = 2.0  # seconds for a driver to forget the dead
TICK = 0.05

_UNTOLD = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION)


@contextmanager
def alone(lease: Slice, nvml: Any = pynvml) -> Iterator[None]:  # noqa: ANN401  # a module
    """Raise HarnessError where somebody computes on the slice's GPU before or after the block."""
    looked_at = lease.kind == "cuda" and lease.share >= 1
    if looked_at:
        _check(lease, "before the trial", nvml)
    yield
    if looked_at:
        _check(lease, "after the trial", nvml)


def _check(lease: Slice, when: str, nvml: Any) -> None:  # noqa: ANN401
    limit = time.monotonic() + PATIENCE
    while found := _tenants(lease, nvml):
        if time.monotonic() > limit:
            who = ", ".join(f"{pid}{_name(pid)}" for pid in found)
            raise HarnessError(
                f"slice {lease.name} is not ours alone: GPU {lease.gpu} computed for process {who}"
                f" {when}"
            )
        time.sleep(TICK)


def _tenants(lease: Slice, nvml: Any) -> list[int]:  # noqa: ANN401
    """Return the processes that compute on the slice's GPU, or on its MIG instance."""
    try:
        nvml.nvmlInit()
        try:
            found = nvml.nvmlDeviceGetComputeRunningProcesses(_handle(lease.gpu, nvml))
            return sorted(each.pid for each in found)
        finally:
            nvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        if error.value in _UNTOLD:
            return []
        raise HarnessError(f"GPU {lease.gpu} cannot be looked at: {error}") from error


def _handle(gpu: str, nvml: Any) -> object:  # noqa: ANN401
    found: object = (
        nvml.nvmlDeviceGetHandleByIndex(int(gpu))
        if gpu.isdigit()
        else nvml.nvmlDeviceGetHandleByUUID(gpu)
    )
    return found


def _name(pid: int) -> str:
    with suppress(OSError):
        return f" ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    return ""
