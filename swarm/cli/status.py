"""`swarm status`: how every island stands, whether the swarm runs or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click
from duckdb import DuckDBPyConnection
from rich import box
from rich.table import Table
from rich.text import Text

from analysis.database.queries import answer
from analysis.database.refresh import reading
from analysis.ledger import writer
from analysis.lineage_tree import plain
from swarm.cli.console import json_option, run_option, to_json, wide_console
from swarm.project.runs import locate

_TRYING = """
SELECT coalesce(nodes.island, trials.island) AS island, experiment, hypothesis, trial, purpose,
  started
FROM (FROM nodes WHERE experiment IS NOT NULL AND ending IS NULL) AS nodes
  FULL JOIN (FROM trials WHERE state = 'running') AS trials USING (experiment)
ORDER BY island, experiment, trial
"""

_APART = """
SELECT slice, reason, recorded FROM slices_apart
QUALIFY row_number() OVER (PARTITION BY slice ORDER BY rowid DESC) = 1 AND action = 'set apart'
ORDER BY slice
"""

_DROPPED = ("discarded", "failed", "refused", "outdated", "unanswered")


@click.command()
@run_option
@json_option
def status(name: str | None, as_json: bool) -> None:
    """Show how every island stands: head, score, gain, what is being tried, what it cost."""
    run = locate(name)
    with reading(run.folder) as con:
        facts = {"pid": writer(run.folder), **_standing(con)}
    if as_json:
        click.echo(to_json(facts))
    elif facts["run"] is None:
        click.echo(f"run {run.name} has not begun")
    else:
        console = wide_console()
        console.print(_grid(facts))
        for line in _tries(facts):
            console.print(Text(line), no_wrap=True, overflow="ellipsis")
        console.print(Text(_footer(facts)), soft_wrap=True)
        for each in facts["slices_apart"]:
            told = f"slice {each['slice']} is set apart: {plain(each['reason'])}"
            console.print(Text(told), soft_wrap=True)


def _standing(con: DuckDBPyConnection) -> dict[str, Any]:
    islands = answer(con, "FROM standings").named()
    trying = answer(con, _TRYING).named()
    for island in islands:
        island["trying"] = [each for each in trying if each["island"] == island["island"]]
    return {
        "run": _first(con, "SELECT * EXCLUDE (genome, rungs) FROM run"),
        "last": _first(con, "FROM coordinators ORDER BY rowid DESC LIMIT 1"),
        **(_first(con, "SELECT sigma FROM spread") or {}),
        **(_first(con, "FROM nulls") or {}),
        "slices_apart": answer(con, _APART).named(),
        "islands": islands,
    }


def _first(con: DuckDBPyConnection, sql: str) -> dict[str, Any] | None:
    return next(iter(answer(con, sql, 1).named()), None)


def _grid(facts: Mapping[str, Any]) -> Table:
    run = facts["run"]
    title = f"{run['run']}: {run['task']}, {run['metric']} ({run['direction']})"
    caption = f"dropped: {' + '.join(_DROPPED)}"
    grid = Table(
        title=Text(title),
        caption=caption,
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for heading in ("island", "head"):
        grid.add_column(heading, no_wrap=True)
    for heading in (run["metric"], "gain", "trials", "kept", "dropped", "$"):
        grid.add_column(Text(heading), justify="right", no_wrap=True)
    for island in facts["islands"]:
        grid.add_row(*(Text(cell) for cell in _row(island)))
    return grid


def _row(island: Mapping[str, Any]) -> Iterable[str]:
    yield from (island["island"], island["head"][:8])
    yield "-" if island["score"] is None else f"{island['score']:.6g}"
    yield "-" if island["gain"] is None else _gain(island["gain"], island["noise"])
    yield from (str(island[name]) for name in ("trials", "kept"))
    yield "+".join(str(island[name]) for name in _DROPPED)
    yield f"{island['usd']:.2f}"


def _tries(facts: Mapping[str, Any]) -> Iterable[str]:
    """Yield what each island was seen to try last, a line for each trial or candidate."""
    for island in facts["islands"]:
        for each in island["trying"]:
            yield f"{island['island']} ({island['agent']}) {_trying(each)}"


def _gain(gain: float, noise: float | None) -> str:
    return f"{gain:+.4g}" + ("" if noise is None else f" ± {noise:.2g}")


def _trying(each: Mapping[str, Any]) -> str:
    purpose = each["purpose"] or "waiting"
    if each["experiment"] is None:
        return str(purpose)
    return f"#{each['experiment']} {purpose}: {plain(each['hypothesis'] or '')}"


def _footer(facts: Mapping[str, Any]) -> str:
    usd = sum(island["usd"] for island in facts["islands"])
    sigma = "not known yet" if facts["sigma"] is None else f"{facts['sigma']:.4g}"
    nulls = f" · nulls kept {facts['nulls_kept']} of {facts['nulls']}" if facts["nulls"] else ""
    return f"{_activity(facts)} · sigma {sigma}{nulls} · ${usd:.2f}"


def _activity(facts: Mapping[str, Any]) -> str:
    if facts["pid"] is not None:
        return f"running (pid {facts['pid']})"
    last = facts["last"]
    if last["action"] == "stopped":
        return f"stopped at {last['recorded']:%Y-%m-%d %H:%M:%S} UTC, {plain(last['reason'])}"
    return "killed; `swarm launch` goes on"
