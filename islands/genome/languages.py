"""Languages of genomes: their comments and strings, and the tokens of a text.

A small table, by file name; it knows as much of each language as is needed to tell comments and
strings from code. `tokens` never fails: what it does not recognise is a token of its own.

Not covered: here-documents and block scalars (read as code); nested block comments; regular
expressions of JavaScript after anything but an operator, a bracket or `return`; strings with a
delimiter of their own (`R"x(...)x"`, `q{...}`, `$tag$...$tag$`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

TokenKind = Literal["comment", "string", "number", "word", "newline", "space", "other"]


class Token(NamedTuple):
    """A piece of a text: `text[start:end]`."""

    kind: TokenKind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Language:
    """What is known of a language.

    kind: code; config (keys and values); or plain text, all of which counts
    line: what begins a comment to the end of the line
    block: what begins and ends a comment
    strings: patterns of strings
    spaced: whether a comment to the end of the line begins at white space only
    free: whether more white space inside a line means the same
    directive: pattern of what looks like a comment and is none
    """

    kind: Literal["code", "config", "plain"]
    line: tuple[str, ...] = ()
    block: tuple[tuple[str, str], ...] = ()
    strings: tuple[str, ...] = ()
    spaced: bool = False
    free: bool = False
    directive: str = ""


# a string that nothing closes goes on to the end of its line, or of the text: linear time
_DOUBLE = r'"(?:\\.|[^"\\\n])*"?'
_SINGLE = r"'(?:\\.|[^'\\\n])*'?"
_CHARACTER = r"'(?:\\[^'\n]{1,10}|[^'\\\n])'"
_LONG = (r'"""(?:\\.|[^\\])*?(?:"""|\\?\Z)', r"'''(?:\\.|[^\\])*?(?:'''|\\?\Z)")
_DOUBLED = (r"'(?:''|[^'])*'?", r'"(?:""|[^"])*"?')
_TEMPLATE = r"`(?:\\.|[^`\\])*`?"
_SHELL = (r'"(?:\\.|[^"\\])*"?', r"'[^']*'?")
_PATTERN = (
    r"(?:(?<=[(,=:\[!&|?{};])|(?<=return))[ \t]*/(?![*/])"
    r"(?:\\.|\[(?:\\.|[^\]\\\n]){0,200}\]|[^/\\\n\[]){1,500}/"
)
_SLASHES = (("/*", "*/"),)

_C_STRINGS = (_DOUBLE, _CHARACTER)
_C = Language("code", ("//",), _SLASHES, _C_STRINGS, free=True, directive=r"//go:|//line ")
_JAVASCRIPT = replace(_C, strings=(_DOUBLE, _SINGLE, _TEMPLATE, _PATTERN), directive="")
_CSS = Language("code", (), _SLASHES, (_DOUBLE, _SINGLE), free=True)
_HASH = Language("code", ("#",), (), (*_LONG, _DOUBLE, _SINGLE), directive=r"\A#!")
_SHELL_LANGUAGE = Language("code", ("#",), (), _SHELL, spaced=True, directive=r"\A#!|# syntax=")
_SQL = Language("code", ("--",), _SLASHES, _DOUBLED, free=True, directive=r"/\*[+!]|--\+")
_MARKUP = Language("code", (), (("<!--", "-->"),), (_DOUBLE, _SINGLE))
_JSON = Language("config", (), (), (_DOUBLE,), free=True)
_YAML_STRINGS = (r'(?<!\w)"(?:\\.|[^"\\])*"?', r"(?<!\w)'(?:''|[^'])*'?")
_YAML = Language("config", ("#",), (), _YAML_STRINGS, spaced=True)
_TOML = Language("config", ("#",), (), (*_LONG, _DOUBLE, r"'[^'\n]*'?"))
_INI = Language("config", ("#", ";"), (), (r'(?<!\w)"[^"\n]*"?', r"(?<!\w)'[^'\n]*'?"), spaced=True)
_LISP = Language("code", (";",), (), (r'"(?:\\.|[^"\\])*"?',))
_LUA = Language("code", ("--",), (("--[[", "]]"),), (_DOUBLE, _SINGLE))
_HASKELL = Language("code", ("--",), (("{-", "-}"),), (_DOUBLE, _CHARACTER), directive=r"\{-#")
_PERCENT = Language("code", ("%",), (), (_DOUBLE,))
_FORTRAN = Language("code", ("!",), (), (_DOUBLE, _SINGLE), directive=r"!(?:\$|DIR\$|DEC\$)")
_PLAIN = Language("plain", (), (("<!--", "-->"),))

_BY_ENDING: Mapping[str, Language] = {
    ending: language
    for endings, language in (
        ("c h cc cpp cxx hh hpp hxx cu cuh m mm java cs go rs swift kt kts scala dart zig d", _C),
        ("v sv glsl hlsl metal wgsl cl proto thrift gradle groovy jsonc json5", _C),
        ("js mjs cjs jsx ts mts cts tsx vue svelte", _JAVASCRIPT),
        ("php", replace(_JAVASCRIPT, line=("//", "#"), strings=(_DOUBLE, _SINGLE))),
        ("css scss less", _CSS),
        ("py pyi pyx jl r rb pl pm ex exs nim cr coffee tcl awk", _HASH),
        ("sh bash zsh fish ksh mk mak cmake dockerfile", _SHELL_LANGUAGE),
        ("sql psql ddl", _SQL),
        ("html htm xml svg xsl", _MARKUP),
        ("json", _JSON),
        ("yaml yml", _YAML),
        ("toml", _TOML),
        ("ini cfg conf properties env", _INI),
        ("lisp el clj cljs scm rkt", _LISP),
        ("lua", _LUA),
        ("hs elm", _HASKELL),
        ("tex bib erl", _PERCENT),
        ("f f90 f95 f03 f08", _FORTRAN),
    )
    for ending in endings.split()
}

_BY_NAME: Mapping[str, Language] = {
    "makefile": _SHELL_LANGUAGE,
    "gnumakefile": _SHELL_LANGUAGE,
    "dockerfile": _SHELL_LANGUAGE,
    "cmakelists.txt": _SHELL_LANGUAGE,
    "justfile": _SHELL_LANGUAGE,
    ".env": _INI,
}


def language_of(path: str) -> Language:
    """Return the language of the file at `path`; plain text where its name says none."""
    name = PurePosixPath(path).name.lower()
    return _BY_NAME.get(name) or _BY_ENDING.get(name.rpartition(".")[2], _PLAIN)


def tokens(text: str, language: Language) -> Iterator[Token]:
    """Yield the tokens of `text` in order; together they are all of it."""
    for match in _scanner(language).finditer(text):
        kind = match.lastgroup
        yield Token(kind or "other", match.start(), match.end())  # type: ignore[arg-type]  # named so


_UNIT = r"(?:%|[A-Za-z]{1,4})?"
_DIGITS = r"\d(?:[_']?\d)*"
_NUMBER = (
    rf"(?<![\w.])(?:0[xX][0-9a-fA-F]+|(?:{_DIGITS}(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?){_UNIT}"
    r"(?!\.?\w)"
)
_NOT_A_DATE = rf"(?<!\d[-:/,]){_NUMBER}(?![-:/,]\d)"


@lru_cache(maxsize=64)
def _scanner(language: Language) -> re.Pattern[str]:
    """Return a pattern that matches one token; each of its alternatives takes linear time."""
    before = r"(?<!\S)" if language.spaced else ""
    blocks = [rf"{re.escape(start)}.*?(?:{re.escape(end)}|\Z)" for start, end in language.block]
    lines = [rf"{before}{re.escape(start)}[^\r\n]*" for start in language.line]
    comments = "|".join(blocks + lines) or r"(?!)"
    directive = f"(?!{language.directive})" if language.directive else ""
    number = _NUMBER if language.kind == "code" else _NOT_A_DATE
    return re.compile(
        rf"(?P<comment>{directive}(?:{comments}))"
        rf"|(?P<string>{'|'.join(language.strings) or '(?!)'})"
        rf"|(?P<number>{number})"
        r"|(?P<word>[^\W\d]\w*|\d[\w.]*)"
        r"|(?P<newline>\r\n|\r|\n)"
        r"|(?P<space>[^\S\r\n]+)"
        r"|(?P<other>.)",
        re.DOTALL,
    )
