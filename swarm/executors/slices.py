"""Which slices this machine has: GPUs, MIG instances or shares of them, else groups of CPU cores.

Not covered: a GPU's model is not part of what names a measure, so slices of unlike GPUs in one run
are the user's to avoid (`CUDA_VISIBLE_DEVICES` chooses). Other machines: swarm/executors/ray.py.
"""

from __future__ import annotations

import os
import platform

from harness.contract import SetupError, Slice
from harness.cpus import usable_cores
from swarm.executors.nvml import Gpu, find_gpus
from swarm.project.schema import SlicesSection

MAX_AUTO_CPU_SLICES = 8
"""CPU slices that `auto` takes at most: more trials side by side share one memory bus."""


def discover(wish: SlicesSection) -> tuple[Slice, ...]:
    """Return the slices that `wish` names. Raises SetupError where this machine has fewer."""
    found = _found(wish)
    if wish.count == "auto":
        return found
    if wish.count > len(found):
        raise SetupError(
            f"slices.count: {wish.count} slices asked for, this machine has {len(found)}"
            f" ({', '.join(where.name for where in found)}); ask for fewer, or for fewer cores each"
        )
    return found[: wish.count]


def _found(wish: SlicesSection) -> tuple[Slice, ...]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = find_gpus(visible) if wish.kind in ("auto", "cuda") else []
    if gpus:
        return _cuda(wish, gpus)
    if wish.kind == "cuda":
        raise SetupError(
            "slices.kind: cuda, but NVML lists no GPU here that CUDA_VISIBLE_DEVICES leaves us and"
            " that is whole or has MIG instances; use auto or cpu"
        )
    if wish.shares > 1:
        raise SetupError(
            f"slices.shares: {wish.shares} shares of each GPU, but there is none here; delete it,"
            " and say with slices.cores how many CPU cores make a slice"
        )
    return _mps(wish) if wish.kind == "mps" else _cpu(wish)


def _cuda(wish: SlicesSection, gpus: list[Gpu]) -> tuple[Slice, ...]:
    """Return `shares` slices of each GPU, each with CPU cores of its own."""
    names = [
        f"gpu{n}" + (f".{share}" if wish.shares > 1 else "")
        for n in range(len(gpus))
        for share in range(wish.shares)
    ]
    cores = usable_cores()
    each = len(cores) // len(names) if wish.cores is None else wish.cores
    if each * len(names) > len(cores):
        raise SetupError(
            f"slices.cores: {each} cores for each of {len(names)} slices, this machine has"
            f" {len(cores)}"
        )
    return tuple(
        Slice(
            name,
            "cuda",
            tuple(cores[n * each : (n + 1) * each]),
            gpus[n // wish.shares].uuid,
            gpus[n // wish.shares].parent,
            1 / wish.shares,
        )
        for n, name in enumerate(names)
    )


def _mps(wish: SlicesSection) -> tuple[Slice, ...]:
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        raise SetupError("slices.kind: mps needs a Mac with Apple silicon; use auto or cpu")
    if wish.cores is not None:
        raise SetupError("slices.cores: a Mac pins nothing to cores; delete it")
    return (Slice("mps0", "mps"),)


def _cpu(wish: SlicesSection) -> tuple[Slice, ...]:
    cores, each = usable_cores(), wish.cores or 1
    groups = [cores[k : k + each] for k in range(0, len(cores), each)]
    whole = [group for group in groups if len(group) == each]
    if not whole:
        raise SetupError(f"slices.cores: {each} cores a slice, this machine has {len(cores)}")
    most = MAX_AUTO_CPU_SLICES if wish.count == "auto" else wish.count
    pin = hasattr(os, "sched_setaffinity")
    return tuple(
        Slice(f"cpu{n}", "cpu", tuple(group) if pin else ()) for n, group in enumerate(whole[:most])
    )
