"""Seeds derived from the run's seed: the population draws nothing by itself."""

from __future__ import annotations

import hashlib


def seed_of(run: int, *path: str | int) -> int:
    """Derive a trial's seed (31 bits) from the run's and what it is for; nobody else's choice."""
    text = "/".join(map(str, (run, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
