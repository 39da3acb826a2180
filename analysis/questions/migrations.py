"""Migrations: each change brought to another island, and how much of its gain it had there.

Not covered: heads that islands adopted without a trial are counted, not measured again; a change
that was judged on several islands counts once for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from analysis.questions.target import gain_of_row
from islands.records import Gain, summed


@dataclass(frozen=True, slots=True)
class MigrationAttempt:
    """A change brought to another island.

    experiment, island: its number there, and where
    origin_experiment, origin_island: the change that was offered, and where it was made
    mode: `migrated` as it is, or `ported` by the island's agent
    hypothesis: what its maker expected
    result: worked, failed, conflicted, already there, refused, outdated, or quarantined since;
      `open` while it is tried
    reason: why, in a line
    origin_gain, gain: what it gained there and here, None where it was not measured in pairs
    """

    experiment: int
    island: str
    origin_experiment: int
    origin_island: str
    mode: str
    hypothesis: str
    result: str
    reason: str
    origin_gain: Gain | None
    gain: Gain | None


@dataclass(frozen=True, slots=True)
class MigrationRecord:
    """All migrations of a run.

    attempts: oldest first
    adoptions: how often an island took over another's head without a trial
    """

    attempts: tuple[MigrationAttempt, ...]
    adoptions: int

    @property
    def counts(self) -> Mapping[str, int]:
        """How many attempts had each result, the most frequent first."""
        results = [one.result for one in self.attempts]
        return dict(sorted(((r, results.count(r)) for r in set(results)), key=lambda c: (-c[1], c)))

    @property
    def found_again(self) -> tuple[Gain, Gain] | None:
        """Sums of the gains at the origin and here, over changes that have both; None for none."""
        both = [(one.origin_gain, one.gain) for one in self.attempts]
        measured = [(there, here) for there, here in both if there and here]
        if not measured:
            return None
        return summed(there for there, _ in measured), summed(here for _, here in measured)


def migrations_of(con: DuckDBPyConnection) -> MigrationRecord:
    """Return the migrations of the run that `con` reads."""
    rows = answer(con, "FROM migrations").named()
    adoptions = answer(con, "SELECT count(*) FROM catch_ups").rows[0][0]
    return MigrationRecord(tuple(map(_attempt, rows)), adoptions)


def _attempt(row: Mapping[str, Any]) -> MigrationAttempt:
    origin = {"gain": row["origin_gain"], "noise": row["origin_noise"]}
    return MigrationAttempt(
        experiment=row["experiment"],
        island=row["island"],
        origin_experiment=row["origin_experiment"],
        origin_island=row["origin_island"],
        mode=row["mode"],
        hypothesis=row["hypothesis"],
        result=row["result"] or "open",
        reason=row["reason"] or "",
        origin_gain=gain_of_row(origin),
        gain=gain_of_row(row),
    )
