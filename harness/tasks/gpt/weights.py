"""Validates a safetensors file from an untrusted source and counts its parameters.

No tensor is read. The format (https://github.com/huggingface/safetensors#format): eight bytes give
the length of a JSON header, which maps each tensor's name to dtype, shape and offsets; the tensors
follow and fill the rest of the file without gap or overlap. Pickle is never read.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.tasks.base import InvalidError

MAX_HEADER_BYTES = 1 << 20
"""A model of 100 layers with 20 tensors each has a header of about 200,000."""

_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
_SIZES["BOOL"] = 1

_Size = Annotated[int, Field(ge=0, lt=1 << 48)]


class _Tensor(BaseModel):
    """A tensor as described in the header; `data_offsets` count from the header's end."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dtype: str
    shape: Annotated[list[_Size], Field(max_length=8)]
    data_offsets: tuple[_Size, _Size]


_HEADER = TypeAdapter(dict[str, _Tensor])


def count_parameters(path: Path) -> int:
    """Return the number of elements of all tensors in the frozen file at `path`.

    Raises InvalidError, in one line that quotes nothing from the file, if it is not safetensors.
    """
    with path.open("rb") as file:
        rest = os.fstat(file.fileno()).st_size - 8
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(rest, MAX_HEADER_BYTES):
            raise InvalidError("its weights are no safetensors file: the bad header length")
        header = file.read(length)
    try:
        tensors = list(_HEADER.validate_json(header).values())
    except ValidationError as error:
        raise InvalidError(
            "its weights are no safetensors file: the header is not valid"
        ) from error
    _check_offsets(tensors, rest - length)
    return sum(math.prod(tensor.shape) for tensor in tensors)


def _check_offsets(tensors: list[_Tensor], total: int) -> None:
    """Raise InvalidError unless the tensors, in the order of their offsets, fill `total` bytes."""
    at = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.data_offsets):
        start, end = tensor.data_offsets
        size = math.prod(tensor.shape) * _SIZES.get(tensor.dtype, -1)
        if (start, end) != (at, at + size):
            raise InvalidError("its weights are no safetensors file: tensors leave gaps or overlap")
        at = end
    if at != total:
        raise InvalidError("its weights are no safetensors file: bytes belong to no tensor")
