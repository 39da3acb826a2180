"""A box's own folders on the host's disk, where it has no mounts: HOME, /tmp, and those to write.

Not covered: a supervisor that is killed while it clears them away leaves them in its TMPDIR.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.sandbox.backends.uids import box_uid, check_reachable
from harness.sandbox.policy import SandboxPolicy


@dataclass(frozen=True, slots=True)
class ScratchFolders:
    """The folders of one box, all in `base`; `written` are those of `policy.write`, in order."""

    base: Path
    home: Path
    tmp: Path
    written: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        """Return every folder that the box may write to."""
        return self.home, self.tmp, *self.written


@contextmanager
def folders(policy: SandboxPolicy) -> Iterator[ScratchFolders]:
    """Yield new folders that belong to the box's user; clear them away at the end."""
    base = Path(tempfile.mkdtemp(prefix="swarm-box-"))
    try:
        check_reachable([base.parent])
        written = tuple(base / f"written{n}" for n in range(len(policy.write)))
        made = ScratchFolders(base, base / "home", base / "tmp", written)
        uid = box_uid()
        for folder in made.all:
            folder.mkdir(mode=0o700)
        for folder in (base, *made.all):
            if uid is not None:
                os.chown(folder, uid, uid)
        yield made
    finally:
        clear(base)


def clear(folder: Path) -> None:
    """Remove a folder whatever a dead box has made in it: deep, shut or strange."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        while names := os.listdir(number):  # noqa: PTH208  # no path
            for name in names:
                with suppress(FileNotFoundError):  # a warden that we left alone does the same
                    _remove(name, number)
    finally:
        os.close(number)
    with suppress(FileNotFoundError):
        folder.rmdir()


def _remove(name: str, folder: int) -> None:
    """Remove a file; of a folder, lift the folders in it out first, so that depth costs nothing."""
    with suppress(IsADirectoryError):
        os.unlink(name, dir_fd=folder)
        return
    inner = _opened(name, folder)
    try:
        for each in os.listdir(inner):  # noqa: PTH208
            with suppress(IsADirectoryError):
                os.unlink(each, dir_fd=inner)
                continue
            os.close(_opened(each, inner))  # to move a folder is to write to it
            os.rename(each, secrets.token_hex(16), src_dir_fd=inner, dst_dir_fd=folder)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def _opened(name: str, folder: int) -> int:
    """Open a folder that may be shut; nothing is alive that could put a link in its place."""
    os.chmod(name, 0o700, dir_fd=folder)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
