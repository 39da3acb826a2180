"""Reads numbers from what a program printed: the metric, and every other number as a claim.

A number stands on a line of its own, in one of these forms:

    name: 1.5        name=1.5        METRIC name=1.5        name 1.5        {"name": 1.5}

or wherever a pattern with one group finds it. Colour codes, quotes around a name and a comma at the
end are ignored; `1,234.5`, `1_234`, `1e-3` and `1.2k` are numbers. Units are converted, since
programs choose them by size (`harness.problem.units`): `p95_ms: 0.06 s` is 60. A line with more
numbers than one is no such form. Claims have printable names of at most MAX_NAME_CHARS characters,
and there are at most MAX_NAMES of them; others are passed over.

Not covered: decimal commas.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from harness.contract import MAX_NUMBER, measurable, one_line
from harness.problem.cpu_limit import CpuLimitError, cpu_limit
from harness.problem.units import UnclearUnitError, factor
from harness.sandbox.monitor.capped_log import whole_lines

MAX_LINE_CHARS = 400
"""A longer line holds no `name: number`."""

MAX_JSON_CHARS = 65_536
"""A longer line is not read as JSON."""

MAX_PATTERN_CHARS = 2_000
"""Characters of each line that a pattern is tried on."""

MAX_NAME_CHARS = 80
"""Characters of a claim's name."""

MAX_NAMES = 64
"""Names whose numbers are kept as claims: the first that are printed."""

MAX_UNIT_CHARS = 41
"""Characters after a number, up to the end of its line."""

PATTERN_CPU_S = 2.0
"""CPU time that a pattern may take for all lines; for a MiB of honest ones it takes a tenth."""

MAX_SHOWN_CHARS = 120
"""Characters of a line that a message quotes."""

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_]|[()][0-9A-B])"
)
"""Colour, cursor and title codes of terminals."""

_NUMBER = (
    r"[-+\u2212]?+(?:(?:\d{1,3}+(?:[,_]\d{3})++|\d++)(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?+\d{1,5}+)?+"
)

_NOT_A_NUMBER = r"[-+]?+(?:nan|inf(?:inity)?+|none|null|n/a)"

_VALUE = re.compile(rf"{_NUMBER}|{_NOT_A_NUMBER}", re.IGNORECASE | re.ASCII)
"""Possessive, as is all that a candidate's lines are matched with: work is linear in them."""

_SEPARATOR = re.compile(r"\s*+[:=]\s*+|\s++")

_NAME = re.compile(r"[^\W\d_][^:=]*+|_\w*+")


class Printed(NamedTuple):
    """A number as printed: its value, NaN or infinite where it is no finite number, and its line.

    `value` is NaN too where a line names the metric and gives no number. `unclear` says what its
    unit could be, where that is two things.
    """

    value: float
    line: str
    unclear: str = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a program printed.

    metric: the metric's number, None if it was not printed as one finite number
    problem: in that case one line that says why, with the line that was seen
    claims: every other number that was printed once, or always with the same value
    """

    metric: float | None
    problem: str
    claims: Mapping[str, float]


def read_numbers(output: bytes, metric: str, pattern: str = "") -> Numbers:
    """Return the number of `metric` and the claims in `output`. Never raises, whatever it holds.

    With a `pattern` the metric is what its group matches, on any line.
    """
    lines = clean_lines(output)
    by_name: dict[str, list[Printed]] = {}
    for name, printed in _all(lines):
        if name == metric or (is_name(name) and (name in by_name or len(by_name) < MAX_NAMES)):
            by_name.setdefault(name, []).append(printed)
    seen = by_name.pop(metric, [])
    try:
        seen = _matches(lines, metric, pattern) if pattern else seen
        problem = _problem(seen, metric, pattern, lines)
    except CpuLimitError:
        problem = f"the pattern of {metric} takes more than {PATTERN_CPU_S:g} s on what was printed"
    claims = {name: only for name, values in by_name.items() if (only := _only(values)) is not None}
    return Numbers(None if problem else seen[0].value, problem, claims)


def clean_lines(output: bytes) -> list[str]:
    """Return the lines of `output` without terminal codes, whatever ends them.

    Where a log was cut, the pieces of lines beside the cut are left out.
    """
    text = _ESCAPE.sub("", whole_lines(output).decode("utf-8", "replace"))
    return [line for part in re.split(r"[\r\n]+", text) if (line := part.strip())]


def is_name(text: str) -> bool:
    """Return whether a number may be recorded under the name `text`."""
    return 0 < len(text) <= MAX_NAME_CHARS and text.isprintable()


def check_pattern(pattern: str) -> str:
    """Return why `pattern` cannot be a metric's, "" if it can."""
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression ({error})"
    return "" if groups == 1 else f"must have one group in parentheses, it has {groups}"


