"""Preflight of the packing task: `packing_preflight.py GENOME`, inside the sandbox.

Imports the genome and checks the signature of its pack().

Not covered: pack() is not called, since a small packing takes as long as a large one.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path


def main(genome: str) -> None:
    """Raise an exception if the candidate cannot run."""
    print("claim preflight_began 1", flush=True)  # noqa: T201
    sys.path.insert(0, str(Path(genome).parent))
    candidate = importlib.import_module(Path(genome).stem)
    inspect.signature(candidate.pack).bind(0, 0.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
