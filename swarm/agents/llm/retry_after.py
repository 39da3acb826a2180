"""Waiting times from a provider's reply headers. Pure functions of the headers.

A date is compared with the reply's own Date header, so that this machine's clock does not matter.
Sources: RFC 9110 10.2.3 (Retry-After), the rate-limit headers of Anthropic
(`anthropic-ratelimit-*`, RFC 3339) and of OpenAI (`x-ratelimit-*`, `6m0s`).

Not covered: a Retry-After date from a server that sends no Date; the caller then uses its own
back-off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 86_400.0
"""Upper bound of every wait: one day."""

_ANTHROPIC = ("requests", "tokens", "input-tokens", "output-tokens")
_OPENAI = ("requests", "tokens")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[smhd]))+")
_PART = re.compile(r"([\d.]+)(ms|[smhd])")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds named by Retry-After; None if the header is missing or unreadable."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None:
        seconds = _until(_http_date(text), headers)
    return None if seconds is None else _bounded(seconds)


def quota_reset_s(headers: Mapping[str, str]) -> float:
    """Return the seconds until every quota that this reply exhausted is reset; 0 if none is."""
    waits = [0.0]
    for quota in _ANTHROPIC:
        prefix = f"anthropic-ratelimit-{quota}-"
        if _number(headers.get(prefix + "remaining")) == 0:
            waits.append(_until(_rfc3339(headers.get(prefix + "reset")), headers) or 0.0)
    waits += [
        _duration(headers.get(f"x-ratelimit-reset-{quota}"))
        for quota in _OPENAI
        if _number(headers.get(f"x-ratelimit-remaining-{quota}")) == 0
    ]
    return _bounded(max(waits))


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_WAIT_S)


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d{1,18}(\.\d{1,18})?\s*", text, re.ASCII):
        return None
    return float(text)


def _duration(text: str | None) -> float:
    """Return the seconds of `6m0s`, `20ms`, `1h2m3.5s`; 0 for anything else."""
    if text is None or not _DURATION.fullmatch(text):
        return 0.0
    return math.fsum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _until(instant: datetime | None, headers: Mapping[str, str]) -> float | None:
    sent = _http_date(headers.get("date"))
    return None if instant is None or sent is None else (instant - sent).total_seconds()


def _http_date(text: str | None) -> datetime | None:
    try:
        return None if text is None else _in_utc(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        return None


def _rfc3339(text: str | None) -> datetime | None:
    try:
        return None if text is None else _in_utc(datetime.fromisoformat(text))
    except ValueError:
        return None


def _in_utc(instant: datetime) -> datetime:
    # the zone is often left out; HTTP has only UTC
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
