"""`swarm why`: shows the whole evidence on one change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from analysis.grid import Grid
from analysis.questions.evidence import ChangeEvidence, SeedPair
from analysis.run import RecordedRun, no_diff
from analysis.untrusted_text import first_line, printable
from islands.git.plumbing import GitError
from swarm.cli.console import json_option, plural, run_option, to_json, wide_console
from swarm.project.runs import locate


@click.command()
@click.argument("change", metavar="#N|COMMIT")
@run_option
@click.option("--no-diff", is_flag=True, help="Leave out the diff.")
@json_option
def why(change: str, name: str | None, *, no_diff: bool, as_json: bool) -> None:
    """Show the evidence on one change: diff, screen, pairs seed by seed, verdict, what came of it.

    CHANGE is an experiment's number, with or without #, or the start of a candidate's commit id.
    """
    with RecordedRun(locate(name).path) as run:
        found = run.why(change)
        diff, missing = _diff(run, found.node) if not no_diff else ("", "")
        metric = run.opened["metric"]
    if as_json:
        click.echo(to_json({**asdict(found), "diff": diff}))
        return
    console = wide_console()
    for line in _lines(found, metric):
        console.print(Text(line), soft_wrap=True)
    if found.pairs:
        console.print(_pairs(found.pairs, metric))
    for line in _aftermath(found):
        console.print(Text(line), soft_wrap=True)
    if missing:
        console.print(Text(missing), soft_wrap=True)
    if diff:
        _print_diff(console, diff)


def _diff(run: RecordedRun, node: str) -> tuple[str, str]:
    """Return the diff, or why there is none: a record outlives the repository's objects."""
    try:
        return run.diff(node), ""
    except GitError as error:
        return "", no_diff(error)


def _lines(found: ChangeEvidence, metric: str) -> Iterator[str]:
    quarantined = ", quarantined" if found.quarantined else ""
    ending = f"{found.ending}{quarantined}"
    yield f"#{found.experiment} {ending} on {found.island}: {first_line(found.hypothesis)}"
    if found.gain is not None:
        yield f"gain {found.gain.format()} {metric} on {plural(found.gain.pairs, 'pair')}"
    if found.reason:
        yield f"because {first_line(found.reason)}"
    if found.is_commit:
        yield f"commit {found.node} on {found.parent[:10]}, +{found.added} -{found.removed} lines"
    cost = f", ${found.usd:.4f}" if found.usd else ""
    brief = f" from brief {found.brief}" if found.brief else ""
    yield f"by {found.agent}{brief}; {plural(found.trials, 'trial')}, {found.seconds:.1f} s{cost}"
    if found.screened is not None:
        yield f"screening score {found.screened:.6g} (it selected the candidate: no evidence)"
    yield from found.sources


def _pairs(pairs: tuple[SeedPair, ...], metric: str) -> Grid:
    grid = Grid()
    for heading in ("seed", "slice", f"head {metric}", f"candidate {metric}", "gain", ""):
        grid.add_column(heading, right=bool(heading))
    for pair in pairs:
        scores = f"{pair.head:.6g}", f"{pair.candidate:.6g}", f"{pair.gain:+.4g}"
        grid.add_row(str(pair.seed), pair.slice, *scores, "void" if pair.void else "")
    return grid


def _aftermath(found: ChangeEvidence) -> Iterator[str]:
    for failure in found.failures:
        yield f"failed trial: {first_line(failure)}"
    for one in found.consequences:
        gain = f", {one.gain.format()}" if one.gain is not None else ""
        yield f"{one.what} {one.where}: {one.result}{gain}"


def _print_diff(console: Console, diff: str) -> None:
    safe = printable(diff, keep="\n\t")
    if console.is_terminal:
        console.print(Syntax(safe, "diff", background_color="default"))
    else:
        console.print(Text(safe), soft_wrap=True)
