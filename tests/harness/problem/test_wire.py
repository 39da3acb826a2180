"""The wire format of the function task: plain data comes through, hostile frames raise one line."""

import json
import math
import os
import threading
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.problem import wire

NUMBERS = st.one_of(
    *(npst.scalar_dtypes().filter(lambda d: d.name in wire.DTYPES) for _ in range(1))
)
ARRAYS = npst.arrays(NUMBERS, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=40)
    | ARRAYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def same(one, other):
    """Return whether two values are equal in type and content, NaN included."""
    if isinstance(one, np.ndarray):
        plain = isinstance(other, np.ndarray) and one.dtype.name == other.dtype.name
        return plain and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and one == other


@given(PLAIN)
@example(np.array(True))
@example([np.empty((0, 3)), b"", np.arange(6, dtype=np.int16)[::-2]])
def test_plain_data_comes_through_unchanged(value):
    """JSON, bytes and arrays of numbers, of any shape and byte order, nested in one another."""
    head, body = wire.encode(value)
    assert same(native(value), wire.decode(head, body, finite=False))


def native(value):
    """Return `value` with its arrays in this machine's byte order."""
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder("="))
    if isinstance(value, list):
        return [native(item) for item in value]
    return {k: native(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_liars_become_plain():
    """Subclasses of numbers, text and arrays arrive as the base types that they hold."""

    class Liar(int):
        def __eq__(self, other):
            return True

        __hash__ = int.__hash__

    class Array(np.ndarray):
        def __eq__(self, other):
            return True

        __hash__ = None

    head, body = wire.encode([Liar(3), np.arange(2.0).view(Array), np.float32(0.5), (1, 2)])
    three, array, half, pair = wire.decode(head, body)
    assert (type(three), three, half, pair) == (int, 3, 0.5, [1, 2])
    assert type(array) is np.ndarray


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({1, 2}, "a set is not plain data"),
        (object(), "a object is not plain data"),
        (np.array(["a"]), "an array of str32 is not plain data"),
        (np.array([{}]), "an array of object is not plain data"),
        ({(1, 2): 3}, "not plain data: keys must be str"),
        (np.zeros(wire.MAX_BODY_BYTES + 1, np.uint8), "too much data"),
        ("x" * (wire.MAX_HEAD_BYTES + 1), "too much data"),
    ],
)
def test_what_is_not_plain_is_refused_where_it_is_sent(value, reason):
    """The message says what to send instead."""
    with pytest.raises(wire.WireError, match=reason):
        wire.encode(value)


def test_a_value_that_holds_itself_is_refused():
    """There is no endless JSON."""
    loop = []
    loop.append(loop)
    with pytest.raises(wire.WireError, match="not plain data"):
        wire.encode(loop)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "1e999", "[-1e400]"])
def test_numbers_that_are_not_finite_are_refused_unless_asked_for(text):
    """A comparison with NaN is false, so a check of a tolerance would let it pass."""
    with pytest.raises(wire.WireError, match="finite"):
        wire.decode(text.encode(), b"")
    wire.decode(text.encode(), b"", finite=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, -np.inf)])
def test_arrays_with_a_number_that_is_not_finite_are_refused(bad):
    """In any float or complex array."""
    head, body = wire.encode(np.array([1, bad]))
    with pytest.raises(wire.WireError, match="not finite"):
        wire.decode(head, body)
    assert len(wire.decode(head, body, finite=False)) == 2


def array(dtype, shape):
    """Return the head of a frame that claims an array."""
    return json.dumps({wire.ARRAY: [dtype, shape]}).encode()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"", b""),
        (b"\xff", b""),
        (b"[" * 100_000, b""),
        (b"9" * 10_000, b""),
        (b"1", b"x"),
        (array("object", [1]), bytes(16)),
        (array("O", [1]), bytes(16)),
        (array("V8", [1]), bytes(16)),
        (array("float64", [3]), bytes(16)),
        (array("float64", [1]), bytes(32)),
        (array("float64", [-1]), bytes(16)),
        (array("float64", [True]), bytes(16)),
        (array("float64", [1.0]), bytes(16)),
        (array("float64", [2**40, 2**40]), b""),
        (array("float64", [2**26] * 30), b""),
        (array("float64", [0] + [2**26] * 20), b""),
        (array("float64", [1] * 33), bytes(16)),
        (array("float64", 7), bytes(16)),
        (array(["float64"], [1]), bytes(16)),
        (array("bool", [1]), b"\x02" + bytes(15)),
        (json.dumps({wire.ARRAY: 3}).encode(), b""),
        (json.dumps({wire.BYTES: -1}).encode(), b""),
        (json.dumps({wire.BYTES: 1e3}).encode(), bytes(16)),
        (json.dumps([{wire.BYTES: 0}] * (wire.MAX_ARRAYS + 1)).encode(), b""),
    ],
)
def test_hostile_frames_raise_one_line(head, body):
    """Wrong types, sizes that do not add up, giants and depth, none with a traceback of its own."""
    with pytest.raises(wire.WireError) as raised:
        wire.decode(head, body)
    assert "\n" not in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([2**30] * 3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([wire.ARRAY, wire.BYTES, "x"]), inner, max_size=2)
        | st.tuples(
            st.sampled_from([*sorted(wire.DTYPES), "object"]), st.lists(st.integers(0, 9))
        ).map(lambda about: {wire.ARRAY: list(about)})
    ),
    max_leaves=10,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=300))
def test_any_frame_is_decoded_or_refused(head, body):
    """Never another exception, and never an array larger than the body."""
    with suppress(wire.WireError):
        value = wire.decode(head, body)
        assert sum(array.nbytes for array in arrays_in(value)) <= len(body)


def arrays_in(value):
    """Return the arrays of a decoded value."""
    if isinstance(value, np.ndarray):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [a for item in inner for a in arrays_in(item)] if isinstance(value, list | dict) else []


def test_a_frame_of_any_size_crosses_a_pipe():
    """Larger than a pipe holds; the stream's end is told from a frame."""
    reading, writing = os.pipe()
    sent = wire.Frame.of(wire.CALL, {"x": np.arange(300_000)}, wire.REFERENCE)
    thread = threading.Thread(target=lambda: (wire.send(writing, sent), os.close(writing)))
    thread.start()
    frame = wire.receive(reading)
    assert wire.receive(reading) is None
    thread.join()
    os.close(reading)
    assert (frame.op, frame.target) == (wire.CALL, wire.REFERENCE)
    assert frame.value()["x"].tolist() == list(range(300_000))


@pytest.mark.parametrize(("head", "body"), [(2**63, 0), (0, 2**63)])
def test_a_frame_that_claims_to_be_too_large_is_refused_before_it_is_read(head, body):
    """A header is enough, so that nobody waits for the rest or makes room for it."""
    reading, writing = os.pipe()
    os.write(writing, wire.HEADER.pack(0, wire.VALUE, 0, 0.0, head, body))
    with pytest.raises(wire.WireError, match="more than"):
        wire.receive(reading)
    os.close(reading)
    os.close(writing)
