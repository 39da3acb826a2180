"""Transfer between rungs: which promotions and which kinds of change hold at the next rung.

Not covered: a kind of change is what a change touches most; one that touches two counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from islands.records import Gain


@dataclass(frozen=True, slots=True)
class PromotionTransfer:
    """One promotion.

    number, rung: which one, and the rung it measured at
    parts: experiments in the stack
    verdict: transfers, fades or reverses; `open` while it is measured
    before, after: the stack's gain at the rung below and at this one, None where not measured
    tau, low, high: Kendall's tau between the contenders' gains at both rungs, and its 95 % interval
    """

    number: int
    rung: int
    parts: tuple[int, ...]
    verdict: str
    before: Gain
    after: Gain | None
    tau: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class KindTransfer:
    """Changes of one kind that promotions measured alone.

    kind: what they touch most
    transfers, fades, reverses: how many did
    before, after: their mean gain at the rung below, and at the higher one
    """

    kind: str
    transfers: int
    fades: int
    reverses: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class TransferRecord:
    """What a run knows of transfer: its promotions, oldest first, and kinds of change."""

    promotions: tuple[PromotionTransfer, ...]
    kinds: tuple[KindTransfer, ...]


def transfer_of(con: DuckDBPyConnection) -> TransferRecord:
    """Return what the run that `con` reads knows of transfer."""
    kinds = answer(con, "FROM transfer").named()
    return TransferRecord(
        tuple(map(_promotion, answer(con, "FROM promotions ORDER BY check_number").named())),
        tuple(
            KindTransfer(
                row["touches"] or "unknown",
                row["transfers"],
                row["fades"],
                row["reverses"],
                row["lower_gain"],
                row["gain"],
            )
            for row in kinds
        ),
    )


def _promotion(row: Mapping[str, Any]) -> PromotionTransfer:
    measured = row["gain"] is not None
    return PromotionTransfer(
        number=row["check_number"],
        rung=row["rung"],
        parts=tuple(row["parts"]),
        verdict=row["verdict"] or "open",
        before=Gain(row["lower_gain"], row["lower_noise"], 0),
        after=Gain(row["gain"], row["noise"], row["pairs"] or 0) if measured else None,
        tau=row["tau"],
        low=row["tau_low"],
        high=row["tau_high"],
    )
