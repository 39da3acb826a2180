"""Paths of a genome: which of a repository's paths are inside it, and plain."""

from __future__ import annotations

import re
import unicodedata

_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 1024
"""Limits that every file system to which genomes are exported supports."""

_GIT_SHORT = re.compile(r"git~\d")
"""The short name that NTFS gives .git."""


def is_inside(path: str, genome: tuple[str, ...]) -> bool:
    """Return whether `path` is inside `genome`, and plain: no "..", no .git in any spelling."""
    return _is_plain(path) and _is_covered(path, genome)


def name_fault(path: str, genome: tuple[str, ...]) -> str:
    """Return what is wrong with the name of a path that is spelled as one in `genome`, or ""."""
    if not _is_covered(path, genome) or ".." in path.split("/") or _is_plain(path):
        return ""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return "is too long, or one that git or a file system may take for another"


def _is_covered(path: str, genome: tuple[str, ...]) -> bool:
    return any(
        path == part or path.startswith(part + "/") for part in (p.rstrip("/") for p in genome)
    )


def _is_plain(path: str) -> bool:
    return (
        len(path) <= _MAX_PATH_BYTES
        # git takes a folder with a file HEAD for a repository, and runs commands of its config
        and path.rpartition("/")[2].casefold() != "head"
        and all(_is_plain_name(name) for name in path.split("/"))
        and len(path.encode()) <= _MAX_PATH_BYTES
        and unicodedata.is_normalized("NFC", path)
    )


def _is_plain_name(name: str) -> bool:
    """Return whether `name` is neither special to git or a file system nor a look-alike."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return (
        0 < len(name) <= _MAX_NAME_BYTES
        and not name.endswith((".", " "))  # also "." and ".."; Windows drops both at the end
        and not any(_is_hidden(char) for char in name)
        and len(name.encode()) <= _MAX_NAME_BYTES
        and not folded.startswith(".git")
        and not _GIT_SHORT.match(folded)
    )


def _is_hidden(char: str) -> bool:
    """Return whether `char` is a separator, a control, invisible, or not a character at all."""
    return char in "\\:" or (char != " " and unicodedata.category(char)[0] in "CZ")
