"""Effects of an edit: nothing, other random numbers, or anything."""

from __future__ import annotations

from typing import Literal

EditEffect = Literal["same", "reseeded", "changed"]
"""What an edit may change when the file runs."""
