"""Normal form of a change: equal for two changes that do the same thing at the same place.

A change is a set of hunks: what is removed, what is added, the class or function around it, and
what stands right before and after. Python is read by syntax tree, so that layout, comments,
docstrings and the names of local variables do not matter; every other language by token, without
comments and layout. Values count: 0.02 and 0.03 are two changes.

Two changes with one `digest` may have been made on different commits: those are near ancestors, the
same where the change is made. What differs elsewhere between the two commits is not seen here.

Not covered: another order of independent statements, and other names of new functions and module
variables, are other changes; so are two spellings of one expression (`x + 1`, `1 + x`). Where a
file does not parse as Python, its tokens are compared.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping

from islands.genome.hunks import Hunk, common, differences
from islands.genome.languages import Language, language_of, tokens
from islands.genome.python_change import python_hunks
from islands.genome.syntax_diff import NotPythonError

CONTEXT_TOKENS = 12
"""Tokens on each side of a hunk in other languages than Python: about a line."""

_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def change_digest(before: Mapping[str, bytes], after: Mapping[str, bytes | None]) -> str:
    """Return the digest of the normal form of a change, "" where nothing that counts differs.

    `before` holds the files of the genome by path, `after` those that change: None is deleted.
    """
    digest = hashlib.sha256()
    empty = True
    for path in sorted(after):
        for hunk in _hunks(path, before.get(path, b""), after[path] or b""):
            digest.update(repr((path, *hunk)).encode("utf-8", "backslashreplace"))
            empty = False
    return "" if empty else digest.hexdigest()[:24]


def normal_line(line: str, path: str = "") -> str:
    """Return a line of the file at `path` as its tokens that count, with `#` for each number.

    Without the rest of its file, a line that begins inside a string or a comment cannot be told.
    """
    language = language_of(path)
    (found,) = [*_token_lines(line, language)] or [()]
    return _NUMBER.sub("#", " ".join(token for token in found if not token.isspace()))


def _hunks(path: str, before: bytes, after: bytes) -> list[Hunk]:
    if path.lower().endswith(".py"):
        try:
            return python_hunks(before, after)
        except NotPythonError:
            pass
    return _token_hunks(path, _text(before), _text(after))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _token_hunks(path: str, before: str, after: str) -> list[Hunk]:
    language = language_of(path)
    old, new = ([*_token_lines(text, language)] for text in (before, after))
    hunks: list[Hunk] = []
    for a, b, c, d in differences(old, new):
        removed, added = _flat(old[a:b]), _flat(new[c:d])
        start, end = common(removed, added)
        gone, come = removed[start : len(removed) - end], added[start : len(added) - end]
        if not gone and not come:
            continue  # the same tokens on other lines
        above = _flat([*old[max(0, a - CONTEXT_TOKENS) : a], removed[:start]])
        below = _flat([removed[len(removed) - end :], *old[b : b + CONTEXT_TOKENS]])
        context = above[-CONTEXT_TOKENS:], below[:CONTEXT_TOKENS]
        hunks.append(Hunk("", context[0], gone, come, context[1]))
    return hunks


def _flat(lines: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(token for line in lines for token in line)


def _token_lines(text: str, language: Language) -> Iterator[tuple[str, ...]]:
    """Yield the tokens of each line that has any which count.

    The white space that a line begins with counts where the language is not free of it.
    """
    line: list[str] = []
    for token in tokens(text, language):
        piece = text[token.start : token.end]
        if token.kind == "newline":
            if line and not (len(line) == 1 and line[0].isspace()):
                yield tuple(line)
            line = []
        elif token.kind == "space":
            if not line and not language.free and language.kind != "plain":
                line.append(piece)
        elif token.kind != "comment" or language.kind == "plain":
            line.append(piece)
    if line and not (len(line) == 1 and line[0].isspace()):
        yield tuple(line)
