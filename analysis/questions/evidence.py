"""The whole evidence on one change: what was proposed, measured, decided, and what came of it.

    with reading(folder) as con:
        evidence_on(con, "#43").pairs

Scores are in the task's metric; gains are signed so that above zero is better.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from analysis.questions.target import find_experiment, gain_of_row
from harness.contract import Direction
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
    (found,) = _evidence(con, [find_experiment(con, target)])
    return found


def evidence_on_all(con: DuckDBPyConnection, numbers: Sequence[int]) -> tuple[ChangeEvidence, ...]:
    """Return the evidence on these experiments, in this order; each table is read once."""
    nodes = answer(con, _NODES, values=[list(numbers)]).named()
    return _evidence(con, sorted(nodes, key=lambda node: numbers.index(node["experiment"])))


_NODES = "SELECT * FROM nodes WHERE experiment IN (SELECT unnest(?::INTEGER[]))"

_TRIALS = """
SELECT experiment, trial, commit, purpose, seed, slice, state, score, failure, reason,
  epoch(ended) - epoch(started) AS wall
FROM trials WHERE experiment IN (SELECT unnest($numbers::INTEGER[])) ORDER BY started, trial
"""

_USD = """
SELECT experiment, sum(usd) AS usd FROM spending
WHERE experiment IN (SELECT unnest($numbers::INTEGER[])) GROUP BY experiment
"""

_SOURCES = """
SELECT edges.experiment, edges.kind, nodes.experiment AS source, nodes.island
FROM edges JOIN nodes ON nodes.node = edges.source
WHERE edges.experiment IN (SELECT unnest($numbers::INTEGER[]))
  AND edges.kind IN ('crossed_with', 'migrated', 'ported')
ORDER BY nodes.experiment
"""

_FRESH = "FROM fresh_checks WHERE experiment IN (SELECT unnest($numbers::INTEGER[]))"

_MIGRATIONS = "FROM migrations WHERE origin_experiment IN (SELECT unnest($numbers::INTEGER[]))"

_CHECKS = """
FROM stacks WHERE list_has_any(list_concat(parts, dropped), $numbers::INTEGER[])
ORDER BY check_number
"""

_PROMOTIONS = (
    "FROM contenders WHERE experiment IN (SELECT unnest($numbers::INTEGER[])) ORDER BY check_number"
)

_Rows = Sequence[Mapping[str, Any]]


def _evidence(con: DuckDBPyConnection, nodes: _Rows) -> tuple[ChangeEvidence, ...]:
    """Return the evidence on the experiments of these rows of `nodes`."""
    numbers = {"numbers": [node["experiment"] for node in nodes]}

    def rows_of(sql: str, key: str = "experiment") -> Mapping[int, _Rows]:
        found = defaultdict[int, list[Mapping[str, Any]]](list)
        for row in answer(con, sql, values=numbers).named():
            found[row[key]].append(row)
        return found

    trials, usd, sources = rows_of(_TRIALS), rows_of(_USD), rows_of(_SOURCES)
    fresh, promotions = rows_of(_FRESH), rows_of(_PROMOTIONS)
    migrations = rows_of(_MIGRATIONS, "origin_experiment")
    checks = answer(con, _CHECKS, values=numbers).named()
    direction = answer(con, "SELECT direction FROM run").rows[0][0]
    return tuple(
        ChangeEvidence(
            experiment=(number := node["experiment"]),
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
            trials=len(trials[number]),
            seconds=sum(trial["wall"] or 0.0 for trial in trials[number]),
            usd=sum(row["usd"] or 0.0 for row in usd[number]),
            pairs=_pairs(trials[number], node["node"], direction),
            sources=tuple(map(_source, sources[number])),
            consequences=(
                *map(_fresh, fresh[number]),
                *map(_migration, migrations[number]),
                *_checks(checks, number),
                *map(_promotion, promotions[number]),
            ),
            failures=tuple(
                f"{t['failure']}: {t['reason']}" for t in trials[number] if t["failure"]
            ),
            quarantined=node["quarantined"],
        )
        for node in nodes
    )


def _pairs(trials: _Rows, node: str, direction: Direction) -> tuple[SeedPair, ...]:
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
    return f"{row['kind'].replace('_', ' ')} #{row['source']} of {row['island']}"


def _migration(row: Mapping[str, Any]) -> Consequence:
    result = f"{row['result'] or 'open'} as #{row['experiment']}"
    return Consequence(row["mode"], row["island"], result, gain_of_row(row))


def _fresh(row: Mapping[str, Any]) -> Consequence:
    result = f"{'holds' if row['passed'] else 'does not hold'} ({row['dev_gain']:+.4g} on dev)"
    return Consequence(
        "fresh data", f"piece {row['piece']}", result, Gain(row["gain"], row["noise"], 1)
    )


def _checks(rows: _Rows, number: int) -> Iterator[Consequence]:
    """Yield the stack checks of `rows` that tried the change."""
    for row in rows:
        if number in {*row["parts"], *(row["dropped"] or ())}:
            stays = "stays" if number in row["parts"] else "dropped"
            result = f"{stays}; stack is {row['verdict'] or 'open'}"
            yield Consequence("stack check", str(row["check_number"]), result, gain_of_row(row))


def _promotion(row: Mapping[str, Any]) -> Consequence:
    result = row["verdict"] or "open"
    return Consequence("promotion", str(row["check_number"]), result, gain_of_row(row))
