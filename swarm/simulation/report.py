"""A study as a table and as records for JSON. Gains are in units of the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from analysis.grid import Grid
from swarm.simulation.intervals import Estimate, Share
from swarm.simulation.study import CellSummary

_NUMBERS = (
    "sigma (gains)",
    "trials",
    "true gain",
    "claimed - true",
    "keeps",
    "false keeps",
    "claims",
    "false claims",
    "nulls kept",
    "own nulls kept",
    "trials/discard",
    "quarantined (wrongly)",
    "caught up",
)


def table(summaries: Sequence[CellSummary], repeats: int) -> Grid:
    """Return one row for each cell."""
    title = f"{repeats} runs a row; ± and () are 95 % intervals"
    grid = Grid(title)
    for name in ("rule", "mixture"):
        grid.add_column(name)
    for name in _NUMBERS:
        grid.add_column(name, right=True)
    for summary in summaries:
        grid.add_row(*_row(summary))
    return grid


def _row(summary: CellSummary) -> tuple[str, ...]:
    cell = summary.cell
    return (
        cell.rule,
        cell.mixture,
        f"{cell.conditions.noise:.2g} ({cell.conditions.sigma:.2g})",
        f"{summary.trials.mean:g}",
        _estimate(summary.gain),
        _estimate(summary.bias, "+"),
        f"{summary.keeps.mean:.1f}",
        _share(summary.false_keeps),
        f"{summary.claims.mean:.1f}",
        _share(summary.false_claims),
        _share(summary.null_keeps),
        _share(summary.own_null_keeps),
        f"{summary.trials_per_discard.mean:.2f}",
        f"{summary.alarms.mean:.2f} ({summary.false_alarms.mean:.2f})",
        f"{summary.caught_up.mean:.1f}",
    )


def _estimate(value: Estimate, sign: str = "") -> str:
    return f"{value.mean:{sign}.5f} ± {value.high - value.mean:.5f}"


def _share(value: Share) -> str:
    if not value.whole:
        return "-"
    return f"{value.share:.1%} ({value.low:.1%}-{value.high:.1%})"


def as_records(summaries: Sequence[CellSummary]) -> list[dict[str, object]]:
    """Return every cell as nested dicts of numbers and text; numbers may be nan or infinite."""
    return [_record(summary) for summary in summaries]


def _record(summary: CellSummary) -> dict[str, object]:
    facts = asdict(summary)
    cell = facts.pop("cell")
    cell["conditions"]["mixture"] = cell["mixture"]  # its name, rather than its parts
    return {**cell, "noise": summary.cell.conditions.noise, **facts}
