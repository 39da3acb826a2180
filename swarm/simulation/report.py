"""A study as a table and as plain data. Gains are in units of the score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from swarm.simulation.intervals import Estimate, Share
from swarm.simulation.study import Summary

_NUMBERS = (
    "sigma (gains)",
    "trials",
    "true gain",
    "claimed - true",
    "keeps",
    "unreal keeps",
    "claims",
    "unreal claims",
    "nulls kept",
    "own nulls kept",
    "trials/discard",
    "set apart (wrongly)",
    "caught up",
)


def table(found: Sequence[Summary], repeats: int) -> Table:
    """Return one row for each cell."""
    title = f"{repeats} nights a row; ± and () are 95 % intervals"
    grid = Table(title=Text(title), title_justify="left")
    for name in ("rule", "mixture"):
        grid.add_column(name)
    for name in _NUMBERS:
        grid.add_column(name, justify="right")
    for one in found:
        grid.add_row(*map(Text, _row(one)))
    return grid


def _row(one: Summary) -> tuple[str, ...]:
    cell = one.cell
    return (
        cell.rule,
        cell.mixture,
        f"{cell.conditions.noise:.2g} ({cell.conditions.sigma:.2g})",
        f"{one.trials.mean:g}",
        _estimate(one.gain),
        _estimate(one.bias, "+"),
        f"{one.keeps.mean:.1f}",
        _share(one.unreal_keeps),
        f"{one.claims.mean:.1f}",
        _share(one.unreal_claims),
        _share(one.null_keeps),
        _share(one.own_null_keeps),
        f"{one.per_discard.mean:.2f}",
        f"{one.alarms.mean:.2f} ({one.false_alarms.mean:.2f})",
        f"{one.caught_up.mean:.1f}",
    )


def _estimate(value: Estimate, sign: str = "") -> str:
    return f"{value.mean:{sign}.5f} ± {value.high - value.mean:.5f}"


def _share(value: Share) -> str:
    if not value.whole:
        return "-"
    return f"{value.share:.1%} ({value.low:.1%}-{value.high:.1%})"


def plain(found: Sequence[Summary]) -> list[dict[str, object]]:
    """Return every cell as plain data; what JSON has no number for is None."""
    return [_plain(one) for one in found]


def _plain(one: Summary) -> dict[str, object]:
    facts = asdict(one)
    cell = facts.pop("cell")
    cell["conditions"]["mixture"] = cell["mixture"]  # its name, rather than its parts
    return {**cell, "noise": one.cell.conditions.noise, **finite(facts)}


def finite(facts: Mapping[str, object]) -> dict[str, object]:
    """Return `facts` with None for what JSON has no number for."""
    kept: dict[str, object] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            kept[name] = finite(value)
        else:
            wild = isinstance(value, float) and not math.isfinite(value)
            kept[name] = None if wild else value
    return kept
