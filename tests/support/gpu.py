"""The device that the GPU suite tests, what it has in use, and the table that the suite prints."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import pynvml

from harness.contract import Rung, SetupError, Slice, Trial
from harness.sandbox import Exit, SandboxPolicy, python_argv, run
from swarm.executors.nvml import Gpu, find_gpus
from swarm.executors.slices import discover
from swarm.project.schema.settings import SlicesSection

ROOT = Path(__file__).parents[2]
SEED = ROOT / "islands/seeds/gpt"
MIB = 1 << 20
PEAK_TFLOPS = {"H100": 989.5, "H200": 989.5, "A100": 312.0, "L40S": 362.0, "B200": 2250.0}
"""Dense bf16 by the makers' data sheets: SXM parts where there are several."""


@dataclass(frozen=True)
class Device:
    """What is tested: a GPU's slice, or in a dry run a CPU's. `gpu` is None in a dry run."""

    slice: Slice
    gpu: Gpu | None = None

    @property
    def dry(self) -> bool:
        return self.gpu is None

    @property
    def kind(self) -> str:
        return self.slice.kind

    def of(self, real: float, dry: float) -> float:
        """Return a size: the real one on a GPU, a small one in a dry run."""
        return dry if self.dry else real

    @property
    def peak_tflops(self) -> float | None:
        """Dense bf16 arithmetic of this GPU by its data sheet, None where it is not known."""
        model = self.gpu.model if self.gpu else ""
        return next((peak for name, peak in PEAK_TFLOPS.items() if name in model), None)

    def run(self, code: str, folder: Path, source=None, *words: str, **policy) -> tuple[Exit, str]:
        """Run a program in a sandbox on this slice; return how it ended and what it printed."""
        folder.mkdir(exist_ok=True)
        for each in (folder, folder.parent):
            each.chmod(0o755)
        (folder / "program.py").write_text(code)
        rules = {"seconds": 90.0, "memory_mib": 16384} | policy
        argv = python_argv(folder / "program.py", *words)
        ended = run(SandboxPolicy(self.slice, **rules), argv, folder / "log", source)
        return ended, (folder / "log").read_text(errors="replace")

    def trial(self, folder: Path, rung: Rung, genome: Path = SEED, **more) -> Trial:
        """Return a trial of a genome in `folder`, which this copies."""
        home = folder / "genome"
        home.mkdir(parents=True)
        for path in genome.glob("*.py"):
            (home / path.name).write_bytes(path.read_bytes())
        for each in (folder, *folder.parents[:1]):
            each.chmod(0o755)
        fields = {"id": "t", "task": "gpt", "data": "kjv", "commit": "c", "seed": 1}
        fields |= {"entry": "train.py", "scratch": str(folder / "scratch")} | more
        return Trial(rung=rung, slice=self.slice, genome=str(home), **fields)

    def used_mib(self) -> float:
        """Return the memory in use on the GPU, 0 in a dry run."""
        if self.dry:
            return 0.0
        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(self.slice.gpu)
            return pynvml.nvmlDeviceGetMemoryInfo(handle).used / MIB
        finally:
            pynvml.nvmlShutdown()

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Yield a list of what the GPU has in use meanwhile, in MiB, ten times a second."""
        seen, end = [self.used_mib()], threading.Event()

        def watch() -> None:
            while not end.wait(0.1):
                seen.append(self.used_mib())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield seen
        finally:
            end.set()
            thread.join()


def find_device(*, dry: bool) -> Device | None:
    """Return the first GPU, a core in a dry run, None where there is no GPU."""
    if dry:
        return Device(discover(SlicesSection(kind="cpu", count=1))[0])
    try:
        gpus = find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
    except SetupError:
        gpus = []
    if not gpus or _torch() is None or "cpu" in _torch():
        return None
    slices = discover(SlicesSection(kind="cuda"))
    # one GPU of several: its cores alone
    return Device(replace(slices[0], name="gpu0"), gpus[0])


def why_none() -> str:
    """Say why there is no device to test."""
    torch = _torch()
    build = "which is built for CPUs" if "cpu" in (torch or "") else "and NVML lists no GPU"
    return f"no CUDA device: torch is {torch or 'not installed'}, {build}"


def _torch() -> str | None:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


@dataclass
class Row:
    """One test of the suite: its result and its figures."""

    name: str
    outcome: str
    seconds: float
    figures: dict[str, object]
    reason: str


def rows(stats) -> list[Row]:
    """Return a row for each test in pytest's reports by outcome, in the order in which they ran."""
    kept = [
        (report, outcome)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in stats.get(outcome, ())
        if outcome != "passed" or report.when == "call"
    ]
    return [
        Row(
            report.nodeid.partition("tests/gpu/")[2] or report.nodeid,
            outcome,
            round(report.duration, 1),
            dict(report.user_properties),
            _reason(report),
        )
        for report, outcome in sorted(kept, key=lambda each: each[0].start)
    ]


def _reason(report) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    text = getattr(getattr(report.longrepr, "reprcrash", None), "message", "") or ""
    return text.partition("\n")[0]


def table(all_rows: list[Row]) -> list[str]:
    """Return the lines of the table: a test a line, what it found, and why it failed."""
    width = max((len(row.name) for row in all_rows), default=0)
    lines = []
    for row in all_rows:
        found = ", ".join(f"{name} {_number(value)}" for name, value in row.figures.items())
        said = " | ".join(part for part in (found, row.reason) if part)
        lines.append(f"{row.name:{width}}  {row.outcome:7} {row.seconds:6.1f} s  {said}".rstrip())
    total = sum(row.seconds for row in all_rows)
    passed = sum(row.outcome == "passed" for row in all_rows)
    return [*lines, f"{passed} of {len(all_rows)} pass in {total:.0f} s"]


def report(device: Device | None, all_rows: list[Row]) -> str:
    """Return the whole as JSON: the machine and every row."""
    about = {
        "gpu": device.gpu.model if device and device.gpu else None,
        "gpu_mib": device.gpu.mib if device and device.gpu else None,
        "driver": _driver(device),
        "dry_run": bool(device and device.dry),
        "torch": _torch(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "uid": os.geteuid(),
        "cores": len(os.sched_getaffinity(0)),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return json.dumps({"machine": about, "tests": [vars(row) for row in all_rows]}, indent=1)


def _driver(device: Device | None) -> str | None:
    if device is None or device.dry:
        return None
    pynvml.nvmlInit()
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def scratch() -> Path:
    """Return a new folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-gpu-"))
    folder.chmod(0o755)
    return folder


PYTHON = sys.executable
