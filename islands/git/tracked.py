"""Every tracked file of a commit: listed with sizes, and read without any filter of git's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from islands.git.plumbing import GitError, Plumbing

BATCH_BYTES = 32 << 20
"""Bytes of files that are read by one call of git, one larger file apart."""


@dataclass(frozen=True, slots=True)
class TrackedFile:
    """A file of a commit: its path, git's mode, the id of its content, its size in bytes."""

    path: str
    mode: str
    blob: str
    size: int


def tracked_files(git: Plumbing, commit: str) -> list[TrackedFile]:
    """Return every file of `commit`, symbolic links and submodules (of size 0) too."""
    listed = git.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit)
    return [_row(line) for line in listed.split(b"\0") if line]


def read_blobs(git: Plumbing, files: Sequence[TrackedFile]) -> Iterator[tuple[TrackedFile, bytes]]:
    """Yield each of `files` with its content."""
    for batch in _batches(files):
        rest = memoryview(
            git.run("cat-file", "--batch", stdin="".join(f"{f.blob}\n" for f in batch).encode())
        )
        for file in batch:
            # a record is "<id> blob <size>\n<content>\n", or "<id> missing\n"
            header = bytes(rest[:200]).partition(b"\n")[0]
            if header.decode().split(" ")[1:] != ["blob", str(file.size)]:
                raise GitError(f"{file.path} cannot be read: {header.decode()}")
            start = len(header) + 1
            yield file, bytes(rest[start : start + file.size])
            rest = rest[start + file.size + 1 :]


def _batches(files: Sequence[TrackedFile]) -> Iterator[list[TrackedFile]]:
    batch, size = list[TrackedFile](), 0
    for file in files:
        if batch and size + file.size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _row(line: bytes) -> TrackedFile:
    facts, _, path = line.partition(b"\t")
    mode, _, blob, size = facts.decode().split()
    return TrackedFile(os.fsdecode(path), mode, blob, 0 if size == "-" else int(size))
