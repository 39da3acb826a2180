"""Facts of the pages, each from the queries that the command line asks too.

Nothing here knows of HTTP. A page of a run takes the run's open record; its rows are limited, so
that a run of 100,000 experiments costs what one of 1,000 does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from analysis.dashboard.feed import latest
from analysis.dashboard.records import Records
from analysis.database.queries import answer
from analysis.ledger import run_folders, writer
from analysis.questions.comparison import figures_of
from analysis.questions.cost import cost_by_agent
from analysis.questions.slice_metrics import void_lines
from analysis.questions.standing import activity, standing, summary
from analysis.run import RecordedRun
from harness.contract import SetupError
from islands.git.plumbing import GitError

PAGE_ROWS: Final = 50
"""Experiments on one page of the list."""

LATEST: Final = 12
"""Kept changes and headlines on a run's first page."""

MAX_CHAIN: Final = 300
"""Kept changes of an island on the lineage page: the latest."""

MAX_RELATIVES: Final = 20
"""Ancestors, and changes built on a change, that its page names."""

ENDINGS: Final = ("kept", "discarded", "failed", "refused", "outdated", "null", "void", "open")

_TOTALS = """
SELECT (SELECT count(*) FROM trials WHERE state <> 'voided') AS trials,
  (SELECT count(*) FROM trials WHERE state = 'voided') AS voided,
  (SELECT coalesce(sum(epoch(ended) - epoch(started)), 0.0) / 3600 FROM trials) AS hours,
  (SELECT coalesce(sum(usd), 0.0) FROM spending) AS usd,
  (SELECT count(*) FROM nodes WHERE experiment IS NOT NULL AND agent <> 'null') AS tried,
  (SELECT count(*) FROM nodes WHERE ending = 'kept' AND quarantined IS NULL) AS kept
"""

_KEPT = """
SELECT experiment, island, hypothesis, gain, noise, pairs, score, added, removed, ended, agent
FROM nodes WHERE ending = 'kept' AND quarantined IS NULL
ORDER BY ended DESC, experiment DESC LIMIT ?
"""

_LIST = """
SELECT experiment, island, agent, ending, quarantined, gain, noise, screened, added, removed,
  hypothesis, reason
FROM nodes WHERE experiment IS NOT NULL
  AND ($ending = '' OR coalesce(ending, 'open') = $ending)
  AND ($island = '' OR island = $island)
  AND ($words = '' OR contains(lower(hypothesis), lower($words)))
  AND ($before = 0 OR experiment < $before)
ORDER BY experiment DESC
"""

_ANCESTORS = """
WITH RECURSIVE line AS (
  SELECT node, parent, experiment, hypothesis, island, kind, 0 AS depth FROM nodes
  WHERE node = $node
  UNION ALL
  SELECT nodes.node, nodes.parent, nodes.experiment, nodes.hypothesis, nodes.island, nodes.kind,
    depth + 1
  FROM line JOIN nodes ON nodes.node = line.parent WHERE depth < $most
)
FROM line WHERE depth > 0 ORDER BY depth
"""

_BUILT_ON = """
SELECT experiment, island, ending, gain, noise, hypothesis FROM nodes
WHERE parent = $node AND experiment IS NOT NULL
ORDER BY ending = 'kept' DESC NULLS LAST, experiment DESC
"""

_CHAINS = """
SELECT island, step, experiment, origin_island, commit, gain, noise, score, hypothesis, added,
  removed, parent, ended
FROM kept QUALIFY row_number() OVER (PARTITION BY island ORDER BY step DESC) <= ?
ORDER BY island, step
"""

_ARROWS = """
SELECT edges.kind, edges.source, edges.target, origin.experiment AS origin,
  origin.island AS origin_island, copy.experiment, copy.island
FROM edges JOIN nodes AS origin ON origin.node = edges.source
  JOIN nodes AS copy ON copy.node = edges.target
WHERE edges.kind IN ('migrated', 'ported', 'crossed_with') AND copy.ending = 'kept'
ORDER BY edges.recorded
"""

_SLICES = """
SELECT slice, count(*) FILTER (state <> 'voided') AS trials,
  count(*) FILTER (state = 'voided') AS voided,
  sum(epoch(ended) - epoch(started)) / 3600 AS hours,
  avg(facts['foreign_cpu']) AS taken,
  sum(seconds['lost']) / nullif(sum(seconds['budget']), 0) AS lost
FROM trials GROUP BY slice ORDER BY slice
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Experiments that a page of the list shows.

    ending, island: only these, "" for all
    words: only hypotheses that contain this, in any case
    before: only numbers below this one, 0 for all
    """

    ending: str = ""
    island: str = ""
    words: str = ""
    before: int = 0


def runs(records: Records) -> list[dict[str, Any]]:
    """Return the facts of `swarm runs`: one row a run, a broken record with its `error`."""
    return [_run(records, folder) for folder in run_folders(records.repo)]


def _run(records: Records, folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"run": folder.name, "pid": writer(folder), "error": None}
    try:
        return facts | records.answer(folder.name, "summary", _summary).value
    except SetupError as error:
        return facts | {"error": str(error)}


