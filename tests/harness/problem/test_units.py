"""Units of printed numbers: whatever size makes a program choose, the order stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.problem.numbers import read_numbers

DECIMAL = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
CAPITAL = (("", 1.0), ("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
BINARY = (("", 1.0), ("Ki", 2.0**10), ("Mi", 2.0**20), ("Gi", 2.0**30), ("Ti", 2.0**40))
WORDS = (("", 1.0), (" thousand", 1e3), (" million", 1e6), (" billion", 1e9))
TIMES = (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0))
RATES = (("/day", 1 / 86400), ("/h", 1 / 3600), ("/min", 1 / 60), ("/s", 1.0))

STYLES = {
    "K/s": (CAPITAL, "/s"),
    "k": (DECIMAL, ""),
    "ops/s": (DECIMAL, "ops/s"),
    "Mops/sec": (CAPITAL, "ops/sec"),
    "k tokens/s": (DECIMAL, " tokens/s"),
    "tokens per second": (CAPITAL, " tokens per second"),
    "items": (CAPITAL, " items"),
    "MB/s": (CAPITAL, "B/s"),
    "MiB/s": (BINARY, "B/s"),
    "Gbit/s": (DECIMAL, "bit/s"),
    "Mbps": (CAPITAL, "bps"),
    "FLOP/s": (DECIMAL, "FLOP/s"),
    "FLOPS": (DECIMAL, "FLOPS"),
    "KiB, as size": (BINARY, "B"),
    "Ki": (BINARY, ""),
    "million": (WORDS, ""),
    "time": (TIMES, ""),
    "time, with a remark": (TIMES, " in all"),
    "time of one": (TIMES, "/op"),
    "rate": (RATES, ""),
    "Hz": (DECIMAL, "Hz"),
    "J": ((("n", 1e-9), ("u", 1e-6), ("m", 1e-3), *DECIMAL), "J"),
}


def printed(value, style, space):
    """Return `value` as a program prints it that chooses the unit by size."""
    units, noun = STYLES[style]
    unit, size = next(((u, s) for u, s in reversed(units) if value >= s), units[0])
    return f"memory: {value / size!r}{space}{unit}{noun}"


def read(line, name="memory"):
    """Return the number that a line gives `name`, or why there is none."""
    numbers = read_numbers(line.encode(), name)
    return numbers.problem if numbers.metric is None else numbers.metric


@pytest.mark.parametrize("style", STYLES)
@given(value=st.floats(1e-9, 1e14), space=st.sampled_from(["", " "]))
def test_a_unit_that_changes_with_size_changes_no_value(style, value, space):
    """With a space before the unit or without, with a prefix, a word, or per a time."""
    assert read(printed(value, style, space)) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("ops: 1.2 M/s", 1.2e6),
        ("ops: 900 K/s", 9e5),
        ("ops: 1.2k%", 1200),
        ("ops: 5 (M/s)", 5e6),
        ("ops: 5 M-ops/s", 5e6),
        ("ops: 5 GMACs", 5e9),
        ("ops: 5 MIPS", 5e6),
        ("lat: 5 [ms]", 0.005),
        ("lat: 5 \u00b5s", 5e-6),
        ("lat: 5 \u03bcs", 5e-6),
        ("lat_ms: 0.005 s/req", 5),
        ("lat (ms): 0.005 s", 5),
        ("ops_per_min: 2 ops/s", 120),
        ("ops/ms: 3000 ops/s", 3),
        ("ops: 60 req/min", 1),
        ("mb/s: 5 GB/s", 5000),
        ("size: 512 B", 512),
        ("n: 512 B/op", 512),
        ("n: 123456 B", 123456),
        ("n: 1.2 B tokens", 1.2e9),
        ("n: 3 mW", 0.003),
        ("n: 5 Tokens", 5),
        ("n: 5 points", 5),
        ("n: 5 TPS", 5),
        ("n: 3.5 \u00b0C", 3.5),
    ],
)
def test_a_unit_is_read_in_each_of_its_spellings(line, value):
    """Words that are no unit, and what stands around one, are dropped."""
    assert read(line, line.partition(":")[0]) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("line", "unclear"),
    [
        ("n: 5 m", '"m" may be metres, minutes, thousandths or millions'),
        ("n: 5 m/s", '"m" may be metres, minutes, thousandths or millions'),
        ("n: 5 req/m", '"req/m" may be per minute or per metre'),
        ("n: 1.2B", '"B" may be bytes or billions'),
        ("n: 5 Mfoo/s", '"Mfoo" may begin with a prefix, M, or be a word'),
        ("n: 5 kfoo", '"kfoo" may begin with a prefix, k, or be a word'),
        ("n: 1.5 s/it", '"s/it" is printed as it/s where it is fast'),
        ("it/s: 1.5 s/batch", '"s" is a time, and its name is that of a rate'),
        ("ops_per_sec: 5 ms", '"ms" is a time, and its name is that of a rate'),
    ],
)
def test_a_unit_that_could_be_two_things_is_refused_with_its_line(line, unclear):
    """As a claim it is passed over."""
    name = line.partition(":")[0]
    assert read(line, name) == f'{name} has a unit that is not clear, {unclear}: "{line}"'
    assert read_numbers(line.encode(), "other").claims == {}


def test_a_pattern_reads_units_as_the_other_forms_do():
    """What its group holds may end with one."""
    for text, value in (("took 900 K/s", 9e5), ("took 1.2 M/s", 1.2e6), ("took 2 it", 2)):
        assert read_numbers(text.encode(), "n", r"took (.+)").metric == value
    assert "not clear" in read_numbers(b"took 2 s/it", "n", r"took (.+)").problem
