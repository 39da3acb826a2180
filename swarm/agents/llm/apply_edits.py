"""Applies the changes of a reply to a genome's files, all or none. Pure functions.

Lines are compared exactly, except for white space at their ends. Where a SEARCH is nowhere in the
file, one deviation is put right if it then fits at exactly one place: blank lines at its ends,
typographic quotes, line numbers, or a common shift of the indentation.
"""

from __future__ import annotations

import difflib
import os.path
import re
from collections.abc import Iterator, Mapping, Sequence

from islands.genome.structured_data import NotParsedError
from islands.genome.syntax_diff import compare
from swarm.agents.llm.search_replace import (
    MAX_PATH_CHARS,
    Deletion,
    EditBlock,
    FileChange,
    ParsedReply,
    UnappliedError,
    WholeFile,
)

MAX_REPORTED_ERRORS = 4

MAX_LINE_CHARS = 160
"""Characters of the line that an error quotes."""

_LINE = re.compile(r"line (\d+)")

BYTE_ORDER_MARK = "\ufeff"
"""A file that begins with it keeps it; models do not see it."""

_GAP = re.compile(
    r"\s*+(?:#|//|/\*|--|%|;)?+\s*+(?:\.\.\.|…)\s*+[\w ,()'-]*+(?:\.\.\.|…)?+\s*+(?:\*/)?+",
    re.IGNORECASE,
)
"""A line such as `# ... existing code ...`."""

_NUMBER = re.compile(r"\s*+\d{1,6} ?[|:]\s?")

_PLAIN = str.maketrans("\u201c\u201d\u201e\u2018\u2019\u2013\xa0", '"""\'\'- ')


def apply_changes(genome: Mapping[str, str], reply: ParsedReply) -> dict[str, str | None]:
    """Return the new text of every changed file, None if it is deleted.

    Changes are applied in order, each to the result of the previous one; all or none. Raises
    UnappliedError, naming the first blocks that do not fit and showing the lines nearest to each.
    """
    texts, errors = dict(genome), []
    for number, change in enumerate(reply.changes, 1):
        try:
            _apply_change(texts, change)
        except UnappliedError as error:
            errors.append(f"Block {number} ({change.path or 'no path'}): {error}")
            if len(errors) == MAX_REPORTED_ERRORS:
                break
    if errors:
        raise UnappliedError("\n\n".join(errors))
    paths = dict.fromkeys([*genome, *texts])
    changed = {path: texts.get(path) for path in paths if texts.get(path) != genome.get(path)}
    if not changed:
        raise UnappliedError("the edits change nothing")
    return changed


def _apply_change(texts: dict[str, str], change: FileChange) -> None:
    if isinstance(change, Deletion):
        # no guessing here: only a block's lines can confirm which file an incomplete path means
        if change.path not in texts:
            raise _unknown_path(texts)
        del texts[change.path]
    elif isinstance(change, WholeFile):
        path = _known(texts, change.path) or _new_path(change.path)
        texts[path] = _whole(texts.get(path, ""), change)
    elif any(line.strip() for line in change.search):
        path = _existing(texts, change.path)
        texts[path] = _replace(texts[path], path, change)
    else:
        path = _new_path(change.path)
        if texts.get(path):
            raise UnappliedError("SEARCH is empty, and the file exists: quote the lines to change")
        texts[path] = "".join(f"{line}\n" for line in change.replace)


def _whole(old: str, change: WholeFile) -> str:
    """Return the text of a file sent whole. Raises UnappliedError if it looks like a part."""
    lines = change.lines
    if not change.copied:
        return "\n".join(lines) + ("\n" if lines and (old.endswith("\n") or not old) else "")
    gaps = [line.strip() for line in lines if _GAP.fullmatch(line)]
    if gaps:
        raise UnappliedError(f"the line `{gaps[0]}` stands for code left out: use blocks instead")
    if len(lines) * 2 < old.count("\n"):
        raise UnappliedError(
            f"the file has {old.count(chr(10))} lines and the answer shows {len(lines)} of them:"
            " send the whole file, or blocks"
        )
    feed = "\r\n" if "\r\n" in old else "\n"
    mark = BYTE_ORDER_MARK if old.startswith(BYTE_ORDER_MARK) else ""
    return mark + "".join(f"{line.removeprefix(BYTE_ORDER_MARK)}{feed}" for line in lines)