def _summary(run: RecordedRun) -> dict[str, Any]:
    return summary(run.connection) or {}


def frame(run: RecordedRun) -> dict[str, Any]:
    """Return what every page of a run shows: how it stands, what it does now, islands' colours.

    Raises SetupError where the run has not started.
    """
    facts = {"pid": writer(run.folder), **standing(run.connection)}
    if facts["run"] is None:
        raise SetupError(f"run {run.folder.name} has not started")
    return {
        **facts,
        "activity": activity(facts),
        "name": run.folder.name,
        "places": places(run),
    }


def places(run: RecordedRun) -> dict[str, int]:
    """Return each island's place among them, which is its colour."""
    return {island: place for place, island in enumerate(run.source.islands())}


def overview(run: RecordedRun) -> dict[str, Any]:
    """Return the first page: totals, islands, kept changes, headlines, money."""
    con = run.connection
    return {
        **frame(run),
        "totals": answer(con, _TOTALS).named()[0],
        "kept": answer(con, _KEPT, values=[LATEST]).named(),
        "headlines": latest(run.folder, LATEST),
        "costs": cost_by_agent(con),
    }


def experiments(run: RecordedRun, wanted: Wanted) -> dict[str, Any]:
    """Return one page of the list of experiments, latest first."""
    values = {
        "ending": wanted.ending,
        "island": wanted.island,
        "words": wanted.words,
        "before": wanted.before,
    }
    found = answer(run.connection, _LIST, PAGE_ROWS, values)
    rows = found.named()
    return {
        **frame(run),
        "wanted": wanted,
        "rows": rows,
        "next": rows[-1]["experiment"] if found.more else 0,
        "endings": ENDINGS,
    }


def change(run: RecordedRun, target: str) -> dict[str, Any]:
    """Return the evidence on one change. Raises SetupError where there is no such change."""
    found = run.why(target)
    con, node = run.connection, {"node": found.node}
    built = answer(con, _BUILT_ON, MAX_RELATIVES, node)
    ancestors = answer(con, _ANCESTORS, values={**node, "most": MAX_RELATIVES})
    try:
        diff, missing = run.diff(found.node), ""
    except GitError as error:
        diff, missing = "", f"git has no diff of it: {error}"
    return {
        **frame(run),
        "found": found,
        "diff": diff,
        "missing": missing,
        "ancestors": ancestors.named(),
        "built": built.named(),
        "more_built": built.more,
    }


def lineage(run: RecordedRun) -> dict[str, Any]:
    """Return each island's chain of kept changes, and which of them came from elsewhere."""
    con = run.connection
    chains: dict[str, list[dict[str, Any]]] = {}
    for row in answer(con, _CHAINS, values=[MAX_CHAIN]).named():
        chains.setdefault(row["island"], []).append(row)
    sources: dict[int, list[dict[str, Any]]] = {}
    for row in answer(con, _ARROWS).named():
        sources.setdefault(row["experiment"], []).append(row)
    return {**frame(run), "chains": chains, "sources": sources}


def slices(run: RecordedRun) -> dict[str, Any]:
    """Return how steady and how busy each slice was."""
    con = run.connection
    facts = frame(run)
    return {
        **facts,
        "void_lines": list(void_lines(facts["voids"])),
        "slices": answer(con, _SLICES).named(),
        "sentinels": answer(con, "FROM sentinels").named(),
        "quarantines": answer(con, "FROM slice_quarantines ORDER BY recorded DESC", 50).named(),
    }


def money(run: RecordedRun) -> dict[str, Any]:
    """Return what each agent cost and earned."""
    usage = answer(run.connection, "FROM usage").named()
    return {**frame(run), "costs": cost_by_agent(run.connection), "usage": usage}


def checks(run: RecordedRun) -> dict[str, Any]:
    """Return the stack checks, the promotions and where the consensus went, latest first."""
    con = run.connection
    return {
        **frame(run),
        "stacks": answer(con, "FROM stacks ORDER BY check_number DESC", 50).named(),
        "promotions": answer(con, "FROM promotions ORDER BY check_number DESC", 50).named(),
        "contenders": answer(con, _CONTENDERS, 100).named(),
        "consensus": answer(con, "FROM consensus ORDER BY recorded DESC", 20).named(),
        "merges": answer(con, "FROM merges ORDER BY recorded DESC", 20).named(),
    }


_CONTENDERS = """
SELECT check_number, experiment, hypothesis, lower_gain, lower_noise, contenders.gain,
  contenders.noise, contenders.verdict
FROM contenders JOIN nodes USING (experiment) ORDER BY check_number DESC, experiment
"""


def side(run: RecordedRun) -> dict[str, Any]:
    """Return one of the two runs that are compared, with the figures of `swarm compare`."""
    con = run.connection
    chain = answer(con, _BEST_CHAIN, MAX_CHAIN).rows
    try:
        diffs = {commit: run.diff(commit) for (commit,) in chain}
    except GitError:  # its objects are gone: what both runs found stays unknown
        diffs = {}
    return {**frame(run), "figures": figures_of(con, diffs)}


_BEST_CHAIN = """
SELECT commit FROM kept WHERE island = (SELECT island FROM standings LIMIT 1) ORDER BY step DESC
"""
