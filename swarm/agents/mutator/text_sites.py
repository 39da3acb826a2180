"""Edit sites of a file that is not Python: numbers, flags and listed alternatives, by token.

Numbers keep how they are written: 3, 1e-3, 0x40, 16px, 50%. Flags are true/false, yes/no, on/off in
their own case. Alternatives are listed in a comment beside the value, or above its line:

    optimizer: adam        # one of: adam, sgd, lion
    const char *order = "rows";  // one of: rows, columns
    <!-- one of: Answer briefly. | Think step by step. -->
    Answer briefly.

Where the list has a `|`, that separates its items, which may then hold commas. In plain text the
whole line below the comment is the value. Two more kinds of value have alternatives without a list:
the level of an optimising compiler (`-O2`), and a word that a configuration file has elsewhere for
the same key. A site is known by its key, else by the text of its line without values.

Not sites: seeds; versions, dates, times, ports and identifiers; indices; small whole numbers in
code that no name is given to; what stands in comments and inside of longer strings.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, islice

from islands.genome.languages import Language, Token, language_of, tokens
from swarm.agents.mutator.edit_sites import (
    MAX_DIMENSION,
    MAX_EPSILON,
    MAX_OPTIONS,
    ZERO_OPTIONS,
    Rank,
    Site,
)
from swarm.agents.mutator.identifiers import EFFECTLESS_CALLS, is_rate, is_seed, may_be_zero, words
from swarm.agents.mutator.transforms import Number, parse_number

FLAGS = {"true": "false", "yes": "no", "on": "off", "enabled": "disabled"}
"""Pairs of flags, by one of them."""

LEVELS = ("-O1", "-O2", "-O3", "-Os")

MAX_LINE_CHARS = 20_000
"""Longer lines are data or generated, and have no sites."""

MAX_TEXT_SITES = 2_048
"""Sites of one file, the first ones."""

NAME_WINDOW = 160
"""Characters before a value in which its name is looked for."""

_LEFT_ALONE = {
    "api", "copyright", "date", "gid", "id", "license", "pid", "port", "schema", "uid", "uuid",
    "version", "year",
}  # fmt: skip
"""Words of names whose numbers are no quantities."""

_WITHOUT_EFFECT = EFFECTLESS_CALLS | {"echo", "printf"}

_NAMING = {"file", "host", "key", "label", "name", "path", "title", "url", "user"}
"""Words of keys whose values elsewhere in the file are no alternatives."""

_OPPOSITE = {**FLAGS, **{off: on for on, off in FLAGS.items()}}
_LONE_FLAGS = {"true", "false"}

_KEY = re.compile(
    r"(?<![\w$.-])(?P<name>[A-Za-z_$][\w$.-]*)[\"'\])]?\s*(?<![=!<>+\-*/%&|^~])(?::=|=>|=|:)\s*\Z"
)
_DEFINED = re.compile(r"^\s*#\s*define\s+(?P<name>\w+)\s+\(?\Z")
_FLAG_OPTION = re.compile(r"(?:^|\s)--?(?P<name>[A-Za-z][\w-]*)\s+\Z")
_KEYWORD = re.compile(r"\b(?P<name>[A-Za-z_]\w*)\s+(?:TO\s+|to\s+)?\Z")
_IN_LIST = re.compile(
    r"(?<![\w$.-])(?P<name>[A-Za-z_$][\w$.-]*)[\"']?\s*[:=]\s*[\[{(][^:={}\"']*\Z"
)
_INDEX = re.compile(r"[\w)\]]\[\s*\Z")
_SKIPPED = re.compile(
    r"\s*(?:#\s*(?:include|if|elif|ifdef|ifndef|error|line|version)\b"
    r"|(?:import|from|require|use|using|package|module|assert|throw|raise|return\s+Err)\b)"
)
_CONSTANT = re.compile(r"\s*(?:(?:const|constexpr|static|final|export|readonly|pub|val)\s)")
_ONE_OF = re.compile(r"\W*one of:\s*(.*?)\s*(?:-->|\*/|-\}|\]\])?\s*\Z", re.DOTALL)
_UNIT = re.compile(r"(?:%|[A-Za-z]{1,4})\Z")
_QUOTED_NUMBER = re.compile(
    r"[\"']-?(?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?:%|[a-z]{1,4})?[\"']"
)
_LEVEL = re.compile(r"(?<![\w-])-O(?:[123s])(?!\w)")
_BARE_WORD = re.compile(r"[A-Za-z_][\w.+-]*\Z")
_VALUES = re.compile(
    r"0[xX][0-9a-fA-F]+|\d[\d_.]*(?:[eE][-+]?\d+)?|\b(?:true|false|yes|no|on|off)\b|\s+"
)


def find_text_sites(path: str, text: str) -> list[Site]:
    """Return the sites of file `path` in text order; offsets count bytes."""
    finder = _Finder(path, text)
    offsets = _byte_offsets(text)
    times: dict[str, int] = {}
    named: list[Site] = []
    for site in sorted(
        islice(finder.sites(), MAX_TEXT_SITES), key=lambda site: (site.start, site.end)
    ):
        if named and offsets(site.start) < named[-1].end:
            continue  # inside of a value with listed alternatives
        times[site.id] = count = times.get(site.id, -1) + 1
        id_ = f"{site.id}#{count}" if count else site.id
        named.append(replace(site, id=id_, start=offsets(site.start), end=offsets(site.end)))
    return named


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the text: its span, its tokens, and where its code ends."""

    start: int
    end: int
    tokens: tuple[Token, ...]

    @property
    def comment(self) -> Token | None:
        """The last comment that begins on the line."""
        return next((t for t in reversed(self.tokens) if t.kind == "comment"), None)


