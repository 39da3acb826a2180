"""The scratch copy of the genome: what a coding agent is given, and what is read back.

It gets the genome's text files, without those that agents take for instructions or configuration.
Its processes are dead when the copy is read, so nothing changes meanwhile, but whatever lies there
is hostile: folders and files are opened without following links, and only paths of the genome are
looked at. A link or another odd file becomes an entry of its kind, which admission refuses with a
reason that the agent is shown, and so does a file whose right to be read was taken away; a folder
without it ends the reading. Else modes are not read: admission keeps those of the head.

Not covered: binary files that the agent adds, and caches of Python, are left out silently.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from islands.genome.admission import printable_line
from islands.genome.agent_files import instructs_agents
from islands.records import Entry

MAX_FILES: Final = 4096
MAX_DEPTH: Final = 32
MAX_FILE_BYTES: Final = 2 << 20
"""More than the highest limit on a file's size that program.md can set."""

MAX_TOTAL_BYTES: Final = 64 << 20

LINK: Final = "120000"
ODD: Final = "060000"
"""Mode of an entry for what is neither a file nor a link: for admission no regular file."""

CLOSED: Final = "100000"
"""Mode of an entry for a file that may not be read."""


class ScratchError(Exception):
    """What was left is closed, or more than any genome may have; the message is one line."""


@dataclass(slots=True)
class ScratchFiles:
    """Files by path, as entries; each counts against the limits."""

    files: dict[str, Entry] = field(default_factory=dict)
    total: int = 0

    def add(self, path: str, entry: Entry) -> None:
        """Add a file. Raises ScratchError beyond a limit."""
        self.files[path] = entry
        self.total += len(entry.data)
        if len(self.files) > MAX_FILES:
            raise ScratchError(f"it left more than {MAX_FILES:,} files in the genome")
        if self.total > MAX_TOTAL_BYTES:
            raise ScratchError(f"it left more than {MAX_TOTAL_BYTES >> 20} MiB in the genome")


def given(genome: Mapping[str, str]) -> dict[str, str]:
    """Return the files that an agent is given of the head's."""
    return {path: text for path, text in genome.items() if not instructs_agents(path)}


def changes(before: Mapping[str, str], after: Mapping[str, Entry]) -> dict[str, Entry | None]:
    """Return what the agent changed of the files that it was `given`, None where it deleted one."""
    changed: dict[str, Entry | None] = {
        path: after.get(path)
        for path, text in before.items()
        if after.get(path) != Entry(text.encode())
    }
    new = {path: entry for path, entry in after.items() if path not in before}
    return changed | {path: entry for path, entry in new.items() if _is_source(entry)}


def _is_source(entry: Entry) -> bool:
    """Return whether a new file is one that a person would commit: text, or an odd thing."""
    try:
        entry.data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in entry.data


def read_tree(folder: int, name: str, genome: tuple[str, ...]) -> ScratchFiles:
    """Return the genome's files in the folder `name` of the open `folder`.

    Raises ScratchError where they are too many or too large, and for a folder that is closed.
    """
    tree = ScratchFiles()
    try:
        with _opened(folder, name, "its working folder") as root:
            _walk(root, "", tuple(part.rstrip("/") for part in genome), tree)
    except NotADirectoryError:
        raise ScratchError("it replaced its working folder") from None
    except FileNotFoundError:
        raise ScratchError("it removed its working folder") from None
    return tree


def _walk(
    folder: int, above: str, genome: tuple[str, ...], tree: ScratchFiles, depth: int = 0
) -> None:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = f"{above}{name}"
        if name == "__pycache__" or instructs_agents(path) or not _leads_into(path, genome):
            continue
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except PermissionError:  # the folder's names may be read, but nothing in it
            raise _closed(f"the folder of {printable_line(path)}") from None
        if stat.S_ISDIR(mode):
            if depth < MAX_DEPTH:
                with _opened(folder, name, f"the folder {printable_line(path)}") as inner:
                    _walk(inner, f"{path}/", genome, tree, depth + 1)
        elif _covers(path, genome):
            tree.add(path, _entry(folder, name, mode))


def _leads_into(path: str, genome: tuple[str, ...]) -> bool:
    """Return whether `path` is in the genome, or a folder above a part of it."""
    return _covers(path, genome) or any(part.startswith(f"{path}/") for part in genome)


def _covers(path: str, genome: tuple[str, ...]) -> bool:
    return any(path == part or path.startswith(f"{part}/") for part in genome)


def _entry(folder: int, name: str, mode: int) -> Entry:
    if stat.S_ISLNK(mode):
        return Entry(b"", LINK)
    if not stat.S_ISREG(mode):
        return Entry(b"", ODD)
    try:
        number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except PermissionError:  # its mode holds for us as well, unless we are root
        return Entry(b"", CLOSED)
    with os.fdopen(number, "rb") as file:
        return Entry(file.read(MAX_FILE_BYTES))


@contextmanager
def _opened(folder: int, name: str, what: str) -> Iterator[int]:
    """Yield the open folder. Raises ScratchError, which names it `what`, if it is closed."""
    try:
        number = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    except PermissionError:
        raise _closed(what) from None
    try:
        yield number
    finally:
        os.close(number)


def _closed(what: str) -> ScratchError:
    return ScratchError(f"it took away the right to read {what}")
