"""`swarm runs`: lists the runs of this repository."""

from __future__ import annotations

from typing import Any

import click

from analysis.database.refresh import reading
from analysis.grid import Grid
from analysis.ledger import writer
from analysis.questions.standing import summary
from analysis.times import moment
from harness.contract import SetupError
from swarm.cli.console import json_option, to_json, wide_console
from swarm.project.runs import RunFolder, repository
from swarm.project.runs import runs as all_runs


@click.command()
@json_option
def runs(*, as_json: bool) -> None:
    """List the runs of this repository, the one that was active last first.

    Their heads are branches. Other candidates are packed when a launch ends: git keeps them, `git
    show COMMIT` finds them, and `git log --all` and `git push` leave them out.
    """
    rows = [_facts(run) for run in all_runs(repository())]
    if as_json:
        click.echo(to_json(rows))
    elif not rows:
        click.echo("no run yet: `swarm launch` starts one")
    else:
        wide_console().print(_grid(rows))


def _facts(run: RunFolder) -> dict[str, Any]:
    facts: dict[str, Any] = {"run": run.name, "pid": writer(run.path), "error": None}
    try:
        with reading(run.path) as con:
            return facts | (summary(con) or {})
    except SetupError as error:  # one broken record must not hide the others
        return facts | {"error": str(error)}


def _grid(rows: list[dict[str, Any]]) -> Grid:
    grid = Grid(drop=("started", "metric", "merged", "task"))
    for heading in ("run", "task", "metric", "started", "state"):
        grid.add_column(heading, fit="fold" if heading == "state" else "")  # or what is broken
    for heading in ("trials", "kept", "merged", "$"):
        grid.add_column(heading, right=True)
    for row in rows:
        grid.add_row(*_cells(row))
    return grid


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    state = "running" if row["pid"] is not None else "stopped"
    if "task" not in row:
        return (row["run"], "-", "-", "-", row["error"] or "empty", "", "", "", "")
    return (
        row["run"],
        row["task"],
        row["metric"],
        moment(row["started"]),
        state,
        str(row["trials"]),
        str(row["kept"]),
        str(row["merges"]),
        f"{row['usd']:.2f}",
    )
