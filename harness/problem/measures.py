"""Measures that the harness takes itself, by the names that a metric has for them.

Nothing that a program prints counts for them. `wall_seconds` is from exec to the death of the last
process, less what others made it wait; `bytes:PATH` the size of a file (or of all files of a
folder) of the genome, of what `build` made, of the frozen files, or else of one left in $OUT. A
link counts as what it leads to, and each file once. `lines` are counted as Python ends them.

Not covered:

- bytes that a candidate moves to a path that the metric does not name (a script that starts a
  program elsewhere); a file with two hard links counts twice
- line ends that another language than Python knows (U+2028 in JavaScript), and several statements
  on one line
- a peak of memory between two looks of the watchdog (0.05 s)
- times of children that a program ignores (SIGCHLD) and that end between two looks: they are in no
  `cpu_seconds`, and count as others' where they compete with it (`harness.sandbox.monitor.cpu`)
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.contract import one_line
from harness.sandbox.policy import Exit

WALL, CPU, PEAK, LINES = "wall_seconds", "cpu_seconds", "peak_mib", "lines"

BYTES = "bytes:"

MAX_SHOWN_CHARS = 120
"""Characters of a path that a message quotes."""

NAMES = (WALL, CPU, PEAK, LINES)


_LINE_END = re.compile(rb"\r\n?|\n")

_CODING = re.compile(rb"[ \t\f]*+#.*?coding[:=][ \t]*+([-\w.]++)", re.ASCII)
"""The declaration by which Python (PEP 263) decodes a file, on one of its first two lines."""

_PLAIN_CODECS = re.compile(
    r"utf-8(-sig)?|ascii|iso8859-\d+|cp125\d|koi8-\w+|euc_\w+|gb\w+|shift_jis\w*|big5\w*"
)
"""Names of codecs in which no byte but a line end stands for one; in utf-7 `+AAo-` does."""


class UnmeasurableError(Exception):
    """A candidate's files cannot be measured as they are; the message is one line."""


def is_measured(metric: str) -> bool:
    """Return whether the harness measures `metric` itself."""
    return metric in NAMES or metric.startswith(BYTES)


def sized_path(metric: str) -> str:
    """Return the path whose bytes `metric` counts, "" for any other metric."""
    return metric.removeprefix(BYTES) if metric.startswith(BYTES) else ""


def taken(ended: Exit) -> dict[str, float]:
    """Return what every run is measured by, by name."""
    return {WALL: ended.seconds - ended.lost, CPU: ended.cpu_seconds, PEAK: ended.peak_mib}


def count_lines(folder: Path) -> int:
    """Return the lines of all files in `folder`, a last one without an end too.

    Raises UnmeasurableError for a file in a codec that hides line ends.
    """
    total = 0
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        if codec := _hiding_codec(data):
            name = one_line(str(file.relative_to(folder)), MAX_SHOWN_CHARS)
            raise UnmeasurableError(f"{name} is in {codec}, which hides line ends: write UTF-8")
        ends = len(_LINE_END.findall(data))
        total += ends + (data[-1:] not in (b"", b"\n", b"\r"))
    return total


def _hiding_codec(data: bytes) -> str:
    """Return the declared codec of a file where a line end may be hidden in it, "" elsewhere."""
    # Python looks for it before it has translated line ends
    for line in (*data.split(b"\n", 2)[:2], *_LINE_END.split(data, 2)[:2]):
        if found := _CODING.match(line):
            try:
                name = codecs.lookup(found[1].decode()).name
            except LookupError:  # Python does not run it
                continue
            if not _PLAIN_CODECS.fullmatch(name):
                return name
    return ""


def size_of(path: str, roots: Iterable[Path], left: Iterable[Path] = ()) -> int | None:
    """Return the bytes of `path` in the first of `roots` that has it, or of a file of `left`.

    Of a folder, those of all its files. None where there is none. Raises UnmeasurableError for a
    link to what is not in its root.
    """
    for root in roots:
        if os.path.lexists(root / path):
            return sum(file.stat().st_size for file in _files(path, root))
    return next((file.stat().st_size for file in left), None)


def _files(path: str, root: Path) -> Iterator[Path]:
    """Yield each file that `path` is or leads to, once, whatever links lead there."""
    waiting, seen = [_resolved(root / path, root)], set[Path]()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        if place.is_dir():
            inner = place.iterdir()
            waiting += [_resolved(each, root) if each.is_symlink() else each for each in inner]
        elif place.is_file():
            yield place


def _resolved(place: Path, root: Path) -> Path:
    """Return `place` without links. Raises UnmeasurableError where that is not in `root`."""
    try:
        real = Path(os.path.realpath(place, strict=True))
    except OSError:
        real = Path()
    if not real.is_relative_to(os.path.realpath(root)):
        name = one_line(os.path.relpath(place, root), MAX_SHOWN_CHARS)
        raise UnmeasurableError(f"{name} leads to what is not in the repository")
    return real