def _all(lines: Sequence[str]) -> Iterator[tuple[str, Printed]]:
    for line in lines:
        if line.startswith("{") and line.endswith("}") and len(line) <= MAX_JSON_CHARS:
            yield from _json(line)
        elif len(line) <= MAX_LINE_CHARS:
            yield from _form(line)


def _form(line: str) -> Iterator[tuple[str, Printed]]:
    text = line.removeprefix("METRIC ").strip().rstrip(",;")
    text = text.replace('"', "").replace("'", "").replace("`", "")
    # the number holds the last digit, or has none after it: so one look at each place is enough
    last_digit = max(map(text.rfind, "0123456789"))
    for separator in _SEPARATOR.finditer(text):
        start, end = separator.span()
        value = _VALUE.match(text, end)
        if start > MAX_NAME_CHARS:
            return
        if value and value.end() > last_digit:
            name, unit = text[:start], text[value.end() :]
            if _NAME.fullmatch(name) and len(unit.strip()) <= MAX_UNIT_CHARS:
                yield name, _printed(value[0], unit, name, line)
            return
        if separator[0].strip():  # no name has these
            return


def _json(line: str) -> Iterator[tuple[str, Printed]]:
    """Yield the numbers of an object; one that is repeated in it counts as printed twice."""
    try:
        pairs = json.loads(line, object_pairs_hook=list, parse_int=float)
    except (ValueError, RecursionError):
        return
    for name, value in pairs if isinstance(pairs, list) else ():
        if isinstance(value, float) or value is None:
            yield name, Printed(math.nan if value is None else value, line)


def _matches(lines: Sequence[str], metric: str, pattern: str) -> list[Printed]:
    """Return what the pattern matches. Raises CpuLimitError where that takes too long."""
    with cpu_limit(PATTERN_CPU_S):
        return [
            _grouped(match[1] or "", metric, line)
            for line in lines
            for match in _compiled(pattern).finditer(line[:MAX_PATTERN_CHARS])
            # beyond the end a number may go on
            if match.end() < MAX_PATTERN_CHARS or len(line) <= MAX_PATTERN_CHARS
        ]


def _grouped(text: str, metric: str, line: str) -> Printed:
    text = text.strip()
    value = _VALUE.match(text)
    unit = text[value.end() :] if value else ""
    if value is None or len(unit) > MAX_UNIT_CHARS or any(map(str.isdecimal, unit)):
        return Printed(math.nan, line)
    return _printed(value[0], unit, metric, line)


def _printed(number: str, unit: str, name: str, line: str) -> Printed:
    value = _value(number)
    try:
        return Printed(value * factor(unit, name, value), line)
    except UnclearUnitError as error:
        return Printed(math.nan, line, str(error))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _value(text: str) -> float:
    try:
        return float(text.replace(",", "").replace("_", "").replace("\u2212", "-"))
    except ValueError:  # none, n/a
        return math.nan


def _problem(seen: list[Printed], metric: str, pattern: str, lines: Sequence[str]) -> str:
    """Return why `seen` gives no score, "" where it does."""
    if not seen:
        return _missing(metric, pattern, lines)
    for printed in seen:
        if printed.unclear:
            return (
                f"{metric} has a unit that is not clear, {printed.unclear}: {_shown(printed.line)}"
            )
        if not measurable(printed.value):
            kind = f"beyond {MAX_NUMBER:g}" if math.isfinite(printed.value) else "no finite number"
            return f"{metric} is {kind}: {_shown(printed.line)}"
    other = next((printed for printed in seen if printed.value != seen[0].value), None)
    if other is not None:
        first = _shown(seen[0].line)
        return f"{metric} was printed with different values: {first}, then {_shown(other.line)}"
    return ""


def _missing(metric: str, pattern: str, lines: Sequence[str]) -> str:
    if pattern:
        wanted = f"no line matches the pattern of {metric}"
    else:
        wanted = f"{metric} was not printed as `{metric}: NUMBER` on a line of its own"
    naming = [line for line in lines if metric in line] or list(lines)
    return f"{wanted}; {'seen: ' + _shown(naming[-1]) if naming else 'nothing was printed'}"


def _shown(line: str) -> str:
    return f'"{one_line(line, MAX_SHOWN_CHARS)}"'


def _only(values: Sequence[Printed]) -> float | None:
    """Return the one value that was printed, None where there are several or none."""
    first = values[0].value
    same = all(printed.value == first for printed in values)
    return first if same and measurable(first) else None
