"""Refuses a genome that agents could not change: links, submodules, LFS pointers, files not UTF-8.

A file that declares another encoding, and an entry file that does not parse, are refused too.
Checked at launch, before a run is created.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.contract import SetupError
from islands.genome.admission import printable_line
from islands.genome.syntax_diff import NotPythonError, parse
from islands.git.plumbing import Plumbing
from islands.git.tracked import TrackedFile, read_blobs, tracked_files
from swarm.project.judge import LFS_POINTER, LINK, SUBMODULE
from swarm.project.program import Program


def require_text(repo: Path, commit: str, program: Program) -> None:
    """Raise SetupError, in one line, for the first file of the genome that is not plain text."""
    for file, data in _entries(repo, commit, program.settings.genome):
        reason = _reason(file.mode, data) or _python_reason(file.path, data, program.entry)
        if reason:
            name = printable_line(file.path)
            raise SetupError(f"{name}: {reason}, or leave it out of `genome:` in program.md")


def _entries(
    repo: Path, commit: str, genome: tuple[str, ...]
) -> Iterator[tuple[TrackedFile, bytes]]:
    """Yield each entry of the genome with its content; a submodule has none here."""
    git = Plumbing(repo)
    inside = [file for file in tracked_files(git, commit) if _is_below(file.path, genome)]
    yield from ((file, b"") for file in inside if file.mode == SUBMODULE)
    yield from read_blobs(git, [file for file in inside if file.mode != SUBMODULE])


def _is_below(path: str, genome: tuple[str, ...]) -> bool:
    """Return whether `path` is one of the genome's, or below one."""
    return any(part in (".", path) or path.startswith(f"{part}/") for part in genome)


def _reason(mode: str, data: bytes) -> str:
    if mode == SUBMODULE:
        return "is a submodule, which a candidate cannot change: add its files to the repository"
    if mode == LINK:
        return "is a symbolic link, which a candidate cannot change: commit the file itself"
    if data.startswith(LFS_POINTER):
        return "is a pointer to a Git LFS file: commit the file itself"
    if b"\0" in data:
        return "is binary, and agents change text: convert it to text"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return f"line {line} is not UTF-8: convert it (iconv -f latin1 -t utf-8) and commit it"
    return ""


def _python_reason(path: str, data: bytes, entry: str) -> str:
    if not path.endswith(".py"):
        return ""
    try:
        parse(data)
    except NotPythonError as error:
        if path == entry or "encoding" in str(error):
            return f"does not parse as Python ({error}): correct and commit it"
    return ""