def _existing(texts: Mapping[str, str], path: str) -> str:
    """Return the one file that a block's `path` means. Raises UnappliedError if it is not one."""
    known = _known(texts, path)
    if not known:
        raise _unknown_path(texts)
    return known


def _known(texts: Mapping[str, str], path: str) -> str:
    """Return the one file that `path` means, "" if it is not one.

    Tolerated: `./`, the `a/` and `b/` of diffs, an absolute path, the end of a path, no path.
    """
    path = path.removeprefix("./")
    for named in (path, path.removeprefix("a/"), path.removeprefix("b/")):
        if named in texts:
            return named
    if not path:
        found = list(texts)
    elif path.startswith("/"):
        found = [name for name in texts if path.endswith(f"/{name}")]
    else:
        found = [name for name in texts if name.endswith(f"/{path}")]
    return found[0] if len(found) == 1 else ""


def _unknown_path(texts: Mapping[str, str]) -> UnappliedError:
    names = ", ".join(sorted(texts)[:20])
    return UnappliedError(f"there is no such file; the files are: {names}")


def _new_path(path: str) -> str:
    path = path.removeprefix("./")
    parts = path.split("/")
    usable = path.isprintable() and "\\" not in path and len(path) <= MAX_PATH_CHARS
    if not usable or any(part in ("", ".", "..") for part in parts):
        raise UnappliedError("a new file needs a FILE: line with a path below the repository")
    return path


def _replace(text: str, path: str, block: EditBlock) -> str:
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    lines, ended = text.removeprefix(mark).split("\n"), text.endswith("\n")
    if ended:
        lines.pop()
    search, replace = (
        [line.removeprefix(BYTE_ORDER_MARK) for line in side]
        for side in (block.search, block.replace)
    )
    start, search, replace = _unique_match(lines, path, search, replace)
    feed = "\r" if lines[0].endswith("\r") else ""
    lines[start : start + len(search)] = [line + feed for line in replace]
    return mark + "\n".join(lines) + ("\n" if ended and lines else "")


def _unique_match(
    lines: Sequence[str], path: str, search: list[str], replace: list[str]
) -> tuple[int, list[str], list[str]]:
    """Return the index of the only match, and the two sides of the block as they fit there.

    Sides that do not fit as they are may fit after one of `_REPAIRS`, if then at one place only.
    Raises UnappliedError unless there is one match.
    """
    there = [line.rstrip() for line in lines]
    matches = list(_matches(there, [line.rstrip() for line in search]))
    if len(matches) == 1:
        return matches[0], search, replace
    if not matches:
        for repair in _REPAIRS:
            fitting = list(repair(there, search, replace))
            if len(fitting) == 1:
                return fitting[0]
        near = nearest(lines, search)
        raise UnappliedError(f"SEARCH is not in the file. The nearest lines of {path}:\n{near}")
    numbers = ", ".join(str(index + 1) for index in matches[:10])
    raise UnappliedError(
        f"SEARCH is in the file {len(matches)} times, at lines {numbers}:"
        " quote more lines around it"
    )


_Fit = tuple[int, list[str], list[str]]


def _without_blank_ends(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Fit]:
    """Fit the block without blank lines at the ends of SEARCH, and as many of REPLACE."""
    head = next(n for n, line in enumerate(search) if line.strip())
    tail = next(n for n, line in enumerate(reversed(search)) if line.strip())
    inner = [line.rstrip() for line in search[head : len(search) - tail]]
    kept = replace
    for _ in range(head):
        kept = kept[1:] if kept and not kept[0].strip() else kept
    for _ in range(tail):
        kept = kept[:-1] if kept and not kept[-1].strip() else kept
    for start in _matches(lines, inner):
        yield start, inner, kept


def _with_plain_quotes(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Fit]:
    """Fit the block with typographic quotes, dashes and spaces made plain, as the file has them."""
    plain = [line.translate(_PLAIN).rstrip() for line in search]
    if plain != [line.rstrip() for line in search]:
        for start in _matches(lines, plain):
            yield start, plain, [line.translate(_PLAIN) for line in replace]


