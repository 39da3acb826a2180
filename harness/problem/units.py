"""Units of printed numbers: what a number is multiplied by, so that its unit may change with size.

Programs print `900 K/s` and `1.2 M/s`, `980 us` and `1.5 ms`, `512 B` and `3 KiB`: read without
their units, the order of two candidates would be reversed. So, in either spelling, with a space
before the unit or without:

- multiples: `1.2M`, `1.2 M tokens/s`, `1.2 million`, `4 Ki`, and as a prefix, `1.2 Mops/s`, `3 mW`
- times are seconds and sizes bytes, or what the name ends with (`p95_ms`, `peak_mib`, `mb/s`)
- rates are per second, or per what the name says (`ops_per_min`): `60 req/min` is 1
- words that are no units are dropped (`95 %`, `5 points`, `12 ops`)

A unit that could be two things is refused. Not covered: KB of 1024 bytes where the unit changes
(1023 KB is read as more than 1.0 MB); a program that prints a rate where it is fast and the time of
one piece where it is slow, unless the name is a rate's (`ops/s`) or it prints `s/it`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TIMES = {
    **dict.fromkeys(("ps", "picosecond", "picoseconds"), 1e-12),
    **dict.fromkeys(("ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("us", "\u00b5s", "\u03bcs", "usec", "usecs", "micros"), 1e-6),
    **dict.fromkeys(("microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}

_LONG_BYTES = {
    f"{prefix}byte{s}": base ** (n + 1)
    for base, prefixes in (
        (1000.0, ("kilo", "mega", "giga", "tera")),
        (1024.0, ("kibi", "mebi", "gibi", "tebi")),
        (1000.0, "kmgt"),
    )
    for n, prefix in enumerate(prefixes)
    for s in ("", "s")
}

_BYTES = {
    **dict.fromkeys(("b", "byte", "bytes"), 1.0),
    **{f"{prefix}b": 1000.0 ** (n + 1) for n, prefix in enumerate("kmgtpe")},
    **{f"{prefix}ib": 1024.0 ** (n + 1) for n, prefix in enumerate("kmgtpe")},
    **_LONG_BYTES,
}

_MULTIPLES = {
    "k": 1e3,
    **{prefix: 1000.0 ** (n + 1) for n, prefix in enumerate("KMGT")},
    **{f"{prefix}i": 1024.0 ** (n + 1) for n, prefix in enumerate("KMGT")},
}

_PREFIXES = {**_MULTIPLES, "P": 1e15, "E": 1e18}

_SMALL_PREFIXES = {
    "c": 1e-2,
    "m": 1e-3,
    **dict.fromkeys("u\u00b5\u03bc", 1e-6),
    "n": 1e-9,
    "p": 1e-12,
}

_NUMERALS = {
    **dict.fromkeys(("thousand", "thousands"), 1e3),
    **dict.fromkeys(("million", "millions", "mio", "mln"), 1e6),
    **dict.fromkeys(("billion", "billions", "bn"), 1e9),
    **dict.fromkeys(("trillion", "trillions"), 1e12),
}

_PHYSICAL = frozenset(
    ("J", "W", "Wh", "V", "A", "Ah", "g", "m", "l", "L", "Hz", "F", "Pa", "N", "eV", "cal", "mol")
)
"""Units with prefixes below 1, in their own case."""

_NOUNS = """
flop op iop mac inst insn instr instruction cycle lups teps hz mph mpg kelvin bit bps byteps
fps qps rps tps pps cps sps eps nps ups ips t h bp base
tok token word char line loc key row cell rec record item elem element sample example ex seq
sequence param parameter point pt pixel px p image img frame tile triangle ray atom node edge tree
req request query queries call event msg message packet pkt tx txn trans transaction transfer
update upd lookup insert hash match it iter iteration step loop batch move game trial test task
gpu tpu kernel thread table total mean max median
"""

_COUNTED = frozenset(_NOUNS.split()) | {word.lower() for word in _PHYSICAL}
"""What is counted, or measured by a unit that may have a prefix (`Mops`, `ktok`, `GHz`), and words
after numbers that begin like a prefix."""

_SIZES = ("byte", "size", "mem", "alloc", "heap", "rss", "disk", "file", "stor", "buf", "peak")
"""Parts of names of sizes, whose B are bytes and no billions."""

_FEW_BYTES = 1000.0
"""From here a number of B are bytes: nobody prints a thousand billions."""

_BRACKETS = dict.fromkeys(map(ord, "()[]{}<>,;:|*\u00b7-_\"'`~"), " ")

_PER = re.compile(r"\bper\b", re.IGNORECASE)

_NAME_PART = re.compile(r"[^\W_]++|/")


class UnclearUnitError(ValueError):
    """A unit that could be two things; the message is one line that says which."""


def factor(unit: str, name: str, value: float) -> float:
    """Return what `value`, printed with `unit` under `name`, is multiplied by.

    Raises UnclearUnitError where the unit could be two things.
    """
    counted, _, per = _PER.sub("/", unit.translate(_BRACKETS)).partition("/")
    words, below = _words(counted), _words(per.partition("/")[0])
    wanted, wanted_below = _named(name)
    period = _period(below, unit)
    _check_rate(words, below, wanted_below)
    if words[:1] and words[0] in ("b", "B"):
        times = _billions_or_bytes(words, bool(below), name, value)
        return times / (1.0 if times > 1 else _BYTES.get(wanted, 1.0)) * _per(period, wanted_below)
    times, words = _multiple(words)
    return times * _size(words[0] if words else "", wanted) * _per(period, wanted_below)


def _words(text: str) -> list[str]:
    return [word for part in text.split() if (word := part.rstrip(".!"))]


def _is_counted(word: str) -> bool:
    return not _COUNTED.isdisjoint((word, word.removesuffix("s"), word.removesuffix("es")))


def _named(name: str) -> tuple[str, str]:
    """Return the unit that `name` ends with, and what it is per: ("ops", "s") for `ops/s`."""
    parts = _NAME_PART.findall(name.lower())
    at = next((n for n, part in enumerate(parts) if part in ("/", "per")), len(parts))
    return parts[at - 1] if at else "", parts[at + 1] if at + 1 < len(parts) else ""


def _period(below: Sequence[str], unit: str) -> float | None:
    """Return the seconds that a rate is per, None for what is no rate."""
    if below[:1] == ["m"]:
        raise UnclearUnitError(f'"{unit.strip()}" may be per minute or per metre')
    return _TIMES.get(below[0].lower()) if below else None


def _per(period: float | None, wanted: str) -> float:
    return 1.0 if period is None else _TIMES.get(wanted, 1.0) / period


def _check_rate(words: Sequence[str], below: Sequence[str], wanted_below: str) -> None:
    """Raise for a time where a rate is printed at other sizes."""
    if not words or words[0].lower() not in _TIMES:
        return
    if wanted_below in _TIMES:
        raise UnclearUnitError(f'"{words[0]}" is a time, and its name is that of a rate')
    if below[:1] == ["it"] and words[0] == "s":
        raise UnclearUnitError('"s/it" is printed as it/s where it is fast')


def _billions_or_bytes(words: Sequence[str], per: bool, name: str, value: float) -> float:
    """Return what B stands for: billions of what is named after it, or bytes."""
    if len(words) > 1 and _is_counted(words[1].lower()):
        return _NUMERALS["billion"]
    sized = any(part in name.lower() for part in _SIZES) or _named(name)[0] in _BYTES
    if not per and not sized and abs(value) < _FEW_BYTES:
        raise UnclearUnitError(f'"{words[0]}" may be bytes or billions')
    return 1.0


def _multiple(words: list[str]) -> tuple[float, list[str]]:
    """Return the multiple that `words` begin with, and the words after it."""
    if not words:
        return 1.0, words
    first, others = words[0], words[1:]
    if first == "m":
        raise UnclearUnitError('"m" may be metres, minutes, thousandths or millions')
    times = _MULTIPLES.get(first, _NUMERALS.get(first.lower()))
    if times is not None:
        return times, others
    if first[0] in _MULTIPLES and not first[1].isalpha():  # 1.2k% or 1.2k$
        return _MULTIPLES[first[0]], [first[1:], *others]
    return 1.0, words


def _size(word: str, wanted: str) -> float:
    """Return the size of the unit `word`, in that of `wanted` where both are times or bytes."""
    small = word.lower()
    for family in (_TIMES, _BYTES):
        if small in family:
            return family[small] / family.get(wanted, 1.0)
    if not word or _is_counted(small):
        return 1.0
    for prefix in (word[:2], word[:1]):
        if prefix in _PREFIXES and _is_counted(small[len(prefix) :]):
            return _PREFIXES[prefix]
    if word[0] in _SMALL_PREFIXES and word[1:] in _PHYSICAL:
        return _SMALL_PREFIXES[word[0]]
    if word[0] in _MULTIPLES and word.isalpha():
        raise UnclearUnitError(f'"{word}" may begin with a prefix, {word[0]}, or be a word')
    return 1.0
