"""`swarm status`, `swarm lineage`, `swarm query`: what the record says, swarm running or not."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import click
import networkx as nx
from duckdb import DuckDBPyConnection
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.database.queries import Answer, answer, ask
from analysis.database.refresh import reading
from analysis.database.rows import load_graph
from analysis.database.schema import TABLES, VIEWS
from analysis.ledger import writer
from analysis.lineage import Graph
from analysis.lineage_tree import plain, tree
from harness.contract import SetupError
from swarm.project.runs import locate

_PIPED_WIDTH = 240
"""Columns where there is no terminal that says how many it has."""

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

_run = click.option("--run", "name", help="Name of the run; default: the one active last.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_run
@_as_json
def status(name: str | None, as_json: bool) -> None:
    """Show how every island stands: head, score, gain, what is being tried, what it cost."""
    run = locate(name)
    with reading(run.folder) as con:
        facts = {"pid": writer(run.folder), **_standing(con)}
    if as_json:
        click.echo(_json(facts))
    elif facts["run"] is None:
        click.echo(f"run {run.name} has not begun")
    else:
        console = _console()
        console.print(_grid(facts))
        for line in _tries(facts):
            console.print(Text(line), no_wrap=True, overflow="ellipsis")
        console.print(Text(_footer(facts)), soft_wrap=True)
        for each in facts["slices_apart"]:
            told = f"slice {each['slice']} is set apart: {plain(each['reason'])}"
            console.print(Text(told), soft_wrap=True)


@click.command()
@_run
@click.option("--island", help="Only this island, and what it came from.")
@_as_json
def lineage(name: str | None, island: str | None, as_json: bool) -> None:
    """Show who came from what: every experiment with its ending, gain and hypothesis.

    As JSON: networkx's node-link data.
    """
    with reading(locate(name).folder) as con:
        graph = load_graph(con)
        islands = [known for (known,) in answer(con, "SELECT island FROM standings").rows]
    if island is not None and island not in islands:
        raise SetupError(f"--island {island}: no such island; there are: {', '.join(islands)}")
    chosen = islands if island is None else [island]
    if as_json:
        click.echo(_json(nx.node_link_data(_part(graph, chosen), edges="edges")))
    else:
        _console().print(tree(graph, chosen), no_wrap=True, overflow="ellipsis")


@click.command(epilog=f"Tables: {', '.join(TABLES)}. Views: {', '.join(VIEWS)}.")
@click.argument("sql")
@_run
@_as_json
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(min=1))
def query(sql: str, name: str | None, as_json: bool, as_csv: bool, limit: int) -> None:
    """Ask the record a question in SQL, such as "FROM standings" or "DESCRIBE trials".

    It is answered from a snapshot, while the swarm runs; a question can change nothing.
    """
    if as_json and as_csv:
        raise SetupError("--json and --csv: choose one")
    found = ask(locate(name).folder, sql, limit)
    if as_json:
        click.echo(_json(found.named()))
    elif as_csv:
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow(found.columns)
        out.writerows(found.rows)
    else:
        _console().print(_shown(found))
    if found.more:
        click.echo(f"the first {limit} rows; ask for more with --limit", err=True)


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


def _part(graph: Graph, islands: Iterable[str]) -> Graph:
    """Return what belongs to the islands and what that came from."""
    own = {node for node, known in graph.nodes(data=True) if known.get("island") in set(islands)}
    bases = {node for node, known in graph.nodes(data=True) if known["kind"] == "base"}
    return graph.subgraph(own.union(bases, *(graph.predecessors(node) for node in own)))


def _shown(found: Answer) -> Table:
    grid = Table()
    for column in found.columns:
        grid.add_column(Text(column))
    for row in found.rows:
        grid.add_row(*map(_cell, row))
    return grid


def _cell(value: object) -> Text:
    return Text("" if value is None else "\n".join(map(plain, str(value).splitlines())))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_PIPED_WIDTH)


def _json(value: object) -> str:
    return json.dumps(_finite(value), default=_worded)


def _finite(value: object) -> object:
    """Return `value` with null for the numbers that JSON does not have."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {str(key): _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value


def _worded(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
