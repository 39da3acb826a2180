"""Hunks of a change, and the alignment of two sequences that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import NamedTuple, TypeVar

MAX_ALIGNED = 4_000_000
"""Product of two lengths above which two sequences are not aligned but differ as a whole."""


class Hunk(NamedTuple):
    """One place of a change: what goes, what comes, what it is in and what it stands between."""

    where: str
    before: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    after: tuple[str, ...]


_T = TypeVar("_T")


def common(one: Sequence[_T], other: Sequence[_T]) -> tuple[int, int]:
    """Return how many items both sequences begin with, and how many of the rest they end with."""
    start = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    )
    rest = zip(reversed(one[start:]), reversed(other[start:]), strict=False)
    return start, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], rest))


def differences(one: Sequence[_T], other: Sequence[_T]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the ranges, of `one` and of `other`, that differ."""
    start, end = common(one, other)
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    if len(left) * len(right) > MAX_ALIGNED:
        yield start, start + len(left), start, start + len(right)
        return
    for kind, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind != "equal":
            yield start + a, start + b, start + c, start + d


def alike(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield where equal ranges begin in `one` and in `other`, and how long they are."""
    start, end = common(one, other)
    yield 0, 0, start
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    if len(left) * len(right) <= MAX_ALIGNED:
        for a, b, size in SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
            yield start + a, start + b, size
    yield len(one) - end, len(other) - end, end
