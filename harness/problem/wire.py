r"""Wire format between evaluate.py and the genomes that it calls: JSON and numpy arrays, no pickle.

A frame is a header, a head of JSON and a body with the raw bytes of the head's arrays, in order:

    header   nonce, op, target, seconds, bytes of the head, bytes of the body
    head     JSON in which {"\u0000array": [dtype, shape]} stands for an array of the body, and
             {"\u0000bytes": n} for n bytes of it
    body     little-endian, in C order, each item padded to ALIGN bytes

The harness passes frames on without reading heads of candidates; they are decoded in the sandbox
of evaluate.py, where a hostile one costs memory in proportion to its bounded size, and raises
WireError where it is wrong. Both ends of a channel run this file, also in a user's own Python, so
it imports the standard library alone, and numpy only if an array comes.

Not covered: text is checked to be UTF-8, not to be harmless to print.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEADER = struct.Struct("<QBBdQQ")

CALL, FRESH, RESULT, FAULT = 1, 2, 3, 4
"""Ops of evaluate: call a function, start its process afresh, end with a result or a fault."""

STARTED, READY, VALUE, RAISED = 5, 6, 7, 8
"""Ops of a genome's process: nothing imported yet, imported, returned a value, raised."""

ENDED = 9
"""Op of the harness to evaluate: the genome's process has ended, the head says how."""

CANDIDATE, REFERENCE = 0, 1
"""Targets of a call."""

MAX_HEAD_BYTES = 16 << 20
"""Of JSON: a list of 16 MiB of `{}` takes 0.4 GiB once decoded."""

MAX_BODY_BYTES = 64 << 20
MAX_ARRAYS = 4096
ALIGN = 16

ARRAY, BYTES = "\0array", "\0bytes"

DTYPES = frozenset(
    ["bool", *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64))]
    + [f"float{bits}" for bits in (16, 32, 64)]
    + ["complex64", "complex128"]
)
"""Of plain numbers, each of one known size: no objects, no structures, no text."""

MAX_DIMENSIONS = 32


class WireError(Exception):
    """A frame that is not plain data, or too large; one line."""


class Frame:
    """One message: what it is, whom it concerns, how long it took, and its data."""

    __slots__ = ("body", "head", "nonce", "op", "seconds", "target")

    def __init__(  # noqa: PLR0913, PLR0917  # the fields of a header
        self,
        op: int,
        head: bytes = b"null",
        body: bytes | bytearray = b"",
        target: int = CANDIDATE,
        seconds: float = 0.0,
        nonce: int = 0,
    ) -> None:
        self.op, self.target, self.nonce, self.seconds = op, target, nonce, seconds
        self.head, self.body = head, body

    @classmethod
    def of(cls, op: int, value: object, target: int = CANDIDATE) -> Frame:
        """Return a frame that holds `value`. Raises WireError where it is not plain data."""
        head, body = encode(value)
        return cls(op, head, body, target)

    def value(self, *, finite: bool = True) -> Any:  # noqa: ANN401  # any plain data
        """Return the data. Raises WireError where it is not plain, see `decode`."""
        return decode(self.head, self.body, finite=finite)


def encode(value: object) -> tuple[bytes, bytearray]:
    """Return head and body for plain data. Raises WireError for anything else.

    Tuples become lists, keys become text, numpy's scalars become numbers, as JSON has it.
    """
    body = bytearray()

    def place(item: object) -> object:
        if isinstance(item, (bytes, bytearray)):
            _append(body, memoryview(item))
            return {BYTES: len(item)}
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(item, numpy.ndarray):
            return _place_array(item, body, numpy)
        if numpy is not None and isinstance(item, numpy.generic) and item.dtype.name in DTYPES:
            number = item.item()
            # a complex number has no JSON; it travels as an array without dimensions
            return _place_array(numpy.asarray(item), body, numpy) if _complex(number) else number
        kind = type(item).__name__
        raise WireError(
            f"a {kind} is not plain data: use numbers, text, lists, dicts, numpy arrays"
        )

    try:
        head = json.dumps(value, default=place, separators=(",", ":"), check_circular=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"not plain data: {_line(error)}") from None
    raw = head.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_HEAD_BYTES or len(body) > MAX_BODY_BYTES:
        limits = f"{MAX_HEAD_BYTES >> 20} MiB of JSON, {MAX_BODY_BYTES >> 20} MiB of arrays"
        raise WireError(f"too much data: at most {limits}")
    return raw, body


def decode(head: bytes, body: bytes | bytearray, *, finite: bool = True) -> Any:  # noqa: ANN401
    """Return the plain data of a frame from an untrusted source; arrays share `body`'s memory.

    With `finite`, NaN and infinities are refused: a comparison with NaN is false, so a check such
    as `abs(found - expected) > tolerance` would let one pass. Raises WireError.
    """
    arrays = _Arrays(body, finite=finite)
    try:
        value = json.loads(
            head.decode(),
            object_hook=arrays.revive,
            parse_float=_finite_float if finite else float,
            parse_constant=_refuse_constant if finite else float,
        )
    except WireError:
        raise
    except ImportError:
        raise WireError("returned an array, and this Python has no numpy") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise WireError(f"a frame that is not JSON: {_line(error)}") from None
    if arrays.at != len(body):
        raise WireError("a frame whose arrays do not add up to its size")
    return value


