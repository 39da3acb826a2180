"""Which slices this machine has: one per GPU, or one per group of CPU cores where there is none.

Not covered: MIG instances, shares of one GPU, other machines.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess

from harness.contract import SetupError, Slice
from swarm.settings import Slices

MOST_CPU_SLICES = 8
"""CPU slices that `auto` takes at most: more trials side by side share one memory bus."""


def discover(wish: Slices) -> tuple[Slice, ...]:
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


def _found(wish: Slices) -> tuple[Slice, ...]:
    gpus = _gpus() if wish.kind in ("auto", "cuda") else []
    if gpus:
        return tuple(
            Slice(f"gpu{n}", "cuda", _share(n, len(gpus)), uuid) for n, uuid in enumerate(gpus)
        )
    if wish.kind == "cuda":
        raise SetupError("slices.kind: cuda, but nvidia-smi lists no GPU here; use auto or cpu")
    if wish.kind == "mps":
        if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
            raise SetupError("slices.kind: mps needs a Mac with Apple silicon; use auto or cpu")
        return (Slice("mps0", "mps"),)
    return _cpu(wish)


def _cpu(wish: Slices) -> tuple[Slice, ...]:
    cores = _cores()
    groups = [cores[k : k + wish.cores] for k in range(0, len(cores), wish.cores)]
    whole = [group for group in groups if len(group) == wish.cores]
    if not whole:
        raise SetupError(f"slices.cores: {wish.cores} cores a slice, this machine has {len(cores)}")
    most = MOST_CPU_SLICES if wish.count == "auto" else wish.count
    pin = hasattr(os, "sched_setaffinity")
    return tuple(
        Slice(f"cpu{n}", "cpu", tuple(group) if pin else ()) for n, group in enumerate(whole[:most])
    )


def _share(number: int, among: int) -> tuple[int, ...]:
    """Return a GPU's equal share of the cores, so that neighbours' data loading never collides."""
    cores = _cores()
    each = len(cores) // among
    return tuple(cores[number * each : (number + 1) * each]) if each else ()


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _gpus() -> list[str]:
    """Return the UUIDs of the GPUs that CUDA_VISIBLE_DEVICES leaves us, in its order."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=index,uuid", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    if answer.returncode != 0:
        return []
    rows = [line.split(", ") for line in answer.stdout.splitlines() if ", " in line]
    by_name = {name: uuid for index, uuid in rows for name in (index, uuid)}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [uuid for _, uuid in rows]
    return [by_name[name.strip()] for name in visible.split(",") if name.strip() in by_name]
