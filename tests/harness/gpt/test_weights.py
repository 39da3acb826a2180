"""Weight files: parameters are counted, anything but safetensors is invalid."""

import json
import math
import pickle
import struct

import numpy as np
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness.tasks.base import InvalidError
from harness.tasks.gpt.weights import MAX_HEADER_BYTES, count_parameters


def _file(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def _tensor(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


PAIR = {"b": _tensor([3], 24, 36), "a": _tensor([2, 3], 0, 24)}


def test_parameters_are_counted(tmp_path):
    """The elements of all tensors, in whatever order the header names them."""
    (tmp_path / "w").write_bytes(_file(PAIR, bytes(36)))
    assert count_parameters(tmp_path / "w") == 9
    (tmp_path / "w").write_bytes(_file({}))
    assert count_parameters(tmp_path / "w") == 0


BROKEN = {
    "empty": b"",
    "a pickle": pickle.dumps({"weights": [1.0] * 40}),
    "an archive": b"PK\x03\x04" + bytes(40),
    "a header beyond the file": struct.pack("<Q", 1 << 40) + b"{}",
    "a header beyond the bound": _file(b"{}" + b" " * MAX_HEADER_BYTES),
    "not JSON": _file(b"{"),
    "a list": _file([]),
    "nested too deep": _file(b"[" * 100_000),
    "nested too deep inside": _file(b'{"a":' * 100_000),
    "a shape nested too deep": _file(b'{"a":{"shape":' + b"[" * 100_000),
    "two in one place": _file({"a": _tensor([2], 0, 8), "b": _tensor([2], 0, 8)}, bytes(8)),
    "a header of nothing": struct.pack("<Q", 0),
    "a header longer than numbers": b"\xff" * 8 + b"{}",
    "a gap": _file({"a": _tensor([1], 4, 8)}, bytes(8)),
    "an overlap": _file({"a": _tensor([2], 0, 8), "b": _tensor([2], 4, 12)}, bytes(12)),
    "too short": _file(PAIR, bytes(35)),
    "too long": _file(PAIR, bytes(37)),
    "a wrong size": _file({"a": _tensor([3], 0, 8)}, bytes(8)),
    "a negative shape": _file({"a": _tensor([-1, -2], 0, 8)}, bytes(8)),
    "a huge shape": _file({"a": _tensor([1 << 62, 4], 0, 0)}),
    "many dimensions": _file({"a": _tensor([1] * 9, 0, 4)}, bytes(4)),
    "a fraction": _file({"a": _tensor([1.5], 0, 6)}, bytes(6)),
    "a truth": _file({"a": _tensor([True], 0, 4)}, bytes(4)),
    "an unknown type": _file({"a": _tensor([1], 0, 4, "F31")}, bytes(4)),
    "more keys": _file({"a": _tensor([1], 0, 4) | {"x": 1}}, bytes(4)),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_weights_that_are_not_safetensors_are_invalid(tmp_path, raw):
    """Nothing else comes out, whatever is in the file."""
    (tmp_path / "w").write_bytes(raw)
    with pytest.raises(InvalidError, match=r"^its weights are no safetensors file: "):
        count_parameters(tmp_path / "w")


_NUMBER = st.integers(-2, 40) | st.integers() | st.floats(allow_nan=False) | st.booleans()

_TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "BOOL", "F31", ""]),
        "shape": st.lists(_NUMBER, max_size=3),
        "data_offsets": st.lists(_NUMBER, min_size=1, max_size=3),
    }
)

_FILES = st.binary(max_size=200) | st.builds(
    _file, st.dictionaries(st.text(max_size=3), _TENSOR, max_size=3), st.binary(max_size=60)
)


def _doubled(members, data):
    """A file whose header may name a tensor more than once."""
    header = ",".join(f"{json.dumps(name)}:{json.dumps(tensor)}" for name, tensor in members)
    return _file(f"{{{header}}}".encode(), data)


_PLACED = st.builds(_tensor, st.just([2]), st.sampled_from([0, 8]), st.sampled_from([8, 16]))

_DOUBLED = st.builds(
    _doubled,
    st.lists(st.tuples(st.sampled_from("ab"), _PLACED), max_size=3),
    st.sampled_from([b"", bytes(8), bytes(16)]),
)


@given(raw=_FILES | _DOUBLED)
def test_any_bytes_are_a_count_or_invalid(tmp_path_factory, raw):
    """A file that passes is also read by the library, with as many elements."""
    path = tmp_path_factory.getbasetemp() / "w"
    path.write_bytes(raw)
    try:
        count = count_parameters(path)
    except InvalidError:
        return
    tensors = safetensors.deserialize(raw)
    assert count == sum(math.prod(tensor["shape"]) for _, tensor in tensors)


@given(st.lists(st.tuples(st.sampled_from("fdeiB?"), st.lists(st.integers(0, 4), max_size=8))))
def test_what_the_library_writes_is_let_in(tmp_path_factory, wanted):
    """Every set of tensors of up to eight dimensions."""
    path = tmp_path_factory.getbasetemp() / "w"
    save_file({str(i): np.zeros(shape, kind) for i, (kind, shape) in enumerate(wanted)}, path)
    assert count_parameters(path) == sum(math.prod(shape) for _, shape in wanted)
