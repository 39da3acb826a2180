"""Quick import of matplotlib, for commands: a fifth of its time makes docstrings."""

from __future__ import annotations

from matplotlib import artist as artists


def skip_docstring_tables() -> None:
    """Leave the tables of properties out of the docstrings that matplotlib makes when imported.

    For a process in which nobody reads them: call it before anything else of matplotlib.
    """
    artists.kwdoc = _no_table


def _no_table(artist: object) -> str:  # noqa: ARG001 - matplotlib's signature
    return ""
