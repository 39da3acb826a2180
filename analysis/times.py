"""Times and durations as a person reads them, the same everywhere."""

from __future__ import annotations

from datetime import datetime


def moment(time: datetime) -> str:
    """Return a time of the record, which is UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Return a duration as hours:minutes:seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
