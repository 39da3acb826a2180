"""The files that a trial left, as its sandbox's reader copied them, and their digests.

`harness.sandbox.outputs` has opened, checked and copied them when they come here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.tasks.base import InvalidError


def collect(
    folder: Path, names: Iterable[str] | None, refused: Mapping[str, str]
) -> dict[str, Path]:
    """Return the path of each file of `names` that exists in `folder`, by name; None: of all.

    Raises InvalidError with the first reason in `refused` (reason by name), if there is one.
    """
    for reason in refused.values():
        raise InvalidError.open(reason)
    if names is None:
        names = sorted(path.name for path in folder.iterdir() if not path.is_symlink())
    return {name: folder / name for name in names if (folder / name).is_file()}


def digests(artifacts: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each file by name, as `sha256sum` prints it."""
    by_name = {}
    for name, path in artifacts.items():
        with path.open("rb") as file:
            by_name[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return by_name
