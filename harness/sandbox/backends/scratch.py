"""The folders on the host's disk of a sandbox without mounts: HOME, /tmp, the `write` folders.

Not covered: a harness process killed while it removes them leaves them in its TMPDIR.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.sandbox.backends.uids import check_reachable, sandbox_uid
from harness.sandbox.policy import SandboxPolicy


@dataclass(frozen=True, slots=True)
class ScratchFolders:
    """One sandbox's folders, all in `base`; `written` are those of `policy.write`, in order."""

    base: Path
    home: Path
    tmp: Path
    written: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        """Return every folder that the sandbox may write to."""
        return self.home, self.tmp, *self.written


@contextmanager
def folders(policy: SandboxPolicy) -> Iterator[ScratchFolders]:
    """Yield new folders owned by the sandbox's uid; remove them at the end."""
    base = Path(tempfile.mkdtemp(prefix="swarm-sandbox-"))
    try:
        check_reachable([base.parent])
        written = tuple(base / f"written{n}" for n in range(len(policy.write)))
        made = ScratchFolders(base, base / "home", base / "tmp", written)
        uid = sandbox_uid()
        for folder in made.all:
            folder.mkdir(mode=0o700)
        for folder in (base, *made.all):
            if uid is not None:
                os.chown(folder, uid, uid)
        yield made
    finally:
        clear(base)


def clear(folder: Path) -> None:
    """Remove a folder, however deep, unreadable or odd what a dead sandbox made in it."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        while names := os.listdir(number):  # noqa: PTH208  # no path
            for name in names:
                with suppress(FileNotFoundError):  # an orphaned supervisor removes it as well
                    _remove(name, number)
    finally:
        os.close(number)
    with suppress(FileNotFoundError):
        folder.rmdir()


def _remove(name: str, folder: int) -> None:
    """Remove a file or folder; folders inside are moved up first, so that depth costs nothing."""
    with suppress(IsADirectoryError):
        os.unlink(name, dir_fd=folder)
        return
    inner = _opened(name, folder)
    try:
        for entry in os.listdir(inner):  # noqa: PTH208
            with suppress(IsADirectoryError):
                os.unlink(entry, dir_fd=inner)
                continue
            os.close(_opened(entry, inner))  # moving a folder needs write permission on it
            os.rename(entry, secrets.token_hex(16), src_dir_fd=inner, dst_dir_fd=folder)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def _opened(name: str, folder: int) -> int:
    """Open a folder whatever its mode; no process is left that could replace it by a link."""
    os.chmod(name, 0o700, dir_fd=folder)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
