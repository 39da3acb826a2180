"""Files of the kernel's below /proc and /sys, which may be missing or closed."""

from __future__ import annotations

from pathlib import Path


def kernel_text(path: Path) -> str:
    """Return what a file of the kernel's says, "" where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
