"""Data preparation and evaluation: fixed."""

import math
from pathlib import Path

CACHE = Path.home() / ".cache" / "autoresearch" / "text.txt"


def batches():
    """Yield pairs of one letter and the next one."""
    text = CACHE.read_text()
    numbers = [LETTERS.index(letter) for letter in text]
    yield from zip(numbers, numbers[1:])


def evaluate_bpb(probabilities):
    """Return the bits that a letter takes on average."""
    bits = [-math.log2(probabilities(old)[new]) for old, new in batches()]
    return sum(bits) / len(bits)


if __name__ == "__main__":
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    CACHE.write_text("the quick brown fox jumps over the lazy dog and the cat sat on the mat " * 40)

LETTERS = sorted(set(CACHE.read_text()))
