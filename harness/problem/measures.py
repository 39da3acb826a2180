"""Measures that the harness takes itself, by the names that a metric has for them.

Nothing that a program prints counts for them. `wall_seconds` is from exec to the death of the last
process, less what others made it wait; `bytes:PATH` the size of a file (or of all files of a
folder) of the genome, of what `build` made, of the frozen files, or else of one left in $OUT.

Not covered: a peak of memory between two looks of the watchdog (0.05 s); times of children that a
program ignores (SIGCHLD) and that end between two looks: they are in no `cpu_seconds`, and count as
others' where they compete with it (`harness.sandbox.monitor.cpu`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.sandbox.policy import Exit

WALL, CPU, PEAK, LINES = "wall_seconds", "cpu_seconds", "peak_mib", "lines"

BYTES = "bytes:"

NAMES = (WALL, CPU, PEAK, LINES)


def is_measured(metric: str) -> bool:
    """Return whether the harness measures `metric` itself."""
    return metric in NAMES or metric.startswith(BYTES)


def sized_path(metric: str) -> str:
    """Return the path whose bytes `metric` counts, "" for any other metric."""
    return metric.removeprefix(BYTES) if metric.startswith(BYTES) else ""


def taken(ended: Exit) -> dict[str, float]:
    """Return what every run is measured by, by name."""
    return {WALL: ended.seconds - ended.lost, CPU: ended.cpu_seconds, PEAK: ended.peak_mib}


def count_lines(files: Iterable[Path]) -> int:
    """Return the lines of all `files`, a last one without a newline too."""
    total = 0
    for file in files:
        data = file.read_bytes()
        total += data.count(b"\n") + (data[-1:] not in (b"", b"\n"))
    return total


def size_of(places: Iterable[Path]) -> int | None:
    """Return the bytes of the first of `places` that exists, of a folder all its files."""
    place = next((place for place in places if place.exists()), None)
    if place is None:
        return None
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(file.lstat().st_size for file in files if file.is_file())
