"""Comparison of two versions of a file in any language but Python: same, reseeded, or changed.

Comments, blank lines and white space at the ends of lines have no effect; more or less white space
inside a line has none where the language says so. All of a plain text counts. JSON, YAML and TOML
are parsed; a file that parsed before must parse after. A change of seeds only is told by names:
`seed: 1`, `--seed 2`, `#define SEED 3`, `srand(4)`.

Not covered: what islands/genome/languages.py does not know of a language. An edit of a comment that
it takes for code wastes a trial; an edit of code that it takes for a comment is refused.
"""

from __future__ import annotations

import codecs
import re

from islands.genome.edit_effect import EditEffect
from islands.genome.languages import Language, language_of, tokens
from islands.genome.seed_names import is_plural, is_seed_name
from islands.genome.structured_data import NotParsedError, parser_of


def compare_text(path: str, before: bytes, after: bytes) -> EditEffect:
    """Return what the edit may change. Raises NotParsedError where `after` alone does not parse."""
    if _is_same(path, before, after):
        return "same"
    seedless = [_without_seeds(text.decode("utf-8", "replace")) for text in (before, after)]
    return "reseeded" if _is_same(path, *(text.encode() for text in seedless)) else "changed"


def text_lines(path: str, data: bytes) -> int:
    """Return how many lines of a file hold more than comments and white space."""
    return len(_significant_lines(_text(data), language_of(path)))


def _is_same(path: str, before: bytes, after: bytes) -> bool:
    if before == after:
        return True
    parse, language = parser_of(path), language_of(path)
    if parse is not None:
        try:
            former = parse(before) if before else None
        except NotParsedError:
            parse = None  # a template, or a dialect: the file never parsed
        else:
            return parse(after) == former if after else not before
    if language.kind == "plain":
        return False
    return _significant_lines(_text(before), language) == _significant_lines(_text(after), language)


def _text(data: bytes) -> str:
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def _significant_lines(text: str, language: Language) -> list[str]:
    """Return the lines of `text` that are not blank, without comments."""
    if language.kind == "plain":
        return [line for line in text.splitlines() if line.strip()]
    lines, pieces = [], list[str]()
    for token in tokens(text, language):
        if token.kind == "newline":
            lines.append(_line(pieces))
            pieces = []
        elif token.kind == "comment":
            pieces.append(" " if language.free else "")
        elif token.kind == "space" and language.free:
            pieces.append(" ")
        else:
            pieces.append(text[token.start : token.end])
    lines.append(_line(pieces))
    return [line.strip() if language.free else line for line in lines if line.strip()]


def _line(pieces: list[str]) -> str:
    kept = [piece for n, piece in enumerate(pieces) if piece != " " or pieces[n - 1 : n] != [" "]]
    return "".join(kept).rstrip()


_LITERAL = r"[-+]?(?:0[xX][0-9a-fA-F]+|\d[\d_.]*(?:[eE][-+]?\d+)?)[A-Za-z]{0,3}"
_QUOTED = rf"(?:{_LITERAL}|\"[^\"\n]*\"|'[^'\n]*')"
_LIST = rf"[\[({{]\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*(?:,\s*)?[\])}}]"
_END = r"(?=\s*(?:[,;})\]#]|//|/\*|--|\r|\n|\Z))"
_ASSIGNED = re.compile(
    rf"(?<![\w$-])(?P<name>[\w$-]{{0,40}}?[sS][eE][eE][dD][\w$-]{{0,40}})(?P<sign>[\"']?\s*(?::=|=>|=|:)\s*)"
    rf"(?P<value>{_LIST}|{_QUOTED}){_END}"
)
_SPACED = re.compile(
    r"(?P<name>(?<![\w-])--?[\w-]{0,40}?seed[\w-]{0,40}|(?<=#define )\w{0,40}?SEED\w{0,40})"
    r"(?P<sign>[ \t]+)"
    rf"(?P<value>{_LITERAL})(?!\S)"
)
_CALLED = re.compile(rf"(?P<call>\b(?:srand\w*|set_?seed|(?:\w+\.)?seed)\s*\()\s*{_LITERAL}\s*\)")
_ONE = re.compile(_QUOTED)


def _without_seeds(text: str) -> str:
    """Return `text` with every literal that a seed is set to replaced; a list keeps its length."""
    for pattern in (_ASSIGNED, _SPACED):
        text = pattern.sub(_seedless, text)
    return _CALLED.sub(r"\g<call>0)", text)


def _seedless(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    counts = is_plural(name) and value[0] not in "[({"  # seeds = 8 says how many
    if counts or not is_seed_name(name):
        return match[0]
    return f"{name}{match['sign']}{_ONE.sub('0', value)}"
