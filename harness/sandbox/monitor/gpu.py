"""Checks for foreign processes on a slice's GPU: where there are any, the trial is void.

Before a trial, and after each of its sandboxes is dead, NVIDIA's management library (NVML) lists
the processes that compute on the GPU: each takes time and memory from a trial. It also reports the
memory in use: where that exceeds the lowest value seen, memory has not drained (held by a process
that is not listed, or by a lagging driver), and the next sandbox would find too little.

Not covered: processes that come and go between two looks. Memory held since before the first
look. Slices that share a GPU, whose sandboxes are foreign to each other. Drivers that report
nothing (WSL, some virtual GPUs); inside a container, processes outside may not be listed. Graphics.
The tests use a stand-in for NVML.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped]  # it has no annotations

from harness.contract import HarnessError, Slice

DRAIN_TIMEOUT_S = 5.0  # time for a driver to forget dead processes
POLL_S = 0.05
SLACK_BYTES = 128 << 20  # growth of a driver's own memory between two looks

_least: dict[str, int] = {}
"""The lowest use of memory seen on each GPU, in bytes."""

_UNSUPPORTED = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION)


@contextmanager
def awake_gpu(lease: Slice, nvml: Any = pynvml) -> Iterator[None]:  # noqa: ANN401  # a module
    """Keep the slice's GPU initialised during the block.

    Without persistence mode the driver takes a GPU down when nobody holds it open, and each sandbox
    would wait for it to come up again, within its budget.
    """
    with ExitStack() as stack:
        if lease.kind == "cuda":
            with suppress(pynvml.NVMLError):  # a trial will say what is wrong
                stack.enter_context(_opened(nvml))
        yield


@contextmanager
def exclusive_gpu(lease: Slice, nvml: Any = pynvml) -> Iterator[None]:  # noqa: ANN401
    """Raise HarnessError where another process uses the slice's GPU before or after the block."""
    check_exclusive(lease, "before the trial", nvml)
    yield
    check_exclusive(lease, "after the trial", nvml)


def gpu_model(lease: Slice, nvml: Any = pynvml) -> str:  # noqa: ANN401
    """Return the model of the slice's GPU or MIG instance, "" where it is not known."""
    with suppress(pynvml.NVMLError):
        if lease.kind == "cuda":
            with _opened(nvml):
                return str(nvml.nvmlDeviceGetName(_handle(lease.gpu, nvml)))
    return ""


def check_exclusive(lease: Slice, when: str, nvml: Any = pynvml) -> None:  # noqa: ANN401
    """Wait until nobody uses the slice's GPU and its memory is free; `when` is for the error.

    Raises HarnessError where that takes longer than DRAIN_TIMEOUT_S. Slices that are not a whole
    GPU are not looked at.
    """
    if lease.kind != "cuda" or lease.share < 1:
        return
    limit = time.monotonic() + DRAIN_TIMEOUT_S
    while objection := _objection(lease, nvml):
        if time.monotonic() > limit:
            raise HarnessError(
                f"slice {lease.name} is not exclusive: GPU {lease.gpu} {objection} {when}"
            )
        time.sleep(POLL_S)


def _objection(lease: Slice, nvml: Any) -> str:  # noqa: ANN401
    """Return why the slice's GPU cannot be leased now, "" where it is idle."""
    try:
        with _opened(nvml):
            handle = _handle(lease.gpu, nvml)
            processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            used = nvml.nvmlDeviceGetMemoryInfo(handle).used
    except pynvml.NVMLError as error:
        if error.value in _UNSUPPORTED:
            return ""
        raise HarnessError(f"GPU {lease.gpu} cannot be looked at: {error}") from error
    if processes:
        who = ", ".join(
            f"{pid}{_name(pid)}" for pid in sorted(process.pid for process in processes)
        )
        return f"is used by process {who}"
    least = _least[lease.gpu] = min(used, _least.get(lease.gpu, used))
    if used <= least + SLACK_BYTES:
        return ""
    return f"holds {(used - least) >> 20} MiB that no known process uses"


@contextmanager
def _opened(nvml: Any) -> Iterator[None]:  # noqa: ANN401
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _handle(gpu: str, nvml: Any) -> object:  # noqa: ANN401
    handle: object = (
        nvml.nvmlDeviceGetHandleByIndex(int(gpu))
        if gpu.isdigit()
        else nvml.nvmlDeviceGetHandleByUUID(gpu)
    )
    return handle


def _name(pid: int) -> str:
    with suppress(OSError):
        return f" ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    return ""
