"""`swarm status`: shows how each island stands, while the swarm runs and afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from analysis.database.refresh import reading
from analysis.grid import Grid, Shortened
from analysis.ledger import writer
from analysis.questions.calls import ModelCalls, calls_by_model, unmetered_agents
from analysis.questions.slice_metrics import void_lines
from analysis.questions.standing import activity, standing
from analysis.times import moment
from analysis.untrusted_text import first_line, printable
from islands.records import NULL, Gain
from islands.state.contention import SliceContention
from swarm.cli.console import (
    REPEATS_EXACTLY,
    fitted,
    json_option,
    plural,
    run_option,
    to_json,
    unconfined,
    wide_console,
)
from swarm.cli.next_step import Results, next_step
from swarm.project.runs import locate

_DROPPED = ("kept_quarantined", "discarded", "failed", "refused", "outdated", "unanswered")
"""How experiments end that are not kept; the table has a column for each that occurred."""

_HEADINGS = {"kept_quarantined": "quarantined"}
"""Headings of the table that are not the names of their columns in the record."""


@click.command()
@run_option
@json_option
def status(name: str | None, as_json: bool) -> None:
    """Show each island's head, score, gain, cost, what it is trying, and what to do next.

    The gain is that of the head over the run's base, ± its standard error.
    """
    run = locate(name)
    with reading(run.path) as con:
        facts = {"pid": writer(run.path), **standing(con), "calls": calls_by_model(con)}
        facts["unmetered"] = unmetered_agents(con)
    if as_json:
        click.echo(to_json(facts | {"calls": [asdict(calls) for calls in facts["calls"]]}))
    elif facts["run"] is None:
        click.echo(f"run {run.name} has not started")
    else:
        console = wide_console()
        console.print(_grid(facts))
        console.print()
        for line in _tries(facts):
            console.print(Shortened(Text(line)))
        for line in (_footer(facts), *_remarks(facts), *_results(facts)):
            console.print(Text(fitted(line, console.width)))
        console.print(Text(f"next: {_next(facts)}"), soft_wrap=True)  # commands to copy stay whole


def _called(calls: ModelCalls) -> str:
    """Return a line on the calls of one agent to one model."""
    usd = "price unknown" if calls.usd is None else f"${calls.usd:.4f}"
    failed = f" ({calls.failed} failed)" if calls.failed else ""
    tokens = calls.tokens_in + calls.tokens_out
    return (
        f"{calls.agent}: {plural(calls.calls, 'call')} to {calls.model}{failed}, {tokens:,} tokens"
        f" ({100 * calls.cached:.0f} % of the input cached), {usd}"
    )


def _remarks(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing about agents, slices and a person's words worth knowing."""
    yield from map(_called, facts["calls"])
    for agent in facts["unmetered"]:
        yield f"agent {agent} is unmetered: what it spends is not counted here"
    for row in facts["silent"]:
        count, reason = row["failures"], first_line(row["reason"])
        yield f"agent {row['agent']} has failed {plural(count, 'time')} in a row: {reason}"
    for row in facts["exhausted"]:
        reason = first_line(row["reason"])
        yield f"{row['island']} ({row['agent']}) has nothing left to try: {reason}"
    for row in facts["paused"]:
        yield f"{row['island']} is paused; `swarm resume {row['island']}` lets it go on"
    for row in facts["notes"]:
        to = f" to {row['island']}" if row["island"] else ""
        yield f"note {row['note']}{to}: {first_line(row['reason'])}"
    yield from _learned(facts["summary"])
    yield from _about_slices(facts)