class _Finder:
    """Finds the sites of one text, with offsets in characters."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text, self.language = path, text, language_of(path)
        self._keys: dict[int, str] = {}

    def sites(self) -> Iterator[Site]:
        above: list[str] = []
        words_seen = list[Site]()
        for line in _lines(self.text, self.language):
            code = [t for t in line.tokens if t.kind not in {"comment", "space"}]
            options = _listed(self.text, line)
            if line.end - line.start > MAX_LINE_CHARS:
                above = []
                continue
            if not code:
                above = options or above
                continue
            if options or above:
                site = self._alternatives(line, code, options or above)
                above = []
                if site is not None:
                    yield replace(site, options=site.options[:MAX_OPTIONS])
                    continue
            above = []
            if not self._is_skipped(line):
                yield from self._values(line, code)
            if self.language.kind == "config":
                words_seen += self._words(line, code)
        yield from _seen_elsewhere(words_seen)

    def _is_skipped(self, line: _Line) -> bool:
        start = self.text[line.start : min(line.end, line.start + NAME_WINDOW)]
        return self.language.kind == "code" and _SKIPPED.match(start) is not None

    def _values(self, line: _Line, code: list[Token]) -> Iterator[Site]:
        for token in code:
            content = self.text[token.start : token.end]
            if token.kind == "number":
                yield from self._number(line, token.start, token.end)
            elif token.kind == "word" and content.lower() in _OPPOSITE:
                yield from self._flag(line, token, content)
            elif token.kind == "string":
                yield from self._in_string(line, token, content)
        for match in _LEVEL.finditer(self.text, line.start, line.end):
            site = self._site(line, match.start(), match.end(), "-O", "knob")
            if self.language.kind != "code" or self.language.spaced:
                yield replace(site, options=tuple(o for o in LEVELS if o != site.text))

    def _in_string(self, line: _Line, token: Token, content: str) -> Iterator[Site]:
        """Yield the number that a string consists of."""
        quoted = _QUOTED_NUMBER.fullmatch(content)
        if quoted and self._name(line, token.start):
            yield from self._number(line, token.start + 1, token.end - 1)

    def _number(self, line: _Line, start: int, end: int) -> Iterator[Site]:
        before = self.text[max(line.start, start - NAME_WINDOW) : start]
        name = self._name(line, start)
        if is_seed(name) or words(name) & _LEFT_ALONE or _INDEX.search(before):
            return
        mark = self.text[end : end + 2]
        if self.language.kind == "plain" and not before.strip() and re.match(r"[.)]\s", mark):
            return  # an item of a numbered list
        if before.endswith("-") and not re.search(r"[\w)\]]\s*-\Z", before):
            start -= 1
        content = self.text[start:end]
        hexadecimal = "0x" in content.lower()
        unit = None if hexadecimal else _UNIT.search(content)
        bare = content[: unit.start()] if unit else content
        rank = self._rank(line, name)
        if bare.lstrip("-") in ZERO_OPTIONS and not unit and rank != "inner" and len(name) > 1:
            options = ZERO_OPTIONS[bare.lstrip("-")]
            yield replace(self._site(line, start, end, name, rank), options=options)
            return
        number = parse_number(bare.replace("'", ""), is_rate(name), plain=True)
        if number is None or (rank == "inner" and self._is_small(number)):
            return
        number = replace(number, unit=unit[0] if unit else "")
        site = replace(self._site(line, start, end, name, rank), number=number)
        yield site
        if number.scale == "logit" and rank != "inner" and may_be_zero(name) and not unit:
            yield replace(site, id=f"{site.id}=0", number=None, options=("0.0",))

    def _is_small(self, number: Number) -> bool:
        """Return whether a number in code is most likely a dimension or guards a division."""
        most = MAX_DIMENSION if number.text.isdigit() else MAX_EPSILON
        return self.language.kind == "code" and number.value <= most

    def _flag(self, line: _Line, token: Token, content: str) -> Iterator[Site]:
        name = self._name(line, token.start)
        lone = content.lower() in _LONE_FLAGS or self.language.kind == "config"
        lone = lone or self.language.spaced or "--" in self.language.line
        after = self.text[token.end : min(line.end, token.end + NAME_WINDOW)].lstrip()
        whole = not after or after[0] in ",;})]#" or after.startswith(("//", "/*", "--"))
        if not name or not whole or not lone or is_seed(name):
            return
        other = _in_case_of(content, _OPPOSITE[content.lower()])
        rank = self._rank(line, name)
        yield replace(self._site(line, token.start, token.end, name, rank), options=(other,))

    def _alternatives(self, line: _Line, code: list[Token], listed: list[str]) -> Site | None:
        """Return the site of the value on `line` for which alternatives are listed."""
        start, end, name = code[0].start, code[-1].end, ""
        if self.language.kind != "plain":
            while end > start and self.text[end - 1] in ";,":
                end -= 1
            for token in code:
                found = self._name(line, token.start)
                if found:
                    start, name = token.start, found
                    break
            else:
                start = code[-1].start if len(code) > 1 else start
            end = max(end, start)
        if is_seed(name) or not self.text[start:end].strip():
            return None
        site = self._site(line, start, end, name, self._rank(line, name) if name else "named")
        options = dict.fromkeys(_in_quotes_of(site.text, option) for option in listed)
        return replace(site, options=tuple(option for option in options if option != site.text))

    def _words(self, line: _Line, code: list[Token]) -> Iterator[Site]:
        """Yield a site for a value of one word or string that follows a key."""
        for n, token in enumerate(code):
            if token.kind not in {"word", "string"}:
                continue
            bare = self.text[token.start : token.end].strip("\"'")
            last = n + 1 == len(code) or self.text[code[n + 1].start] in ",}];"
            if not last or not _BARE_WORD.match(bare) or bare.lower() in _OPPOSITE:
                continue
            before = self.text[max(line.start, token.start - NAME_WINDOW) : token.start]
            key = _KEY.search(before)
            if (
                key
                and not is_seed(key["name"])
                and not words(key["name"]) & (_LEFT_ALONE | _NAMING)
            ):
                yield self._site(line, token.start, token.end, key["name"], "knob")

    def _name(self, line: _Line, start: int) -> str:
        """Return the name of what stands at `start`, "" if there is none."""
        if self.language.kind == "plain":
            return ""
        window = self.text[max(line.start, start - NAME_WINDOW) : start]
        bare = window.rstrip("-\"'(")
        before = bare + " " * (len(window) - len(bare))
        patterns = [_KEY, _DEFINED]
        if self.language.kind == "config":
            patterns.append(_IN_LIST)
        else:
            patterns.append(_FLAG_OPTION)
            if self.language.spaced or "--" in self.language.line:
                patterns.append(_KEYWORD)
        found = next((m for m in (pattern.search(before) for pattern in patterns) if m), None)
        return found["name"] if found and found["name"] not in _WITHOUT_EFFECT else ""

    def _rank(self, line: _Line, name: str) -> Rank:
        if self.language.kind != "code":
            return "knob"
        if not name:
            return "inner"
        start = self.text[line.start : min(line.end, line.start + NAME_WINDOW)]
        top = bool(start) and not start[0].isspace()
        return "knob" if name.isupper() or (top and _CONSTANT.match(start)) else "named"

    def _site(self, line: _Line, start: int, end: int, name: str, rank: Rank) -> Site:
        text = self.text[start:end]
        where = name if name and rank != "inner" else self._line_key(line)
        label = name or f"a value in {self.path}"
        return Site(f"{self.path}:{where}", self.path, name, rank, start, end, text, label)

    def _line_key(self, line: _Line) -> str:
        """Return a key of a line without its values: it outlives their change."""
        key = self._keys.get(line.start)
        if key is None:
            key = self._keys[line.start] = self._new_line_key(line)
        return key

    def _new_line_key(self, line: _Line) -> str:
        comment = line.comment
        end = comment.start if comment else line.end
        bare = _VALUES.sub("", self.text[line.start : end])
        return f"{zlib.crc32(bare.encode('utf-8', 'surrogatepass')):08x}"


def _lines(text: str, language: Language) -> Iterator[_Line]:
    """Yield the lines of `text`; a token that spans lines counts to the one it begins on."""
    start, seen = 0, list[Token]()
    for token in tokens(text, language):
        if token.kind == "newline":
            yield _Line(start, token.start, tuple(seen))
            start, seen = token.end, []
        else:
            seen.append(token)
    yield _Line(start, len(text), tuple(seen))


def _listed(text: str, line: _Line) -> list[str]:
    """Return the alternatives that a comment on `line` lists."""
    comment = line.comment
    if comment is None:
        return []
    listed = _ONE_OF.fullmatch(text[comment.start : comment.end])
    if listed is None:
        return []
    by = "|" if "|" in listed[1] else ","
    return [item.strip() for item in listed[1].split(by) if item.strip()]


def _seen_elsewhere(sites: Iterable[Site]) -> Iterator[Site]:
    """Yield the sites whose key has other values elsewhere in the file, with these as options."""
    by_name: dict[str, list[Site]] = {}
    for site in sites:
        by_name.setdefault(site.name, []).append(site)
    for same in by_name.values():
        values = dict.fromkeys(site.text for site in same)
        if 1 < len(values) <= MAX_OPTIONS:
            for site in same:
                yield replace(site, options=tuple(v for v in values if v != site.text))


def _in_quotes_of(text: str, option: str) -> str:
    """Return `option` in the quotes that `text` has, unless it has its own."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`"
    return f"{text[0]}{option}{text[0]}" if quoted and option[0] not in "\"'`" else option


def _in_case_of(text: str, other: str) -> str:
    if text.isupper():
        return other.upper()
    return other.capitalize() if text[0].isupper() else other


def _byte_offsets(text: str) -> Callable[[int], int]:
    """Return what gives the offset in bytes of an offset in characters."""
    wide = [] if text.isascii() else [n for n, char in enumerate(text) if not char.isascii()]
    sizes = (len(text[n].encode("utf-8", "surrogatepass")) - 1 for n in wide)
    extra = [0, *accumulate(sizes)]
    return lambda offset: offset + extra[bisect_right(wide, offset - 1)]
