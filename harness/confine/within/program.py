"""Starts a box program: `program ROOT:ROOT FILE ARG...`.

With -S no `.pth` file runs and no site-packages is on the path; the roots are put there here.
"""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    """Run the file as if it had been started itself."""
    _, roots, *words = sys.argv
    start(roots, words)


def start(roots: str, words: list[str]) -> None:
    """Run the box program `words` with `roots` to import from."""
    sys.path += [root for root in roots.split(":") if root not in sys.path]
    sys.argv[:] = words
    runpy.run_path(words[0], run_name="__main__")
