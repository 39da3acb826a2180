"""`swarm note`, `pause`, `resume`, `stop`, `limits`, `restart-from`, `drop`: steering a run.

Each reaches the coordinator through the run's inbox (swarm/coordinator/inbox.py), or where none
runs is recorded for the next launch. They print what was recorded, in a line.
"""

from __future__ import annotations

from typing import Any

import click

from analysis.database.queries import answer
from analysis.database.refresh import reading
from analysis.plain_json import to_json
from analysis.times import moment
from harness.contract import SetupError
from islands import events as ev
from islands.events.steering import LIMIT_NAMES, LimitName
from islands.steering import (
    AddNote,
    DropChange,
    PauseIslands,
    RestartIsland,
    ResumeIslands,
    SetLimits,
    SteeringCommand,
    StopLaunch,
    WithdrawNote,
    said,
)
from swarm.cli.console import FiniteFloat, json_option, run_option
from swarm.coordinator.inbox import send
from swarm.project.runs import RunFolder, load_state, locate

_AGENTS = """
SELECT island, agent FROM islands UNION SELECT island, agent FROM agent_calls WHERE agent <> 'null'
"""


_MERGES = """
SELECT DISTINCT merge FROM merges JOIN consensus ON consensus.commit = merges.head
WHERE list_contains(parts, ?)
"""


class _Limit(FiniteFloat):
    """A number, or `none`."""

    name = "number"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - the same
        return "none" if value == "none" else super().convert(value, param, ctx)


@click.command()
@click.argument("text", default="")
@click.option("--island", metavar="NAME", default="", help="Only for the agent of this island.")
@click.option("--withdraw", metavar="N", type=int, help="Show note N no longer.")
@run_option
@json_option
def note(text: str, island: str, withdraw: int | None, name: str | None, *, as_json: bool) -> None:
    """Tell the agents TEXT: the next briefs quote it as your own words.

    Without TEXT, list the notes in force.
    """
    run = locate(name)
    if withdraw is not None:
        if text or island:
            raise SetupError("--withdraw takes a note back: leave TEXT and --island out")
        _send(run, WithdrawNote(withdraw), as_json=as_json)
    elif text:
        _send(run, AddNote(text, island), as_json=as_json)
        if not as_json and (silent := _only_mutators(run, island)):
            click.echo(silent)
    else:
        _list_notes(run, as_json=as_json)


@click.command()
@click.argument("island", default="")
@run_option
@json_option
def pause(island: str, name: str | None, *, as_json: bool) -> None:
    """Pause ISLAND, or all islands: the trial under way ends, and no other begins.

    The minutes of the launch go on.
    """
    _send(locate(name), PauseIslands(island), as_json=as_json)


@click.command()
@click.argument("island", default="")
@run_option
@json_option
def resume(island: str, name: str | None, *, as_json: bool) -> None:
    """Let ISLAND, or all paused islands, go on."""
    _send(locate(name), ResumeIslands(island), as_json=as_json)


@click.command()
@run_option
@json_option
def stop(name: str | None, *, as_json: bool) -> None:
    """Stop the launch once the trials under way have ended; `swarm launch` resumes the run."""
    _send(locate(name), StopLaunch(), as_json=as_json)


@click.command()
@click.option("--minutes", type=_Limit(), help="Minutes of a launch, from its start.")
@click.option("--trials", type=_Limit(), help="Trials of the run in all.")
@click.option("--usd", type=_Limit(), help="US dollars of the run in all.")
@click.option("--tokens", type=_Limit(), help="Tokens of the run in all.")
@click.option("--stop-at", type=_Limit(), help="Score of a head at which it stops.")
@click.option("--stall", type=_Limit(), help="Trials without a claim after which it stops.")
@run_option
@json_option
def limits(name: str | None, *, as_json: bool, **values: float | str | None) -> None:
    """Set limits that hold from now on, over program.md; `none` lifts one.

    They hold for later launches too, unless a launch's own options say otherwise.
    """
    given: dict[LimitName, float | None] = {
        limit: None if value == "none" else float(value)
        for limit in LIMIT_NAMES
        if (value := values[limit]) is not None
    }
    from swarm.coordinator.limits import passed  # noqa: PLC0415 - 0.08 s that no other needs

    run = locate(name)
    _send(run, SetLimits(given), as_json=as_json)
    if not as_json and (reached := passed(given, load_state(run))):
        click.echo(f"{run.name} has that already: {', '.join(reached)}")


@click.command("restart-from")
@click.argument("commit")
@click.option("--island", metavar="NAME", required=True, help="The island that is to go on there.")
@run_option
@json_option
def restart_from(commit: str, island: str, name: str | None, *, as_json: bool) -> None:
    """Let an island go on from COMMIT: the run's base, or a change that an island kept.

    Its open experiment is discarded. What it had kept since stays recorded and may still migrate
    to others; it comes back to this island only as part of another's head.
    """
    _send(locate(name), RestartIsland(commit, island), as_json=as_json)


@click.command()
@click.argument("change", metavar="#N")
@run_option
@json_option
def drop(change: str, name: str | None, *, as_json: bool) -> None:
    """Drop the kept change #N with all that is built on it, on every island.

    Islands fall back to the last head before it. The commits stay, quarantined.
    """
    number = change.removeprefix("#")
    if not number.isdecimal():
        raise SetupError(f"{change}: name the change by its number, as in: swarm drop '#12'")
    run = locate(name)
    _send(run, DropChange(int(number)), as_json=as_json)
    for commit in () if as_json else _merges_with(run, int(number)):
        click.echo(f"merge {commit[:10]} holds it still: `git revert` undoes that")


def _send(run: RunFolder, command: SteeringCommand, *, as_json: bool) -> None:
    event = send(run, command)
    click.echo(ev.encode(event) if as_json else f"{run.name}: {said(event)}")


def _only_mutators(run: RunFolder, island: str) -> str:
    """Return a line if no agent that is told a note can read, "" if one can."""
    with reading(run.path) as con:
        rows = answer(con, _AGENTS).rows
    agents = {agent for name, agent in rows if island in {"", name}}
    return "the mutator reads no notes: no agent here is a language model" * (agents == {"mutator"})


def _merges_with(run: RunFolder, number: int) -> list[str]:
    """Return the merges of a consensus that the change is in."""
    with reading(run.path) as con:
        return [row[0] for row in answer(con, _MERGES, values=[number]).rows]


def _list_notes(run: RunFolder, *, as_json: bool) -> None:
    with reading(run.path) as con:
        notes = answer(con, "FROM notes_in_force").named()
    if as_json:
        click.echo(to_json(notes))
    elif not notes:
        click.echo("no note is in force: swarm note TEXT adds one")
    for row in () if as_json else notes:
        to = f"agent of {row['island']}" if row["island"] else "all agents"
        click.echo(f"{row['note']}  {moment(row['recorded'])}  to {to}: {row['reason']}")
