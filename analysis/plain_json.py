"""JSON of anything that a record holds: records as text, no nan, no infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime


def to_json(value: object) -> str:
    """Return `value` as JSON: null for nan and infinity, ISO 8601 for dates, text for the rest."""
    return json.dumps(_finite(value), default=_text)


def _finite(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
