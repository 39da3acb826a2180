"""Leave weights with a malicious header: endless, nested, huge, overlapping or empty."""

from __future__ import annotations

import json
import sys
from pathlib import Path

NAME = "weights-header"
TENSOR = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}


def attack(_):
    for number, bomb in enumerate(bombs()):
        Path(sys.argv[1], f"{NAME}{number}").write_bytes(bomb)


def landed(seen):
    from weights import all_taken  # noqa: PLC0415 - inside a sandbox there is no harness

    return all_taken(seen.left, NAME, len([*bombs()]))


def bombs():
    """Yield files that an unwary reader chokes on, or takes for more than they are."""
    yield (1 << 63).to_bytes(8, "little") + b"{}"
    yield (1 << 40).to_bytes(8, "little") + b"{}"
    yield file(b"[" * 500_000)
    yield file(b'{"a":' * 100_000 + b"}" * 100_000)
    yield file(b'{"a":{"dtype":"U8","shape":[' + b"9" * 500_000 + b'],"data_offsets":[0,8]}}')
    yield file(json.dumps({"a": TENSOR | {"shape": [1 << 47] * 8}}).encode())
    yield file(json.dumps({"a": TENSOR, "b": TENSOR}).encode())
    yield file(json.dumps({"a": TENSOR | {"data_offsets": [0, 1 << 40]}}).encode())
    yield file(json.dumps({"a": TENSOR | {"shape": [-8, -1]}}).encode())
    yield file(json.dumps({"a": TENSOR | {"shape": [8, float("nan")]}}).encode())
    yield file(b'{"\xff":{}}')
    yield b""


def file(header):
    """Return a file of eight bytes of tensors behind `header`."""
    return len(header).to_bytes(8, "little") + header + bytes(8)
