"""The number reader: what is read of a program's output, and what is refused with its line."""

import re
from re import _constants, _parser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import MAX_NUMBER, measurable
from harness.problem import numbers as module
from harness.problem.numbers import (
    MAX_NAME_CHARS,
    MAX_NAMES,
    check_pattern,
    is_name,
    read_numbers,
)


def metric(text, name="ops/s", pattern=""):
    """Return the number of the metric in `text`, or why there is none."""
    numbers = read_numbers(text.encode(), name, pattern)
    assert (numbers.metric is None) == bool(numbers.problem)
    return numbers.problem if numbers.metric is None else numbers.metric


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ops/s: 1.5", 1.5),
        ("ops/s=1.5", 1.5),
        ("METRIC ops/s=1.5", 1.5),
        ("ops/s 1.5", 1.5),
        ('{"ops/s": 1.5, "p95": [1], "name": "x"}', 1.5),
        ('{\n  "ops/s": 12.5,\n  "x": 1\n}', 12.5),
        ("ops/s: 1,234,567.5", 1234567.5),
        ("ops/s: 1_234", 1234),
        ("ops/s: 1e-3", 0.001),
        ("ops/s: +.5", 0.5),
        ("ops/s: \u22123", -3),
        ("ops/s: 12 ops/s", 12),
        ("ops/s: 1.2k", 1200),
        ("ops/s: 1.2 M", 1.2e6),
        ("ops/s: 5 ,", 5),
        ("\x1b[1;32mops/s:\x1b[0m 12.5\x1b[K", 12.5),
        ("ops/s: 1\r\nother: 2\r\n", 1),
        ("10 %\r50 %\rops/s: 7", 7),
        ("ops/s: 1\nops/s: 1.0", 1),
        ("a\n" * 100_000 + "ops/s: 3", 3),
        ("\xff\x00 binary \n ops/s: 4", 4),
    ],
)
def test_a_number_is_read_in_each_of_its_forms(text, value):
    """With separators, units, colours, carriage returns, or without a newline at the end."""
    assert metric(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "nothing was printed"),
        ("done", 'was not printed as `ops/s: NUMBER` on a line of its own; seen: "done"'),
        ("ops/s: fast", 'seen: "ops/s: fast"'),
        ("ops/s: 1,5", 'seen: "ops/s: 1,5"'),
        ("ops/s: 1.5.2", 'seen: "ops/s: 1.5.2"'),
        ("ops/s: 3 (best 4)", 'seen: "ops/s: 3 (best 4)"'),
        ("x" * 500 + "ops/s: 3", 'seen: "xxx'),
        ("ops/s: nan", 'ops/s is no finite number: "ops/s: nan"'),
        ("ops/s: -Infinity", "no finite number"),
        ('{"ops/s": null}', "no finite number"),
        ('{"ops/s": 1e999}', "no finite number"),
        (
            "ops/s: 1.7976931348623157e308",
            'ops/s is beyond 1e+100: "ops/s: 1.7976931348623157e308"',
        ),
        ("ops/s: -1e101", "beyond 1e+100"),
        ("ops/s: 1\nops/s: none", "no finite number"),
        ("ops/s: 1\nops/s: 2", 'different values: "ops/s: 1", then "ops/s: 2"'),
        ('{"ops/s": 1, "ops/s": 2}', "different values"),
    ],
)
def test_what_is_no_one_finite_number_is_refused_with_the_line_seen(text, problem):
    """Missing, ambiguous, not finite, or printed twice with different values."""
    assert problem in metric(text)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("p95_ms: 0.06 s", "p95_ms", 60),
        ("p95_ms: 60", "p95_ms", 60),
        ("latency: 980 \u00b5s", "latency", 980e-6),
        ("latency: 1.5 ms", "latency", 1.5e-3),
        ("peak_mib: 1 GiB", "peak_mib", 1024),
        ("size: 3 KB", "size", 3000),
        ("rate: 5 MB/s", "rate", 5e6),
        ("accuracy: 95 %", "accuracy", 95),
    ],
)
def test_units_that_programs_choose_by_size_are_converted(text, name, value):
    """A run of 980 us is faster than one of 1.5 ms."""
    assert metric(text, name) == pytest.approx(value, rel=1e-12)


def test_a_pattern_finds_a_number_anywhere():
    """Its one group is the number, with its unit; every match has to agree."""
    assert metric("it took 1,500 ms, ok", "t", r"took (\S+ ms)") == 1.5
    assert "different values" in metric("took 1\ntook 2", "t", r"took (\d)")
    assert "no finite number" in metric("took long", "t", r"took (\S+)")
    assert "no line matches" in metric("t: 3", "t", r"took (\d)")
    assert check_pattern(r"took (\d)") == ""
    assert "one group" in check_pattern("took")
    assert "no regular expression" in check_pattern("(")


def test_every_other_number_is_a_claim():
    """Except those printed with different values, and those that are not finite."""
    text = b"loss: 0.5\nepoch 1\nepoch 2\nacc: nan\nops/s: 1\nsize 3 KiB\nINFO x: 1\n"
    claims = {"loss": 0.5, "size": 3072.0, "INFO x": 1.0}
    assert read_numbers(text, "ops/s").claims == claims


def test_claims_are_few_and_never_crowd_out_the_metric():
    """A flood of names before the metric leaves it where it is."""
    flood = "".join(f"n{n}x: {n}\n" for n in range(1000)) + "ops/s: 3"
    numbers = read_numbers(flood.encode(), "ops/s")
    assert numbers.metric == 3
    assert len(numbers.claims) == MAX_NAMES


