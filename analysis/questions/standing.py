"""Standing of a run: its islands, what they try, what it cost so far, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from analysis.times import moment
from analysis.untrusted_text import first_line

_TRYING = """
SELECT coalesce(nodes.island, trials.island) AS island, experiment, agent, hypothesis, stage, trial,
  purpose, started
FROM (
  SELECT *, CASE WHEN list_contains(tried, 'confirm') THEN 'confirming'
    WHEN list_contains(tried, 'screen') THEN 'screened' ELSE 'waiting' END AS stage
  FROM nodes LEFT JOIN (
    SELECT experiment, list(purpose) AS tried FROM trials WHERE state = 'scored' GROUP BY experiment
  ) USING (experiment)
  WHERE experiment IS NOT NULL AND ending IS NULL
) AS nodes
  FULL JOIN (FROM trials WHERE state = 'running') AS trials USING (experiment)
ORDER BY island, experiment, trial
"""

_APART = """
SELECT slice, reason, recorded FROM slice_quarantines
QUALIFY row_number() OVER (PARTITION BY slice ORDER BY rowid DESC) = 1 AND action = 'quarantined'
ORDER BY slice
"""

_EXHAUSTED = """
SELECT island, agent, reason FROM (
  FROM agent_calls WHERE error_kind IS DISTINCT FROM 'summary'
  QUALIFY row_number() OVER (PARTITION BY island ORDER BY rowid DESC) = 1
) AS call
WHERE error_kind = 'exhausted' AND NOT EXISTS (
  FROM nodes WHERE quarantined > call.recorded OR ending = 'kept' AND ended > call.recorded)
ORDER BY island
"""
"""Islands whose agent had nothing left at its last call, unless a head has moved since."""

_SILENT = """
SELECT agent, count(*) AS failures, min(recorded) AS since, arg_max(reason, recorded) AS reason
FROM agent_calls AS call
WHERE error_kind NOT IN ('exhausted', 'stopped', 'summary') AND NOT EXISTS (
  FROM agent_calls WHERE agent = call.agent AND error_kind IS NULL AND recorded >= call.recorded)
GROUP BY agent HAVING failures >= 3 OR bool_or(error_kind = 'unavailable')
ORDER BY agent
"""
"""Agents that have failed ever since they last proposed."""

_CONTENTION = """
SELECT slice, coalesce(facts['foreign_cpu'], 0.0) AS taken,
  1 + coalesce(seconds['lost'], 0.0) / seconds['budget'] AS slowdown
FROM trials WHERE seconds['budget'] > 0
QUALIFY row_number() OVER (PARTITION BY slice ORDER BY ended DESC) = 1
ORDER BY slice
"""

_EXACT = """
SELECT (sum(scores) - count(*))::INTEGER AS repeats FROM sentinels WHERE rung = 0
HAVING repeats >= 3 AND max(coalesce(sigma, 0)) = 0
"""
"""How often one commit on one seed repeated its score, if always exactly."""

_BASE = "SELECT score AS base_score FROM nodes WHERE kind = 'base'"
"""The base's mean score, as the lineage has it: what heads are compared with, not its first."""

_KEPT_SINCE = """
WITH keeps AS (
  SELECT (event->>'$.experiment')::INTEGER AS experiment, recorded,
    coalesce(nullif((event->>'$.origin')::INTEGER, 0), experiment) AS origin
  FROM stack_events WHERE event->>'$.kind' = 'verdict_reached'
), changes AS (
  SELECT arg_min(experiment, keeps.recorded) AS part, min(keeps.recorded) AS first
  FROM keeps JOIN nodes USING (experiment) WHERE quarantined IS NULL GROUP BY origin
)
SELECT count(*) AS kept_since FROM changes
WHERE first > (
    SELECT recorded FROM consensus WHERE quarantined IS NULL ORDER BY rowid DESC LIMIT 1)
  AND part NOT IN (SELECT unnest(parts) FROM promotions WHERE verdict IS NOT NULL)
"""
"""Changes first kept since the consensus was built that no promotion has measured in a stack.

`swarm.cli.next_step` asks the same of a run's state.
"""

_SUMMARY = """
SELECT run.task, run.metric, run.recorded AS started,
  (SELECT count(*) FROM trials WHERE state <> 'voided') AS trials,
  (SELECT count(*) FROM nodes WHERE ending = 'kept' AND quarantined IS NULL) AS kept,
  (SELECT coalesce(sum(usd), 0) FROM spending) AS usd,
  (SELECT count(*) FROM merges) AS merges
FROM run
"""


_LAST = "FROM {} WHERE quarantined IS NULL AND {} ORDER BY rowid DESC LIMIT 1"
"""The last row of a table that is not quarantined, and meets a condition."""


def standing(con: DuckDBPyConnection) -> dict[str, Any]:
    """Return how the run stands; its value `run` is None where the run has not started.

    The rows of `islands` are the best first, each with what it is `trying`. `stack`, `promotion`
    and `consensus` are the last that are not quarantined.
    """
    islands = answer(con, "FROM standings").named()
    trying = answer(con, _TRYING).named()
    for island in islands:
        island["trying"] = [row for row in trying if row["island"] == island["island"]]
    return {
        "run": _first(con, "SELECT * EXCLUDE (genome, rungs) FROM run"),
        "last": _first(con, "FROM coordinators ORDER BY recorded DESC, rowid DESC LIMIT 1"),
        **(_first(con, "SELECT sigma FROM noise") or {}),
        **(_first(con, "FROM nulls") or {}),
        **(_first(con, _BASE) or {"base_score": None}),
        **(_first(con, "SELECT bool_or(sandbox = 'none') AS unconfined FROM trials") or {}),
        "slice_quarantines": answer(con, _APART).named(),
        "contention": answer(con, _CONTENTION).named(),
        "voids": answer(con, "FROM voids").named(),
        "exact": _first(con, _EXACT),
        "exhausted": answer(con, _EXHAUSTED).named(),
        "silent": answer(con, _SILENT).named(),
        "paused": answer(con, "FROM paused").named(),
        "notes": answer(con, "FROM notes_in_force").named(),
        "stack": _first(con, _LAST.format("stacks", "verdict IS NOT NULL")),
        "promotion": _first(con, _LAST.format("promotions", "verdict IS NOT NULL")),
        "consensus": _first(con, _LAST.format("consensus", "true")),
        "merges": answer(con, "FROM merges ORDER BY rowid").named(),
        **(_first(con, _KEPT_SINCE) or {}),
        "summary": last_summary(con),
        "islands": islands,
    }


def last_summary(con: DuckDBPyConnection) -> dict[str, Any] | None:
    """Return what a model last wrote that the run has taught, None for nothing yet."""
    return _first(con, "FROM summaries WHERE text <> '' ORDER BY rowid DESC LIMIT 1")


def summary(con: DuckDBPyConnection) -> dict[str, Any] | None:
    """Return a run's task, metric, start and totals, None where it has not started."""
    return _first(con, _SUMMARY)


def activity(facts: Mapping[str, Any]) -> str:
    """Return what the run of `standing`, with the `pid` of its writer, does now."""
    if facts["pid"] is not None:
        return f"running (pid {facts['pid']})"
    last = facts["last"]
    if last["action"] == "stopped":
        return f"stopped at {moment(last['recorded'])}, {first_line(last['reason'])}"
    return "killed; `swarm launch` resumes it"


def _first(con: DuckDBPyConnection, sql: str) -> dict[str, Any] | None:
    return next(iter(answer(con, sql, 1).named()), None)
