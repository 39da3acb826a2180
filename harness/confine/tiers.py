"""The tiers of confinement, best first, and which of them this machine can make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.confine import bubblewrap, landlock
from harness.contract import SetupError

SANDBOX, LANDLOCK, NOTHING = 2, 1, 0

TELLS: Final = {
    SANDBOX: "a sandbox",
    LANDLOCK: "Landlock, without namespaces",
    NOTHING: "nothing is confined",
}

_CHECKS: Final[dict[int, Callable[[], object]]] = {
    SANDBOX: bubblewrap.check,
    LANDLOCK: landlock.check,
    NOTHING: lambda: None,
}


def check(tier: int) -> None:
    """Raise SetupError, with the mend, unless this machine can make boxes of `tier`."""
    if tier not in _CHECKS:
        known = ", ".join(f"{number} ({tells})" for number, tells in TELLS.items())
        raise SetupError(f"confinement has no tier {tier}, only {known}")
    _CHECKS[tier]()


def best() -> tuple[int, tuple[str, ...]]:
    """Return the best tier of this machine, and why each better one cannot be made."""
    complaints: list[str] = []
    for tier in TELLS:
        try:
            check(tier)
        except SetupError as error:
            complaints.append(f"for tier {tier}: {error}")
        else:
            return tier, tuple(complaints)
    raise AssertionError("the last tier needs nothing")
