"""A frozen problem on its way to another machine, as one archive.

What is not in its folder has to be there at the same path: the interpreter, mounts, and what
`prepare` left.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from harness.contract import SetupError
from harness.problem.build import BUILDS
from harness.problem.spec import read_spec


def pack_problem(folder: str) -> bytes:
    """Return the problem in `folder` as bytes, without builds; none where there is no problem."""
    if not folder:
        return b""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted(Path(folder).iterdir()):
            if path.name != BUILDS:
                tar.add(path, path.name)
    return archive.getvalue()


def unpack_problem(packed: bytes, into: Path) -> str:
    """Write a packed problem to `into`; return that folder, "" where there is no problem.

    Raises SetupError where this machine lacks what the problem needs.
    """
    if not packed:
        return ""
    into.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(into, filter="tar")  # ours, so links and modes are as they were
    spec = read_spec(str(into))
    for place in (*spec.python.prefixes, *spec.mounts.values()):
        if not Path(place).exists():
            raise SetupError(f"{place} is missing here: trials need it at the path it has there")
    for name in spec.env:
        if not os.environ.get(name):
            raise SetupError(f"env: {name} is not set here: set it where Ray was started")
    return str(into)
