"""Writes a genome's files to a folder, from which a trial runs them.

Plain files, never a git worktree: no attribute, filter or line-ending rule applies.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from islands.git.commit_stream import REGULAR_MODES
from islands.records import Entry


def export_files(files: Mapping[str, Entry], into: Path) -> None:
    """Write the regular files of `files` (by path) below the new folder `into`, all or none.

    An existing `into` is left as it is. Every user can read the files: a trial may run as another.
    """
    if into.is_dir():
        return
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".export-", dir=into.parent))
    try:
        for path, entry in files.items():
            if entry.mode in REGULAR_MODES:
                _write(partial / path, entry)
        _make_readable(partial)
        _rename(partial, into)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(path: Path, entry: Entry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(entry.data)
    path.chmod(0o755 if entry.mode == "100755" else 0o644)


def _make_readable(top: Path) -> None:
    """Let every user enter the folders, whatever the umask."""
    for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
        folder.chmod(0o755)


def _rename(partial: Path, into: Path) -> None:
    try:
        partial.rename(into)
    except OSError:
        if not into.is_dir():  # else another thread has exported the same commit
            raise
