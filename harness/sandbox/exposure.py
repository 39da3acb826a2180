"""Refuses to run where a user's files lie in a tree that every sandbox sees.

A sandbox sees the system's programs and libraries and the prefix of this Python, whole. A
repository in /usr/src/app, or one that is itself the virtual environment (`python -m venv .`),
would show its ledger, its keys and, from a cache there, the held-out text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.contract import SetupError
from harness.sandbox.backends.bubblewrap import SYSTEM
from harness.sandbox.backends.interpreter import prefixes, site_folders


def check_unseen(kept: Mapping[str, Path]) -> None:
    """Raise SetupError where one of the folders `kept`, by what it is, lies in a visible tree."""
    for what, path in kept.items():
        tree = seen_in(path, prefixes(), [Path(name) for name in SYSTEM])
        if tree is None:
            continue
        fix = f"move it out of {tree}"
        if tree in {prefix.resolve() for prefix in prefixes()}:
            fix += ", or make the virtual environment elsewhere (`python -m venv .venv`)"
        raise SetupError(f"{what} {path} lies in {tree}, which every sandbox sees: {fix}")


def seen_in(path: Path, *trees: Iterable[Path]) -> Path | None:
    """Return the tree, one of `trees`, by which sandboxes see `path`; None where none does.

    Package folders inside the trees are hidden.
    """
    place = path.resolve()
    if any(place.is_relative_to(folder.resolve()) for folder in site_folders()):
        return None
    seen = {tree.resolve() for each in trees for tree in each if tree.exists()}
    return next((tree for tree in sorted(seen) if place.is_relative_to(tree)), None)
