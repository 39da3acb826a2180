"""Finds this machine's slices: GPUs, MIG instances or shares of them, else groups of CPU cores.

GPUs of unlike models may be in one run: a candidate and its head are paired on one slice, and the
base tells how slices differ (islands/drift/sentinels.py). `CUDA_VISIBLE_DEVICES` keeps one kind.

Not covered: a GPU's model is not part of the harness id. Until some pairs are measured, the noise
of a score includes how unlike the slices are, and only large gains are kept. Other machines:
swarm/executors/ray.py.
"""

from __future__ import annotations

import os
import platform

from harness.contract import SetupError, Slice
from harness.cpus import usable_cores
from swarm.executors.machine_limits import SPARE_FROM, MachineLimits
from swarm.executors.nvml import Gpu, find_gpus
from swarm.project.schema.settings import SlicesSection

MAX_AUTO_CPU_SLICES = 8
"""Most CPU slices that `auto` takes: more parallel trials compete for one memory bus."""


def discover(section: SlicesSection) -> tuple[Slice, ...]:
    """Return the slices that `section` asks for. Raises SetupError if this machine has fewer."""
    slices = _all_slices(section)
    if section.count == "auto":
        return slices
    if section.count > len(slices):
        raise SetupError(
            f"slices.count: {section.count} slices asked for, this machine has {len(slices)}"
            f" ({', '.join(slice_.name for slice_ in slices)}); ask for fewer, or fewer cores each"
        )
    return slices[: section.count]


def _all_slices(section: SlicesSection) -> tuple[Slice, ...]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = find_gpus(visible) if section.kind in ("auto", "cuda") else []
    if gpus:
        return _cuda(section, gpus)
    if section.kind == "cuda":
        raise SetupError(
            "slices.kind: cuda, but NVML lists no GPU that CUDA_VISIBLE_DEVICES allows and"
            " that is whole or has MIG instances; use auto or cpu"
        )
    if section.shares > 1:
        raise SetupError(
            f"slices.shares: {section.shares} shares of each GPU, but there is none; delete it,"
            " and set in slices.cores how many CPU cores make a slice"
        )
    return _mps(section) if section.kind == "mps" else _cpu(section)


def _cuda(section: SlicesSection, gpus: list[Gpu]) -> tuple[Slice, ...]:
    """Return `shares` slices of each GPU, each with CPU cores of its own."""
    names = [
        f"gpu{n}" + (f".{share}" if section.shares > 1 else "")
        for n in range(len(gpus))
        for share in range(section.shares)
    ]
    cores = usable_cores()
    per_slice = len(cores) // len(names) if section.cores is None else section.cores
    if per_slice * len(names) > len(cores):
        raise SetupError(
            f"slices.cores: {per_slice} cores for each of {len(names)} slices, this machine has"
            f" {len(cores)}"
        )
    return tuple(
        Slice(
            name,
            "cuda",
            tuple(cores[n * per_slice : (n + 1) * per_slice]),
            gpus[n // section.shares].uuid,
            gpus[n // section.shares].parent,
            1 / section.shares,
        )
        for n, name in enumerate(names)
    )


def _mps(section: SlicesSection) -> tuple[Slice, ...]:
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        raise SetupError("slices.kind: mps needs a Mac with Apple silicon; use auto or cpu")
    if section.cores is not None:
        raise SetupError("slices.cores: a Mac pins nothing to cores; delete it")
    return (Slice("mps0", "mps"),)


def _cpu(section: SlicesSection) -> tuple[Slice, ...]:
    cores, per_slice = MachineLimits().ordered_cores(), section.cores or 1
    if section.count == "auto" and len(cores) >= SPARE_FROM:
        cores = cores[:-1]  # one stays free for the person at the machine
    groups = [cores[k : k + per_slice] for k in range(0, len(cores), per_slice)]
    whole = [group for group in groups if len(group) == per_slice]
    if not whole:
        raise SetupError(f"slices.cores: {per_slice} cores a slice, this machine has {len(cores)}")
    wanted = MAX_AUTO_CPU_SLICES if section.count == "auto" else section.count
    pin = hasattr(os, "sched_setaffinity")
    return tuple(
        Slice(f"cpu{n}", "cpu", tuple(group) if pin else ())
        for n, group in enumerate(whole[:wanted])
    )
