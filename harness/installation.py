"""The distribution that swarm is installed as, and the lines that install its extras.

On PyPI `swarm` is somebody else's package, so the distribution has a name of its own; the command
and the import are `swarm`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from harness.contract import SetupError

DISTRIBUTION = "swarm-ratchet"

_HOME = Path(__file__).parents[1]


def install_line(extra: str) -> str:
    """Return the line that adds an extra here: from the checkout, or by the distribution's name."""
    if (_HOME / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{_HOME}[{extra}]')}"
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def require_cuda_build() -> None:
    """Raise SetupError if the torch that is installed is built for CPUs."""
    try:
        installed = version("torch")
    except PackageNotFoundError:
        return
    if installed.endswith("+cpu"):
        raise SetupError(
            f"torch {installed} is built for CPUs, and the slices are GPUs: install torch for CUDA"
            " (https://pytorch.org), or set slices.kind: cpu"
        )


def missing(modules: Iterable[str]) -> list[str]:
    """Return those of `modules` that are not installed; none is imported."""
    return [name for name in modules if find_spec(name) is None]


def require_extra(extra: str, asker: str, modules: Iterable[str]) -> None:
    """Raise SetupError, with the line to copy, unless the modules of an extra are installed."""
    if lacking := missing(modules):
        raise SetupError(f"{asker} needs {' and '.join(lacking)}: {install_line(extra)}")