@pytest.mark.parametrize("name", ["a\\ud800", "a\\n", "\\u202eb", "", "\u00e9" * 81, "x" * 30_000])
def test_names_of_claims_are_short_and_printable(name):
    """Others are passed over: no record holds them, and no terminal shows them."""
    text = f'{{"{name}": 1.0, "ops/s": 3, "kept": 2}}'
    numbers = read_numbers(text.encode(), "ops/s")
    assert numbers.metric == 3
    assert numbers.claims == {"kept": 2.0}


def test_a_metric_is_read_whatever_its_name():
    """It stands in program.md, so it is the user's own."""
    assert metric('{"a\\tb": 3}', "a\tb") == 3
    assert metric("\u00e9clat: 3", "\u00e9clat") == 3
    assert is_name("n" * MAX_NAME_CHARS) and not is_name("n" * (MAX_NAME_CHARS + 1))


def backtracking(pattern):
    """Return the repeats without end of a regular expression that give back what they took."""
    found, left = [], [_parser.parse(pattern.pattern, pattern.flags)]
    while left:
        part = left.pop()
        if isinstance(part, tuple) and part[0] in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            found += [part] if part[1][1] == _constants.MAXREPEAT else []
        if isinstance(part, _parser.SubPattern | list | tuple):
            left += list(part)
    return found


def test_the_number_reader_gives_nothing_back_so_its_work_is_linear_in_a_line():
    """All its repeats are possessive, except those of terminal codes, whose parts share no sign."""
    own = {name: p for name, p in vars(module).items() if isinstance(p, re.Pattern)}
    assert set(own) == {"_ESCAPE", "_VALUE", "_SEPARATOR", "_NAME"}
    assert not any(backtracking(p) for name, p in own.items() if name != "_ESCAPE")
    assert backtracking(re.compile(r"a*+b(?:c+|d)"))


class Counted:
    """A regular expression that counts the characters it has looked at, each match from its start.

    A possessive one looks at none of them more than twice.
    """

    def __init__(self, pattern):
        self.pattern, self.seen = pattern, 0

    def match(self, text, at=0):
        found = self.pattern.match(text, at)
        self.seen += 1 + (len(found[0]) if found else 0)
        return found


LINES = {
    "digits": "a" + " " * 79 + ":" + "1" * 300 + "!1",
    "spaces": "a" + " " * 79 + ":" + " " * 318 + "x",
    "groups": "a" + " " * 79 + ":" + "111," * 78 + "!1",
    "words": "a " * 195 + "1!1",
    "numbers": "a" + " 1" * 195 + "!",
    "no numbers": "a" + " nan" * 99,
    "separators": "a" + ":=" * 195,
}


@pytest.mark.parametrize("line", LINES)
def test_a_slice_is_not_held_by_a_mebibyte_of_lines_that_are_nearly_a_form(monkeypatch, line):
    """Numbers are looked for at each place once; 2,700 of the first line took 80 s."""
    text = LINES[line]
    assert len(text) <= module.MAX_LINE_CHARS
    counted = Counted(module._VALUE)
    monkeypatch.setattr(module, "_VALUE", counted)
    read_numbers("\n".join([text] * 2_700).encode(), "score")
    assert counted.seen <= 2_700 * 2 * len(text)


def test_a_pattern_that_would_match_for_ever_is_stopped(monkeypatch):
    """A candidate that makes the user's pattern backtrack without end has no score."""
    monkeypatch.setattr(module, "PATTERN_CPU_S", 0.05)
    text = "took " + "a" * 1_000
    assert metric(text, "t", r"took (?:a+)+(\d)") == (
        "the pattern of t takes more than 0.05 s on what was printed"
    )
    assert metric("took aaa5", "t", r"took (?:a+)+(\d)") == 5


def test_a_number_that_is_cut_where_a_pattern_ends_is_not_read():
    """Of a long line only the beginning is looked at, and there `1234` could begin with `12`."""
    space = "x" * (module.MAX_PATTERN_CHARS - len("t=12"))
    assert "no line matches" in metric(f"{space}t=1234", "t", r"t=(\d+)")
    assert metric(f"{space}t=12", "t", r"t=(\d+)") == 12
    assert metric(f"{space[2:]}t=12 {space}", "t", r"t=(\d+)") == 12


PIECES = st.sampled_from(
    [
        "ops/s",
        ":",
        "=",
        " ",
        "\n",
        "\r",
        "{",
        "}",
        '"',
        "1",
        ".",
        ",",
        "e",
        "-",
        "nan",
        "k",
        "\x1b[",
        "\\ud800",
        "\x00",
    ]
)


@given(st.binary(max_size=200) | st.lists(PIECES, max_size=40).map(lambda p: "".join(p).encode()))
def test_any_output_gives_a_finite_number_or_one_line(output):
    """Never an exception, whatever a candidate prints."""
    numbers = read_numbers(output, "ops/s")
    assert (numbers.metric is None) == bool(numbers.problem)
    assert all(map(measurable, numbers.claims.values()))
    assert numbers.metric is None or measurable(numbers.metric)
    assert numbers.problem.isprintable()
    assert all(map(is_name, numbers.claims))


@given(st.floats(-MAX_NUMBER, MAX_NUMBER))
def test_a_float_is_read_back_exactly(value):
    """In every form that Python prints a number in."""
    for text in (f"ops/s: {value!r}", f"ops/s={value!r}", f'{{"ops/s": {value!r}}}'):
        assert metric(text) == value
