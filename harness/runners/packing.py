"""Runner of the packing task: `packing.py GENOME SEED SECONDS RESULT`, inside the sandbox.

Imports the candidate's file GENOME (its folder is importable too), calls `pack(seed, deadline)`
and writes the circles to RESULT as JSON. The candidate controls this process; whether they are
circles is decided outside.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from guest.clock import Deadline  # type: ignore[import-not-found]  # inside a sandbox it is there


def main(genome: str, seed: str, seconds: str, result: str) -> None:
    """Call the candidate, with `seconds` of its budget, and write what it returns."""
    sys.path.insert(0, str(Path(genome).parent))
    deadline = Deadline(float(seconds))  # counted before the import
    candidate = importlib.import_module(Path(genome).stem)
    circles = candidate.pack(int(seed), deadline)
    rows = [[float(number) for number in circle] for circle in circles]
    Path(result).write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
