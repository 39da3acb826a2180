"""The tiers of confinement, best first, and which of them this machine can make.

Not covered: macOS, where nothing is confined (tier 0). Its `sandbox-exec` is deprecated, its
profiles are not documented, nothing there ends a process that detaches itself, and no Mac was at
hand to let canaries sing on: a tier that nobody has attacked would be a promise, not a tier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.contract import SetupError
from harness.sandbox.backends import bubblewrap, landlock

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
