"""The sandbox that a command demands: exactly the kind asked for, never a weaker one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.contract import SetupError
from harness.data.cache import corpus_root
from harness.sandbox import tiers
from harness.sandbox.exposure import check_unseen
from harness.sandbox.self_check import require_self_check
from harness.sandbox.tiers import SandboxKind


def require_sandbox(kind: SandboxKind, kept: Mapping[str, Path] | None = None) -> None:
    """Raise SetupError unless this machine supports `kind` and its self-check holds.

    `kept` are folders, by what they are, that no sandbox may see; the cache is one of them.
    """
    if kind != tiers.NONE:
        check_unseen({**(kept or {}), "the cache of held-out text": corpus_root("")})
    try:
        tiers.check(kind)
    except SetupError as error:
        if kind != tiers.NAMESPACES:
            raise
        raise SetupError(f"{error}; where that cannot be fixed, {_weaker()}") from error
    require_self_check(kind)


def _weaker() -> str:
    """Return which weaker sandbox a person may ask for."""
    try:
        tiers.check(tiers.LANDLOCK)
    except SetupError as error:
        return (
            f"nothing can be confined here ({error}): `--sandbox none` runs candidates unconfined"
            " and marks every score"
        )
    return (
        "ask for `--sandbox landlock`, which needs no namespaces (`swarm doctor` checks whether it"
        " holds)"
    )
