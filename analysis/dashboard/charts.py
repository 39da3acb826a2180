"""Numbers of the charts that the browser draws, from the queries that pictures are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from analysis.pictures.progress import Progress, progress, thinned
from analysis.pictures.source import RunSource, short
from analysis.pictures.style import colour
from islands.records import Gain

MAX_CANDIDATES: Final = 2_000
"""Discarded candidates that a chart shows; of more, every n-th."""

MAX_TRIALS: Final = 500
"""Trials that the lanes show: the latest."""

_TRIALS = """
SELECT trial, slice, purpose, state, experiment, island, failure,
  epoch(started) AS start, epoch(coalesce(ended, started)) AS stop, ended IS NULL AS open,
  facts['foreign_cpu'] AS taken
FROM trials ORDER BY started DESC LIMIT ?
"""

_PURPOSES = ("baseline", "screen", "confirm", "sentinel", "stack", "ablation", "promotion")


def progress_chart(source: RunSource) -> dict[str, Any] | None:
    """Return the progress chart's numbers, None where no candidate has been screened yet."""
    facts = progress(source)
    if facts is None:
        return None
    lost = [row for row in facts.tried if row["ending"] != "kept"]
    shown = thinned(lost, MAX_CANDIDATES)
    return {
        "metric": facts.run["metric"],
        "direction": facts.run["direction"],
        "limits": facts.limits,
        "last": facts.last,
        "every": -(-len(lost) // max(1, len(shown))),
        "lost": [{"x": row["experiment"], "y": row["screened"]} for row in shown],
        "islands": [
            _staircase(facts, island, place) for place, island in enumerate(source.islands())
        ],
    }


def _staircase(facts: Progress, island: str, place: int) -> dict[str, Any]:
    """Return the heads that an island had, dropped ones too; those it still stands on are named."""
    kept = {step["experiment"]: step for step in facts.steps if step["origin_island"] == island}
    heads = [_head(row, kept) for row in facts.heads if row["island"] == island]
    steps = [{"x": 0, "y": facts.base, "noise": 0.0}, *heads]
    end = {"x": max(facts.last, 1), "y": steps[-1]["y"], "noise": steps[-1]["noise"]}
    return {"island": island, "colour": colour(place), "steps": [*steps, end]}


def _head(row: Mapping[str, Any], kept: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    head = {"x": row["experiment"], "y": row["score"], "noise": row["noise"] or 0.0}
    step = kept.get(row["experiment"])
    if step is None or not row["own"]:
        return head
    gain = "" if step["gain"] is None else Gain(step["gain"], step["noise"] or 0.0, 0).format()
    return head | {
        "experiment": step["experiment"],
        "gain": gain,
        "text": short(step["hypothesis"]).replace(r"\$", "$"),
        "claimed": step["claimed"],
    }


def lanes_chart(source: RunSource, most: int = MAX_TRIALS) -> dict[str, Any] | None:
    """Return the latest trials of each slice, None where none has started.

    Times are in seconds since the first trial that is shown.
    """
    rows = source.rows(_TRIALS, [most])[::-1]
    if not rows:
        return None
    start = min(row["start"] for row in rows)
    return {
        "slices": sorted({row["slice"] for row in rows}),
        "start": start,
        "stop": max(row["stop"] for row in rows) - start,
        "purposes": list(_purposes(rows, start)),
    }


def _purposes(rows: list[dict[str, Any]], start: float) -> Iterator[dict[str, Any]]:
    for place, purpose in enumerate(_PURPOSES):
        own = [row for row in rows if row["purpose"] == purpose]
        if own:
            trials = [_span(row, start) for row in own]
            yield {"purpose": purpose, "colour": colour(place), "trials": trials}


def _span(row: Mapping[str, Any], start: float) -> dict[str, Any]:
    return {
        "trial": row["trial"],
        "slice": row["slice"],
        "experiment": row["experiment"],
        "island": row["island"],
        "state": row["state"],
        "failure": row["failure"],
        "from": row["start"] - start,
        "to": None if row["open"] else row["stop"] - start,
        "taken": row["taken"],
    }
