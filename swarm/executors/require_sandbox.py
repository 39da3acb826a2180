"""Which tier of confinement a command gives to candidates: what is asked for, and never less."""

from __future__ import annotations

from harness.contract import SetupError
from harness.sandbox import tiers
from harness.sandbox.self_check import require_self_check


def require_sandbox(tier: int) -> None:
    """Raise SetupError unless boxes of `tier` can be made here and no canary gets out of one."""
    try:
        tiers.check(tier)
    except SetupError as error:
        if tier != tiers.SANDBOX:
            raise
        raise SetupError(f"{error}; where that cannot be mended, {_less()}") from error
    require_self_check(tier)


def _less() -> str:
    """Return what may be asked for where there is no sandbox."""
    try:
        tiers.check(tiers.LANDLOCK)
    except SetupError as error:
        return (
            f"nothing can be confined here ({error}): `--unsafe` runs candidates all the same, and"
            " marks every score"
        )
    return "ask for less: `--tier 1` needs no namespaces (`swarm doctor` tells whether it holds)"
