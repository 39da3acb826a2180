"""Who computes on a slice's GPU: nobody may but a box of ours, or the trial is void.

Before a trial, and when nothing of it is alive any more, NVIDIA's management library (NVML) is
asked for the processes that compute there. Whoever is there took time and memory from the trial,
or will. It is asked for the memory in use, too: where that is more than at the quietest look so
far, it has not drained, whoever holds it (a process that is not listed, a driver that lags).

Not covered: who came and went between the two looks. What was held at the first look and ever
since. Slices that share a GPU, where each one's boxes are strangers to the others. Drivers that do
not tell (WSL, some virtual GPUs); from inside a container, processes outside may not be listed.
Graphics. No machine with a GPU was at hand: the tests speak to a stand-in for NVML.
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
SLACK = 128 << 20  # bytes by which a driver's own memory may grow from one look to another

_least: dict[str, int] = {}
"""The fewest bytes that were seen in use on each GPU."""

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
    while said := _against(lease, nvml):
        if time.monotonic() > limit:
            raise HarnessError(
                f"slice {lease.name} is not ours alone: GPU {lease.gpu} {said} {when}"
            )
        time.sleep(TICK)


def _against(lease: Slice, nvml: Any) -> str:  # noqa: ANN401
    """Return what speaks against leasing the slice's GPU now, nothing where it is idle."""
    try:
        nvml.nvmlInit()
        try:
            handle = _handle(lease.gpu, nvml)
            found = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            used = nvml.nvmlDeviceGetMemoryInfo(handle).used
        finally:
            nvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        if error.value in _UNTOLD:
            return ""
        raise HarnessError(f"GPU {lease.gpu} cannot be looked at: {error}") from error
    if found:
        who = ", ".join(f"{pid}{_name(pid)}" for pid in sorted(each.pid for each in found))
        return f"computed for process {who}"
    least = _least[lease.gpu] = min(used, _least.get(lease.gpu, used))
    held = (used - least) >> 20
    return f"held {held} MiB that nobody is known to use" if used > least + SLACK else ""


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
