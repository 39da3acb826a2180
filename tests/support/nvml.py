"""A stand-in for NVML: boards by UUID, each whole or cut into MIG instances."""

# ruff: noqa: N802 - the names are NVML's

from dataclasses import dataclass, field
from types import SimpleNamespace

import pynvml


@dataclass
class FakeNvml:
    """`boards` maps UUIDs to None (no MIG), or to UUIDs by place (None: nothing is there)."""

    boards: dict = field(default_factory=dict)
    broken: int | None = None
    opened: int = 0

    def nvmlInit(self):
        if self.broken is not None:
            raise pynvml.NVMLError(self.broken)
        self.opened += 1

    def nvmlShutdown(self):
        self.opened -= 1

    def nvmlDeviceGetCount(self):
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, number):
        return list(self.boards)[number]

    def nvmlDeviceGetUUID(self, handle):
        return handle

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return uuid

    def nvmlDeviceGetGpuInstanceId(self, handle):
        return next(p.index(handle) for p in self.boards.values() if p and handle in p)

    def nvmlDeviceGetComputeInstanceId(self, handle):
        return 0

    def nvmlDeviceGetName(self, handle):
        return "Fake 1g.10gb" if handle.startswith("MIG") else "Fake"

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=(10 if handle.startswith("MIG") else 80) << 30)

    def nvmlDeviceGetMigMode(self, handle):
        if self.boards[handle] is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [int(self.boards[handle] != ()), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle):
        return len(self.boards[handle])

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, place):
        found = self.boards[handle][place]
        if found is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return found
