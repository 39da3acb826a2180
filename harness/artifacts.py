"""The files that a trial left, as its sandbox's reader copied them, and their digests.

`harness.sandbox.outputs` has opened, checked and copied them when they come here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.contract import one_line
from harness.tasks.base import InvalidError

MAX_SHOWN_CHARS = 120
"""Characters of a refused name that a message quotes."""


def collect(
    folder: Path, names: Iterable[str] | None, refused: Mapping[str, str]
) -> dict[str, Path]:
    """Return the path of each file of `names` that exists in `folder`, by name; None: of all.

    Raises InvalidError with the first reason in `refused` (reason by name), if there is one, and
    for a name that cannot be recorded.
    """
    for reason in refused.values():
        raise InvalidError.open(reason)
    if names is None:
        names = sorted(path.name for path in folder.iterdir() if not path.is_symlink())
        for name in names:
            _check_name(name)
    return {name: folder / name for name in names if (folder / name).is_file()}


def _check_name(name: str) -> None:
    """Raise InvalidError for a file's name that is not UTF-8 or not printable."""
    if not name.isprintable():  # as are the surrogates that stand for bytes that are not UTF-8
        shown = one_line(repr(os.fsencode(name)), MAX_SHOWN_CHARS)
        raise InvalidError.open(f"it left a file whose name is not printable UTF-8: {shown}")


def digests(artifacts: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each file by name, as `sha256sum` prints it."""
    by_name = {}
    for name, path in artifacts.items():
        with path.open("rb") as file:
            by_name[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return by_name
