"""The kinds of sandbox, strongest first, and which of them this machine supports.

Not covered: macOS, where only `none` exists. Its `sandbox-exec` is deprecated, its profiles are
undocumented and it cannot end a process that detaches itself; nothing here was tested on a Mac.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.contract import STRENGTH, SandboxKind, SetupError
from harness.sandbox.backends import bubblewrap, landlock

__all__ = [
    "CONFINED",
    "DESCRIPTIONS",
    "LANDLOCK",
    "NAMESPACES",
    "NONE",
    "STRENGTH",
    "SandboxKind",
    "check",
    "strongest",
]

NAMESPACES: Final[SandboxKind] = "namespaces"
LANDLOCK: Final[SandboxKind] = "landlock"
NONE: Final[SandboxKind] = "none"
CONFINED: Final = STRENGTH[:-1]
"""The kinds that confine something."""

DESCRIPTIONS: Final[dict[SandboxKind, str]] = {
    NAMESPACES: "namespaces, seccomp and limits, by bubblewrap",
    LANDLOCK: "Landlock, seccomp and limits, without namespaces",
    NONE: "nothing is confined",
}

_CHECKS: Final[dict[SandboxKind, Callable[[], object]]] = {
    NAMESPACES: bubblewrap.check,
    LANDLOCK: landlock.check,
    NONE: lambda: None,
}


def check(kind: SandboxKind) -> None:
    """Raise SetupError, with the fix, unless this machine supports sandboxes of `kind`."""
    if kind not in _CHECKS:
        raise SetupError(f"no sandbox is called {kind!r}: choose one of {', '.join(STRENGTH)}")
    _CHECKS[kind]()


def strongest() -> tuple[SandboxKind, tuple[str, ...]]:
    """Return the strongest kind this machine supports, and why each stronger one is missing."""
    reasons: list[str] = []
    for kind in STRENGTH:
        try:
            check(kind)
        except SetupError as error:
            reasons.append(f"for --sandbox {kind}: {error}")
        else:
            return kind, tuple(reasons)
    raise AssertionError("`none` needs nothing")
