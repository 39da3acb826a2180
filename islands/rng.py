"""Seeds derived from the run's seed, so that the population draws nothing at random itself."""

from __future__ import annotations

import hashlib
from functools import lru_cache


@lru_cache(maxsize=4096)  # decisions are asked for several times a trial
def seed_of(run: int, *path: str | int) -> int:
    """Return a 31-bit seed derived from the run's seed and a `path` that says what it is for."""
    text = "/".join(map(str, (run, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
