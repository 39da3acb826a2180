"""The hash chain of a ledger's lines: each line's last member is its link.

A link is the line's number, and a hash of its event's bytes and the previous link. A line that is
changed, missing or out of order breaks the chain, and `fault` says which of these it is.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

START = "0:" + "0" * 32
"""The link before the first line. 128 bits: agents write parts of events, and could find two events
with the same 64-bit link."""

_MEMBER = b',"link":"'
_LINK = re.compile(_MEMBER + rb'((\d{1,15}):[0-9a-f]{32})"}\Z')
_MAX_LINK_BYTES = 64
"""Bytes that hold any link with its name and quotes."""

_RESTORE = "restore the file from a copy, or start a new run"
UNCHAINED = f"carries no link: changed, or older than chained ledgers; {_RESTORE}"


def chain(before: str, body: bytes) -> tuple[str, bytes]:
    """Return the link, and the line without its newline, of an event after the link `before`.

    body: the event's bytes, a JSON object
    """
    link = f"{number(before) + 1}:{_hash(before, body).decode()}"
    return link, body[:-1] + _MEMBER + link.encode() + b'"}'


def split(before: str, line: bytes) -> tuple[str, bytes]:
    """Return a line's link and its event's bytes; both empty if it does not follow `before`."""
    if not before:  # no link was found where the line begins
        return "", b""
    body = _body(line)
    link, whole = chain(before, body)
    return (link, body) if line == whole else ("", b"")


def number(link: str) -> int:
    """Return the number of the line that bears `link`."""
    return int(link.partition(":")[0])


def link_before(descriptor: int, offset: int) -> str:
    """Return the link that ends at byte `offset` of the open file, "" for none."""
    if offset == 0:
        return START
    match = _LINK.search(
        os.pread(descriptor, min(offset, _MAX_LINK_BYTES), max(0, offset - _MAX_LINK_BYTES))[:-1]
    )
    return match[1].decode() if match else ""


def fault(path: Path, before: str, line: bytes) -> str:
    """Return what is wrong with a line of the file `path` that does not follow `before`."""
    if not before:
        return f"{path}: its lines changed during the read; {_RESTORE}"
    due, match = number(before) + 1, _LINK.search(line[:-1])
    if match is None:
        return f"{path}:{due}: {UNCHAINED}"
    own = int(match[2])
    if own == due or match[1].endswith(_hash(before, _body(line))):
        wrong = "was changed after it was written"
    elif own < due or due in _numbers(path):
        wrong = f"is out of order, it was written as line {own}"
    else:
        wrong = f"lines {due} to {own - 1} are missing before it"
    return f"{path}:{due}: {wrong}; {_RESTORE}"


def _hash(before: str, body: bytes) -> bytes:
    return hashlib.sha256(before.encode() + body).hexdigest()[:32].encode()


def _body(line: bytes) -> bytes:
    """Return the bytes of a line's event, without the link."""
    return line.rpartition(_MEMBER)[0] + b"}"


def _numbers(path: Path) -> set[int]:
    """Return the line numbers that the links of a ledger contain."""
    with path.open("rb") as file:
        return {int(match[2]) for line in file if (match := _LINK.search(line[:-1]))}
