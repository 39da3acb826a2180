"""Times and durations as a person reads them, the same everywhere."""

from __future__ import annotations

from datetime import datetime


def moment(time: datetime) -> str:
    """Return a time of the record, which is UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def lasted(seconds: float) -> str:
    """Return how long something took, in seconds or, if that is long, in minutes."""
    if seconds < _SHORT_S:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < _LONG_S else f"{seconds / 60:.1f} min"


_SHORT_S, _LONG_S = 10, 100


def duration(seconds: float) -> str:
    """Return a duration as hours:minutes:seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
