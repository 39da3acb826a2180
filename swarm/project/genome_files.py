"""Refuses a genome that agents could not change: links, submodules, LFS pointers, files not UTF-8.

A file that declares another encoding, and an entry file that does not parse, are refused too.
Checked at launch, before a run is created.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from git import Repo

from harness.contract import SetupError
from islands.genome.admission import printable_line
from islands.genome.syntax_diff import NotPythonError, parse
from swarm.project.program import Program

_LFS = b"version https://git-lfs.github.com/spec/"


def require_text(repo: Path, commit: str, program: Program) -> None:
    """Raise SetupError, in one line, for the first file of the genome that is not plain text."""
    for path, kind, data in _entries(repo, commit, program.settings.genome):
        reason = _reason(kind, data) or _python_reason(path, data, program.entry)
        if reason:
            name = printable_line(path)
            raise SetupError(f"{name}: {reason}, or leave it out of `genome:` in program.md")


def _entries(repo: Path, commit: str, genome: tuple[str, ...]) -> Iterator[tuple[str, str, bytes]]:
    """Yield path, mode and content of each entry of the genome."""
    git = Repo(repo).git
    listing = git.ls_tree("-r", "-z", commit, "--", *genome)
    for entry in filter(None, listing.split("\0")):
        head, _, path = entry.partition("\t")
        mode, kind, blob = head.split()[:3]
        data = git.cat_file("blob", blob, stdout_as_string=False) if kind == "blob" else b""
        yield path, mode, data


def _reason(mode: str, data: bytes) -> str:
    if mode == "160000":
        return "is a submodule, which a candidate cannot change: add its files to the repository"
    if mode == "120000":
        return "is a symbolic link, which a candidate cannot change: commit the file itself"
    if data.startswith(_LFS):
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