def _about_slices(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that disturbed the slices, or that their sentinels say."""
    for row in facts["contention"]:
        latest = SliceContention(row["taken"], row["slowdown"])
        if latest.notable and facts["pid"] is not None:
            yield latest.format(row["slice"])
    if row := facts["exact"]:
        yield REPEATS_EXACTLY.format(row["repeats"])
    yield from void_lines(facts["voids"])
    for row in facts["slice_quarantines"]:
        yield f"slice {row['slice']} is quarantined: {first_line(row['reason'])}"


def _results(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line each for the last stack check and promotion, the consensus and its merge."""
    if row := facts["stack"]:
        parts, dropped = len(row["parts"]), len(row["dropped"])
        gain = "" if row["gain"] is None else f", gain {_gain(row['gain'], row['noise'])}"
        yield (
            f"stack check {row['check_number']}: {row['verdict']}, {plural(parts, 'change')} stay"
            f" and {dropped} dropped{gain}"
        )
    if row := facts["promotion"]:
        gain = _gain(row["gain"], row["noise"])
        result = f"{row['verdict']} at rung {row['rung']}, gain {gain}"
        yield f"promotion {row['check_number']}: {result}"
    merged = {row["head"]: row for row in facts["merges"]}
    if row := facts["consensus"]:
        done = "merged" if row["commit"] in merged else "not merged yet"
        yield f"consensus {row['commit'][:10]}: {plural(len(row['parts']), 'change')}, {done}"
    for row in facts["merges"]:
        what = f"the head of {row['island']}" if row["island"] else "the consensus"
        if row["forced"] and not row["island"]:
            what = "a stack"
        yield f"merged {what} as {row['merge'][:10]} on {row['branch']}, {moment(row['recorded'])}"


def _next(facts: Mapping[str, Any]) -> str:
    """Return what a person may do now."""
    results = Results.of_facts(facts)
    if facts["pid"] is not None:
        return "`swarm watch` shows it live, `swarm stop` ends it when its trials end"
    if results.nothing and (facts["last"]["reason"] or "").startswith("error:"):
        return "mend what the error says; nothing was kept so far"
    return next_step(results)


def _learned(told: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what a model has written that the run has taught."""
    if told is not None:
        yield f"learned by {plural(told['verdicts'], 'verdict')}: {printable(told['text'])}"


def _grid(facts: Mapping[str, Any]) -> Grid:
    run, islands = facts["run"], facts["islands"]
    marks = f"{run['direction']}, {run['evidence']}{unconfined(bool(facts['unconfined']))}"
    title = f"{run['run']}: {run['task']}, {run['metric']} ({marks})"
    dropped = [ending for ending in _DROPPED if any(island[ending] for island in islands)]
    headings = [_HEADINGS.get(ending, ending) for ending in dropped]
    grid = Grid(title, rule=True, drop=(*reversed(headings), "head", "trials", "$"))
    for heading in ("island", "head"):
        grid.add_column(heading)
    for heading in (run["metric"], "gain", "trials", "kept", *headings, "$"):
        grid.add_column(heading, right=True)
    for island in islands:
        grid.add_row(*_row(island, dropped))
    return grid


def _row(island: Mapping[str, Any], dropped: Iterable[str]) -> Iterable[str]:
    yield from (island["island"], island["head"][:8])
    yield "-" if island["score"] is None else f"{island['score']:.6g}"
    at_base = not island["gain"] and not island["noise"]  # its head is the base itself
    yield "-" if at_base else _gain(island["gain"], island["noise"])
    yield from (str(island[name]) for name in ("trials", "kept", *dropped))
    yield f"{island['usd']:.2f}"


def _tries(facts: Mapping[str, Any]) -> Iterable[str]:
    """Yield a line for each trial that runs and each candidate that waits."""
    for island in facts["islands"]:
        for row in island["trying"]:
            agent = "A/A test" if row["agent"] == NULL else row["agent"] or island["agent"]
            yield f"{island['island']} ({agent}) {_trying(row)}"


def _gain(gain: float, noise: float | None) -> str:
    return f"{gain:+.4g}" if noise is None else Gain(gain, noise, pairs=0).format()


def _trying(row: Mapping[str, Any]) -> str:
    purpose = row["purpose"] or row["stage"]
    if row["experiment"] is None:
        return str(purpose)
    subject, *_ = (row["hypothesis"] or "").splitlines() or [""]
    return f"#{row['experiment']} {purpose}: {first_line(subject)}"


def _footer(facts: Mapping[str, Any]) -> str:
    usd = sum(island["usd"] for island in facts["islands"])
    sigma = "unknown" if facts["sigma"] is None else f"{facts['sigma']:.4g}"
    base = "unknown" if facts["base_score"] is None else f"{facts['base_score']:.6g}"
    parts = [activity(facts), f"base {base}", f"noise between seeds {sigma}"]
    if facts["nulls"]:
        parts.append(f"A/A tests kept {facts['nulls_kept']} of {facts['nulls']}")
    return " · ".join([*parts, f"${usd:.2f}"])