class _Arrays:
    """Takes arrays out of a body, one after another."""

    def __init__(self, body: bytes | bytearray, *, finite: bool) -> None:
        self.body, self.finite = body, finite
        self.at = self.count = 0

    def revive(self, found: dict[str, object]) -> object:
        """Return the array that `found` stands for, else `found` itself."""
        if len(found) == 1:
            if ARRAY in found:
                return self._array(found[ARRAY])
            if BYTES in found:
                size = found[BYTES]
                if type(size) is not int or size < 0:
                    raise WireError("a frame with bytes of no size")
                start = self._take(size)
                return bytes(self.body[start : start + size])
        return found

    def _array(self, about: object) -> object:
        if type(about) is not list or len(about) != 2:  # noqa: PLR2004  # dtype and shape
            raise WireError("a frame with an array of no dtype and shape")
        dtype, shape = about
        if type(dtype) is not str or dtype not in DTYPES:
            raise WireError("a frame with an array of a dtype that is not allowed")
        if type(shape) is not list or len(shape) > MAX_DIMENSIONS:
            raise WireError("a frame with an array of no shape")
        # first each length alone, so that no product grows beyond what a body can hold
        if not all(type(length) is int and 0 <= length <= MAX_BODY_BYTES for length in shape):
            raise WireError("a frame with an array of an impossible shape")
        import numpy as np  # noqa: PLC0415  # a user's Python may have none

        kind = np.dtype(dtype).newbyteorder("<")
        count = math.prod(shape)
        if count > MAX_BODY_BYTES:
            raise WireError("a frame with an array of an impossible shape")
        start = self._take(count * kind.itemsize)
        if not count:
            return np.empty(shape, kind)
        array = np.frombuffer(self.body, kind, count, start).reshape(shape)
        if dtype == "bool" and (array.view(np.uint8) > 1).any():
            raise WireError("a frame with truth values that are neither true nor false")
        if self.finite and kind.kind in "fc" and not np.isfinite(array).all():
            raise WireError("returned an array with a number that is not finite")
        return array

    def _take(self, size: int) -> int:
        """Return where the next `size` bytes of the body start."""
        start = self.at
        self.at += size + -size % ALIGN
        self.count += 1
        if self.at > len(self.body) or self.count > MAX_ARRAYS:
            raise WireError("a frame with more arrays than its body holds")
        return start


def _place_array(array: Any, body: bytearray, numpy: Any) -> object:  # noqa: ANN401  # numpy is optional
    if array.dtype.name not in DTYPES:
        raise WireError(f"an array of {array.dtype.name} is not plain data: use plain numbers")
    shape = list(array.shape)  # ascontiguousarray gives an array without dimensions one
    plain = numpy.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    _append(body, memoryview(plain.reshape(-1).view(numpy.uint8)))
    return {ARRAY: [array.dtype.name, shape]}


def _append(body: bytearray, data: memoryview) -> None:
    size = data.nbytes
    if len(body) + size > MAX_BODY_BYTES:
        raise WireError(f"too much data: at most {MAX_BODY_BYTES >> 20} MiB of arrays")
    body += data
    body += bytes(-size % ALIGN)


def _complex(number: object) -> bool:
    return isinstance(number, complex)


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise WireError("returned a number that is not finite")
    return number


def _refuse_constant(text: str) -> float:
    raise WireError(f"returned {text}, which is not a finite number")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def send(channel: int, frame: Frame) -> None:
    """Write a frame to the descriptor of a stream; it blocks."""
    head, body = frame.head, frame.body
    sizes = (len(head), len(body))
    header = HEADER.pack(frame.nonce, frame.op, frame.target, frame.seconds, *sizes)
    for part in (header + head, body):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(channel, rest) :]


def receive(channel: int) -> Frame | None:
    """Read a frame from the descriptor of a stream; it blocks. Return None at the stream's end.

    Raises WireError where the frame is larger than it may be.
    """
    raw = _exactly(channel, HEADER.size)
    if raw is None:
        return None
    nonce, op, target, seconds, head_size, body_size = HEADER.unpack(raw)
    check_sizes(head_size, body_size)
    head, body = _exactly(channel, head_size), _exactly(channel, body_size)
    if head is None or body is None:
        return None
    return Frame(op, bytes(head), body, target, seconds, nonce)


def check_sizes(head: int, body: int) -> None:
    """Raise WireError where a frame is larger than it may be."""
    if head > MAX_HEAD_BYTES:
        raise WireError(f"more than {MAX_HEAD_BYTES >> 20} MiB of JSON in one call")
    if body > MAX_BODY_BYTES:
        raise WireError(f"more than {MAX_BODY_BYTES >> 20} MiB of arrays in one call")


def _exactly(channel: int, size: int) -> bytearray | None:
    """Return the next `size` bytes, None where the stream ends before."""
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = os.readv(channel, [rest])
        if not count:
            return None
        rest = rest[count:]
    return data
