"""A package that trials of the base miss: found in what they end with, and how to add it."""

from __future__ import annotations

import re

from harness import tasks
from harness.sandbox.backends.interpreter import NUMPY_PACKAGES, TORCH_PACKAGES

_NO_MODULE = re.compile(r"No module named '([\w.]+)'")


def missing_package_fix(task: str, text: str) -> str:
    """Return how a genome gets the package that `text` says is missing, "" where it says none.

    The kinds of task whose program is the repository's own import what its Python has; built-in
    ones what the harness lays into their sandbox.
    """
    found = _NO_MODULE.search(text)
    if found is None:
        return ""
    package = found[1].partition(".")[0]
    kind = tasks.kind(task)
    if "python" in kind.keys:
        return (
            f"install {package} where `python` is (the repository's .venv, or `python:` in"
            " program.md), or track its files"
        )
    there = ", ".join(TORCH_PACKAGES if "torch" in kind.needs else NUMPY_PACKAGES)
    return (
        f"trials of task {task} import the standard library and {there} alone: do without"
        f" {package}, or choose task function, which imports what you install"
    )
