"""Collection of weights that a sandbox left, for attacks; imported outside sandboxes only."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from harness.artifacts import collect
from harness.sandbox.kinds.base import opened
from harness.sandbox.outputs import copy_files
from harness.tasks.base import InvalidError
from harness.tasks.gpt.weights import count_parameters

CAP = 8 << 20  # bytes
LONG_CPU_S = 2.0  # of CPU time, which other load does not stretch


def all_taken(left: list[Path], name: str, count: int) -> str:
    """Say what became of the `count` files whose names begin with `name`."""
    bombs = [path for path in left if path.name.startswith(name)]
    assert len(bombs) == count, f"{len(bombs)} of {count} bombs were left"
    return "".join(map(taken, bombs))


def taken(path: Path) -> str:
    """Say how a file of weights was taken in, or held us up; "" where it is invalid at once."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with opened(path.parent) as left:
                refused = copy_files(left, {path.name: CAP}, Path(folder))
            copies = collect(Path(folder), [path.name], refused)
            return f"{path.name}: {count_parameters(copies[path.name])} parameters"
        except InvalidError:
            spent = time.process_time() - began
    return f"{path.name} took {spent:.1f} s of CPU time" if spent > LONG_CPU_S else ""