def _without_numbers(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Fit]:
    """Fit the block without line numbers, where every line of SEARCH has one."""
    if all(_NUMBER.match(line) or not line.strip() for line in search):
        bare = [_unnumbered(line).rstrip() for line in search]
        for start in _matches(lines, bare):
            yield start, bare, [_unnumbered(line) for line in replace]


def _unnumbered(line: str) -> str:
    label = _NUMBER.match(line)
    return line[label.end() :] if label else line


def _indented(lines: list[str], search: list[str], replace: list[str]) -> Iterator[_Fit]:
    """Fit the block moved sideways as a whole: indentation lost, too much of it, or tabs."""
    mine = _margin(search)
    flat = [line.removeprefix(mine).rstrip() for line in search]
    for start in range(len(lines) - len(flat) + 1):
        there = lines[start : start + len(flat)]
        margin = _margin(there)
        # a line of REPLACE that is further left than SEARCH has no place to go
        fits = all(line.startswith(mine) or not line.strip() for line in replace)
        if fits and [line.removeprefix(margin) for line in there] == flat:
            bare = [line.removeprefix(mine) for line in replace]
            yield start, flat, [margin + line if line.strip() else "" for line in bare]


def _margin(lines: Sequence[str]) -> str:
    """Return the indentation that all lines share, blank ones left out."""
    full = [line for line in lines if line.strip()]
    shared = os.path.commonprefix(full)  # noqa: RUF071 - of characters: these are no paths
    return shared[: len(shared) - len(shared.lstrip())]


_REPAIRS = (_without_blank_ends, _with_plain_quotes, _without_numbers, _indented)


def _matches(lines: list[str], search: list[str]) -> Iterator[int]:
    for start in range(len(lines) - len(search) + 1):
        if lines[start] == search[0] and lines[start : start + len(search)] == search:
            yield start


def nearest(lines: Sequence[str], search: Sequence[str], around: int = 2, most: int = 24) -> str:
    """Return the lines most like `search`, numbered, at most `most` of them."""
    offset = _alignment([line.strip() for line in lines], [line.strip() for line in search])
    first = max(offset - around, 0)
    last = min(offset + min(len(search), most - 2 * around) + around, len(lines))
    return "\n".join(
        f"{index + 1:>5} | {lines[index].rstrip()[:200]}" for index in range(first, last)
    )


def _alignment(lines: list[str], search: list[str]) -> int:
    """Return the index in `lines` where `search` would begin if its best line matched there."""
    # most failures are wrong indentation or one wrong line, so the longest equal line finds the
    # place; otherwise only one line is matched approximately, which bounds the cost
    search = search[:100]
    anchors = sorted((line for line in set(search) if line), key=lambda line: (-len(line), line))
    for anchor in anchors:
        if anchor in lines:
            return max(lines.index(anchor) - search.index(anchor), 0)
    clipped = [line[:120] for line in lines]
    close = difflib.get_close_matches(anchors[0][:120], clipped, n=1) if anchors else []
    return max(clipped.index(close[0]) - search.index(anchors[0]), 0) if close else 0


def require_effect(genome: Mapping[str, str], files: Mapping[str, str | None]) -> None:
    """Raise UnappliedError where a changed file does not parse any more, or no code differs.

    Admission would refuse both; here the model still sees its answer, and is shown the line.
    """
    effects = set()
    for path, text in files.items():
        try:
            effects.add(compare(path, genome.get(path, "").encode(), (text or "").encode()))
        except NotParsedError as error:
            at = _LINE.search(str(error))
            line = "".join((text or "").split("\n")[int(at[1]) - 1 : int(at[1])]) if at else ""
            quoted = f", which is then: {line[:MAX_LINE_CHARS]}" if line.strip() else ""
            raise UnappliedError(
                f"after this change {path} does not parse as {error.language}: {error}{quoted}."
                " Keep the indentation of the lines around it, and whole statements."
            ) from None
    if "changed" not in effects:
        what = "only random seeds differ" if "reseeded" in effects else "no code that runs differs"
        raise UnappliedError(f"after this change {what}: change what is computed")
