"""The whole evidence on one change: what was proposed, measured, decided, and what came of it.

    with reading(folder) as con:
        evidence_on(con, "#43").pairs

Scores are in the task's metric; gains are signed so that above zero is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from analysis.questions.target import find_experiment, gain_of_row
from islands.ratchet.noise import gain_of
from islands.records import Gain


@dataclass(frozen=True, slots=True)
class SeedPair:
    """Head and candidate on one seed.

    seed, slice: where both ran
    head, candidate: their scores, in the metric
    gain: of the candidate over the head
    void: whether one of the two was voided later
    """

    seed: int
    slice: str
    head: float
    candidate: float
    gain: float
    void: bool


@dataclass(frozen=True, slots=True)
class Consequence:
    """A later measurement that the change took part in.

    what: `fresh data`, `migrated`, `ported`, `stack check` or `promotion`
    where: the piece, the island, or the check's number
    result: what came of it, in a few words
    gain: what was measured there, None if nothing was
    """

    what: str
    where: str
    result: str
    gain: Gain | None = None


@dataclass(frozen=True, slots=True)
class ChangeEvidence:
    """The evidence on one experiment.

    experiment, island, agent: which one, where, by whom
    brief: digest of the brief that its agent was given, "" for none
    node, parent: its commit (or `experiment/<number>`) and the head that it was made on
    hypothesis: what the agent expected
    ending, reason: how it ended and why; `open` while it has not
    gain: what was decided on, None if nothing was measured in pairs
    screened: score of its screening trial, None if it had none
    added, removed: lines against the parent, None if it is no commit
    trials, seconds: trials run for it, and their wall time
    usd: dollars that its agent's calls cost
    pairs: scores seed by seed
    sources: other experiments that it uses, and how
    consequences: migrations, stack checks and promotions that it took part in
    failures: reasons of its trials that failed
    quarantined: when it was quarantined, None if it was not
    """

    experiment: int
    island: str
    agent: str
    brief: str
    node: str
    parent: str
    hypothesis: str
    ending: str
    reason: str
    gain: Gain | None
    screened: float | None
    added: int | None
    removed: int | None
    trials: int
    seconds: float
    usd: float
    pairs: tuple[SeedPair, ...]
    sources: tuple[str, ...]
    consequences: tuple[Consequence, ...]
    failures: tuple[str, ...]
    quarantined: datetime | None

    @property
    def is_commit(self) -> bool:
        """Whether it was admitted, so that git has a commit of it."""
        return not self.node.startswith("experiment/")


def evidence_on(con: DuckDBPyConnection, target: str) -> ChangeEvidence:
    """Return the evidence on the experiment that `target` names.

    `con` is a connection of `analysis.database.refresh.reading`. Raises SetupError where `target`
    names no experiment, or several.
    """
    node = find_experiment(con, target)
    number = node["experiment"]
    trials = answer(con, _TRIALS, values=[number]).named()
    usd = answer(con, _USD, values=[number]).rows[0][0]
    return ChangeEvidence(
        experiment=number,
        island=node["island"],
        agent=node["agent"],
        brief=node["brief"] or "",
        node=node["node"],
        parent=node["parent"],
        hypothesis=node["hypothesis"],
        ending=node["ending"] or "open",
        reason=node["reason"] or "",
        gain=gain_of_row(node),
        screened=node["screened"],
        added=node["added"],
        removed=node["removed"],
        trials=len(trials),
        seconds=sum(trial["wall"] or 0.0 for trial in trials),
        usd=usd,
        pairs=_pairs(trials, node["node"], _direction(con)),
        sources=tuple(_source(row) for row in answer(con, _SOURCES, values=[node["node"]]).named()),
        consequences=(
            *_fresh(con, number),
            *_migrations(con, number),
            *_checks(con, number),
            *_promotions(con, number),
        ),
        failures=tuple(f"{t['failure']}: {t['reason']}" for t in trials if t["failure"]),
        quarantined=node["quarantined"],
    )


_TRIALS = """
SELECT trial, commit, purpose, seed, slice, state, score, failure, reason,
  epoch(ended) - epoch(started) AS wall
FROM trials WHERE experiment = ? ORDER BY started, trial
"""

_USD = "SELECT coalesce(sum(usd), 0.0) FROM spending WHERE experiment = ?"

_SOURCES = """
SELECT edges.kind, nodes.experiment, nodes.island FROM edges JOIN nodes ON nodes.node = source
WHERE target = ? AND edges.kind IN ('crossed_with', 'migrated', 'ported')
ORDER BY nodes.experiment
"""


def _direction(con: DuckDBPyConnection) -> Any:  # noqa: ANN401 - a Direction, read as text
    return answer(con, "SELECT direction FROM run").rows[0][0]


def _pairs(trials: Sequence[Mapping[str, Any]], node: str, direction: Any) -> tuple[SeedPair, ...]:  # noqa: ANN401 - as above
    """Pair the confirming trials by seed and slice; of a trial that ran again the last counts."""
    sides: dict[tuple[int, str], dict[bool, Mapping[str, Any]]] = {}
    for trial in trials:
        if trial["purpose"] == "confirm" and trial["score"] is not None:
            sides.setdefault((trial["seed"], trial["slice"]), {})[trial["commit"] == node] = trial
    return tuple(
        SeedPair(
            seed,
            slice_,
            both[False]["score"],
            both[True]["score"],
            gain_of(both[False]["score"], both[True]["score"], direction),
            any(side["state"] == "voided" for side in both.values()),
        )
        for (seed, slice_), both in sides.items()
        if len(both) == 2  # noqa: PLR2004 - head and candidate
    )


def _source(row: Mapping[str, Any]) -> str:
    return f"{row['kind'].replace('_', ' ')} #{row['experiment']} of {row['island']}"


def _migrations(con: DuckDBPyConnection, number: int) -> list[Consequence]:
    rows = answer(con, "FROM migrations WHERE origin_experiment = ?", values=[number]).named()
    return [
        Consequence(
            r["mode"], r["island"], f"{r['result'] or 'open'} as #{r['experiment']}", gain_of_row(r)
        )
        for r in rows
    ]


def _fresh(con: DuckDBPyConnection, number: int) -> list[Consequence]:
    rows = answer(con, "FROM fresh_checks WHERE experiment = ?", values=[number]).named()
    return [
        Consequence(
            "fresh data",
            f"piece {r['piece']}",
            f"{'holds' if r['passed'] else 'does not hold'} ({r['dev_gain']:+.4g} on dev)",
            Gain(r["gain"], r["noise"], 1),
        )
        for r in rows
    ]


def _checks(con: DuckDBPyConnection, number: int) -> list[Consequence]:
    sql = "FROM stacks WHERE list_contains(parts, ?) OR list_contains(dropped, ?)"
    rows = answer(con, f"{sql} ORDER BY check_number", values=[number, number]).named()
    return [
        Consequence(
            "stack check",
            str(r["check_number"]),
            f"{'stays' if number in (r['parts'] or ()) else 'dropped'}; stack is"
            f" {r['verdict'] or 'open'}",
            gain_of_row(r),
        )
        for r in rows
    ]


def _promotions(con: DuckDBPyConnection, number: int) -> list[Consequence]:
    sql = "FROM contenders WHERE experiment = ? ORDER BY check_number"
    rows = answer(con, sql, values=[number]).named()
    return [
        Consequence("promotion", str(r["check_number"]), r["verdict"] or "open", gain_of_row(r))
        for r in rows
    ]
