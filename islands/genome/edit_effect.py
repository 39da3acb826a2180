"""What an edit may change when the file runs."""

from __future__ import annotations

from typing import Literal

EditEffect = Literal["same", "reseeded", "changed"]
"""Nothing, random numbers only, anything."""
