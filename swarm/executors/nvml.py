"""Lists this machine's GPUs and MIG instances by NVIDIA's management library (NVML).

Not covered:
- CUDA_VISIBLE_DEVICES by index counts in the order of the PCI bus, as nvidia-smi does; CUDA itself
  counts so only with CUDA_DEVICE_ORDER=PCI_BUS_ID, which sandboxes get.
- MIG instances are found, never created: `nvidia-smi mig -cgi ... -C` creates them.
- GPUs of other vendors. Tests use a fake NVML.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pynvml  # type: ignore[import-untyped]  # it has no annotations

from harness.contract import SetupError

_ABSENT = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A whole GPU or a MIG instance."""

    uuid: str
    model: str
    mib: int
    """Memory in MiB."""

    parent: str = ""
    """UUID of the GPU that a MIG instance is part of."""


def find_gpus(visible: str | None, nvml: Any = pynvml) -> list[Gpu]:  # noqa: ANN401 - a module
    """Return the GPUs that `visible`, a CUDA_VISIBLE_DEVICES, allows (None: all), in its order.

    A GPU in MIG mode cannot be used as a whole: its instances, if any, take its place. Raises
    SetupError if there is a driver that does not answer.
    """
    with _open(nvml) as available:
        boards = [_parts(nvml, number) for number in range(available and nvml.nvmlDeviceGetCount())]
    if visible is None:
        return [gpu for _, parts in boards for gpu in parts]
    return list(dict.fromkeys(_chosen(visible, boards)))


@contextmanager
def _open(nvml: Any) -> Iterator[bool]:  # noqa: ANN401
    """Yield whether there is a driver. Raises SetupError where it then fails."""
    try:
        nvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value not in _ABSENT:
            raise SetupError(_broken(error)) from error
        yield False
        return
    try:
        yield True
    except pynvml.NVMLError as error:
        raise SetupError(_broken(error)) from error
    finally:
        nvml.nvmlShutdown()


def _broken(error: pynvml.NVMLError) -> str:
    return f"the NVIDIA driver does not answer ({error}): fix it, or set slices.kind: cpu"


def _parts(nvml: Any, number: int) -> tuple[str, list[Gpu]]:  # noqa: ANN401
    """Return the UUID of a GPU, and the GPU itself or its MIG instances."""
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    whole = _gpu(nvml, handle)
    if not _in_mig_mode(nvml, handle):
        return whole.uuid, [whole]
    count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    instances = [_instance(nvml, handle, index) for index in range(count)]
    gpus = [_gpu(nvml, instance, whole.uuid) for instance in instances if instance is not None]
    return whole.uuid, gpus


def _in_mig_mode(nvml: Any, handle: object) -> bool:  # noqa: ANN401
    """Return whether a GPU is in MIG mode now."""
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:  # a GPU without MIG
            raise
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _instance(nvml: Any, handle: object, index: int) -> object | None:  # noqa: ANN401
    try:
        instance: object = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_NOT_FOUND:  # no instance has this index
            raise
        return None
    return instance


def _gpu(nvml: Any, handle: object, parent: str = "") -> Gpu:  # noqa: ANN401
    memory = nvml.nvmlDeviceGetMemoryInfo(handle).total
    name, uuid = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetUUID(handle)
    return Gpu(uuid, name, memory >> 20, parent)


def _chosen(visible: str, boards: list[tuple[str, list[Gpu]]]) -> Iterator[Gpu]:
    """Yield the GPUs named by index or by the start of a UUID, up to the first unknown name.

    CUDA, too, ignores everything from the first unknown name on.
    """
    for word in map(str.strip, visible.split(",")):
        if word.isdigit():
            gpus = boards[int(word)][1] if int(word) < len(boards) else []
        else:
            gpus = [
                gpu
                for board, parts in boards
                for gpu in parts
                if word and (board.startswith(word) or gpu.uuid.startswith(word))
            ]
        if not gpus:
            return
        yield from gpus
