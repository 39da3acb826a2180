"""The GPUs of this machine as NVIDIA's management library (NVML) lists them, and what is on them.

Not covered:
- CUDA_VISIBLE_DEVICES by index counts in the order of the PCI bus, as nvidia-smi does; CUDA itself
  counts so only with CUDA_DEVICE_ORDER=PCI_BUS_ID, which boxes are given.
- MIG instances are found, never made: `nvidia-smi mig -cgi ... -C` makes them.
- GPUs of other vendors. No machine with a GPU was at hand: the tests speak to a stand-in for NVML.
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
    """A whole GPU, or a MIG instance of the GPU `parent`; `mib` is its memory."""

    uuid: str
    model: str
    mib: int
    parent: str = ""


def find_gpus(visible: str | None, nvml: Any = pynvml) -> list[Gpu]:  # noqa: ANN401 - a module
    """Return the GPUs that `visible`, a CUDA_VISIBLE_DEVICES, leaves us (None: all), in its order.

    A GPU in MIG mode cannot be used as a whole: its instances stand in its place, and where there
    are none, nothing does. Raises SetupError where a driver is there and does not answer.
    """
    with _open(nvml) as there:
        boards = [_parts(nvml, number) for number in range(there and nvml.nvmlDeviceGetCount())]
    if visible is None:
        return [gpu for _, parts in boards for gpu in parts]
    return list(dict.fromkeys(_chosen(visible, boards)))


@contextmanager
def _open(nvml: Any) -> Iterator[bool]:  # noqa: ANN401
    """Yield whether there is a driver; what it then complains of is the user's to mend."""
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
    return f"the NVIDIA driver does not answer ({error}): mend it, or say slices.kind: cpu"


def _parts(nvml: Any, number: int) -> tuple[str, list[Gpu]]:  # noqa: ANN401
    """Return the UUID of a GPU, and the GPU or the MIG instances that it is cut into."""
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    whole = _described(nvml, handle)
    if not _cut(nvml, handle):
        return whole.uuid, [whole]
    most = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    places = [_instance(nvml, handle, place) for place in range(most)]
    found = [_described(nvml, each, whole.uuid) for each in places if each is not None]
    return whole.uuid, found


def _cut(nvml: Any, handle: object) -> bool:  # noqa: ANN401
    """Return whether a GPU is in MIG mode now."""
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:  # a GPU that cannot be cut
            raise
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _instance(nvml: Any, handle: object, place: int) -> object | None:  # noqa: ANN401
    try:
        found: object = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_NOT_FOUND:  # nothing is at this place
            raise
        return None
    return found


def _described(nvml: Any, handle: object, parent: str = "") -> Gpu:  # noqa: ANN401
    memory = nvml.nvmlDeviceGetMemoryInfo(handle).total
    name, uuid = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetUUID(handle)
    return Gpu(uuid, name, memory >> 20, parent)


def _chosen(visible: str, boards: list[tuple[str, list[Gpu]]]) -> Iterator[Gpu]:
    """Yield what is named, by index or by the beginning of a UUID, up to a name that is unknown.

    CUDA, too, sees nothing from the first unknown name on.
    """
    for word in (each.strip() for each in visible.split(",")):
        if word.isdigit():
            found = boards[int(word)][1] if int(word) < len(boards) else []
        else:
            found = [
                gpu
                for board, parts in boards
                for gpu in parts
                if word and (board.startswith(word) or gpu.uuid.startswith(word))
            ]
        if not found:
            return
        yield from found
