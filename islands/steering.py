"""Steering: commands by which a person changes a run, and which of them are accepted. Pure.

A command is accepted as the event that records it (`accept`), or refused with a line. What follows
from that event is the state's business (islands/state/steering.py) and that of the next steps
(islands/scheduling), so that a run which is killed right after it goes on as the person said.

| command | takes effect |
| --- | --- |
| `AddNote`, `WithdrawNote` | in the next briefs |
| `PauseIslands`, `ResumeIslands` | when the trial under way ends |
| `StopLaunch` | when the trials under way end |
| `RestartIsland` | when the trial under way ends; the open experiment is discarded |
| `DropChange` | at once; experiments on what is dropped end with their trial |
| `SetLimits` | at the next trial |

Not covered:

- An island restarts from the base or from a change that an island kept, not from a stack, the
  consensus or a discarded candidate: these have no scores that a head needs.
- A paused island's slice takes no trial, so a stack check that has begun there waits for it.
- Minutes go on while islands are paused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from harness.contract import SetupError
from islands.events import steering as se
from islands.state.population import KeptChange
from islands.state.run_state import State

MAX_NOTE_CHARS = 2000
"""Characters of a note: every brief shows it."""

MAX_NOTES = 20
"""Notes in force at a time."""

MAX_LIMIT = 1e12
"""The largest limit: it is many times the end of any run, and its seconds are still a number."""

MIN_ID_CHARS = 4
"""Characters of a commit id that name it."""


@dataclass(frozen=True, slots=True)
class AddNote:
    """Show `text` to the agent of `island`, "" for all agents."""

    text: str
    island: str = ""
    command: Literal["note"] = "note"


@dataclass(frozen=True, slots=True)
class WithdrawNote:
    """Show note `number` no longer."""

    number: int
    command: Literal["withdraw"] = "withdraw"


@dataclass(frozen=True, slots=True)
class PauseIslands:
    """Pause `island`, "" for all."""

    island: str = ""
    command: Literal["pause"] = "pause"


@dataclass(frozen=True, slots=True)
class ResumeIslands:
    """Let `island` go on, "" for all."""

    island: str = ""
    command: Literal["resume"] = "resume"


@dataclass(frozen=True, slots=True)
class StopLaunch:
    """Stop the launch in good order."""

    command: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class RestartIsland:
    """Let `island` go on from the commit whose id begins with `commit`."""

    commit: str
    island: str
    command: Literal["restart"] = "restart"


@dataclass(frozen=True, slots=True)
class DropChange:
    """Drop the change that `experiment` kept, and what is built on it."""

    experiment: int
    command: Literal["drop"] = "drop"


@dataclass(frozen=True, slots=True)
class SetLimits:
    """Set limits by name; None lifts one."""

    limits: Mapping[se.LimitName, float | None]
    command: Literal["limits"] = "limits"

    def __post_init__(self) -> None:
        """Raise SetupError for nan and inf: JSON writes null for them, which lifts the limit."""
        for name, value in self.limits.items():
            if value is not None and not math.isfinite(value):
                raise _no_limit(name, value)


SteeringCommand = (
    AddNote
    | WithdrawNote
    | PauseIslands
    | ResumeIslands
    | StopLaunch
    | RestartIsland
    | DropChange
    | SetLimits
)

_COMMAND: TypeAdapter[SteeringCommand] = TypeAdapter(
    Annotated[SteeringCommand, Field(discriminator="command")]
)


def encode_command(command: SteeringCommand) -> bytes:
    """Return `command` as JSON."""
    return _COMMAND.dump_json(command)


def decode_command(data: bytes | str) -> SteeringCommand:
    """Return the command that `encode_command` wrote. Raises SetupError on anything else."""
    try:
        return _COMMAND.validate_json(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, wrong["loc"]))
        raise SetupError(f"not a steering command: {where}: {wrong['msg']}") from None


def accept(  # noqa: PLR0911 - one case for each command
    state: State, command: SteeringCommand, request: str, *, running: bool
) -> se.Command:
    """Return the event that records `command`, whose id is `request`.

    `running`: whether a launch is under way. Raises SetupError, in one line, where the command
    cannot be carried out.
    """
    match command:
        case AddNote(text, island):
            return _note(state, text, island, request)
        case WithdrawNote(number):
            if number not in state.steering.notes:
                known = ", ".join(f"{n}" for n in state.steering.notes) or "none"
                raise SetupError(f"note {number}: no such note; notes in force: {known}")
            return se.NoteWithdrawn(number, request)
        case PauseIslands(island):
            return se.IslandsPaused(_to_pause(state, island), request)
        case ResumeIslands(island):
            return se.IslandsResumed(_to_resume(state, island), request)
        case StopLaunch():
            return _stop(state, request, running=running)
        case RestartIsland(commit, island):
            return _restart(state, commit, island, request)
        case DropChange(number):
            return se.ChangeDropped(number, _to_drop(state, number).commit, request)
        case SetLimits(limits):
            return _limits(limits, request)


def said(event: se.Steered) -> str:  # noqa: C901, PLR0911 - one case for each kind
    """Return in one line what a person said, or what came of it."""
    match event:
        case se.NoteAdded(number, text, island):
            to = f"the agent of {island}" if island else "all agents"
            return f"note {number} to {to}: {' '.join(text.split())}"
        case se.NoteWithdrawn(number):
            return f"note {number} is withdrawn"
        case se.IslandsPaused(islands):
            return f"paused: {', '.join(islands)}"
        case se.IslandsResumed(islands):
            return f"resumed: {', '.join(islands)}"
        case se.StopAsked():
            return "asked to stop when the trials under way end"
        case se.RestartAsked(island, commit):
            return f"{island} is to restart from {commit[:10]}"
        case se.IslandRestarted(island, old):
            return f"{island} restarted from {event.new[:10]}, its head was {old[:10]}"
        case se.ChangeDropped(number):
            return f"#{number} dropped, with what is built on it"
        case se.LimitsSet(limits):
            return f"limits set: {', '.join(_limit(*one) for one in limits.items())}"
        case se.ProgramRevised(commit, changes):
            return f"program.md of {commit[:10]} counts from now on: {'; '.join(changes)}"


def _limit(name: se.LimitName, value: float | None) -> str:
    shown = "none" if value is None else f"{value:g}"
    return f"{name.replace('_', ' ')} {shown}"


def restarted(state: State, island: str) -> se.IslandRestarted | None:
    """Return the restart that a person asked of `island` and that is still due, if any."""
    commit = state.steering.restarts.get(island)
    if commit is None:
        return None
    changes = _changes_up_to(state, commit)
    heads = (state.run.base, *(change.commit for change in changes))
    numbers = tuple(change.experiment for change in changes)
    origins = tuple(change.origin for change in changes)
    return se.IslandRestarted(island, state.islands[island].head, heads, numbers, origins)


def _note(state: State, text: str, island: str, request: str) -> se.NoteAdded:
    if island:
        _known(state, island)
    text = text.strip()
    if not text:
        raise SetupError("a note needs words: swarm note 'try shorter warmups'")
    if len(text) > MAX_NOTE_CHARS:
        raise SetupError(
            f"a note has at most {MAX_NOTE_CHARS} characters and this one {len(text)}: every brief"
            " shows it; what takes longer belongs into program.md"
        )
    if not all(char.isprintable() or char in "\n\t" for char in text):
        raise SetupError("a note is plain text: take out its control characters")
    steering = state.steering
    if len(steering.notes) >= MAX_NOTES:
        raise SetupError(
            f"{MAX_NOTES} notes are in force: withdraw one with swarm note --withdraw N"
        )
    return se.NoteAdded(steering.last_note + 1, text, island, request)


def _to_pause(state: State, island: str) -> tuple[str, ...]:
    if island:
        _known(state, island)
    islands = tuple(
        name for name in state.islands if island in {"", name} and name not in state.steering.paused
    )
    if not islands:
        raise SetupError(f"{island or 'every island'} is paused already")
    return islands


def _to_resume(state: State, island: str) -> tuple[str, ...]:
    if island:
        _known(state, island)
    paused = state.steering.paused
    islands = tuple(name for name in state.islands if island in {"", name} and name in paused)
    if not islands:
        hint = "; `swarm launch` resumes a stopped run" if state.stopped else ""
        raise SetupError(f"{island or 'no island'} is {'not ' if island else ''}paused{hint}")
    return islands


def _stop(state: State, request: str, *, running: bool) -> se.StopAsked:
    if not running:
        raise SetupError(f"run {state.run.run} is not running: there is nothing to stop")
    if state.steering.stop_asked:
        raise SetupError(f"run {state.run.run} is stopping already")
    return se.StopAsked(request)


def _restart(state: State, commit: str, island: str, request: str) -> se.RestartAsked:
    _known(state, island)
    full = _head_called(state, commit)
    if full == state.islands[island].head and island not in state.steering.restarts:
        raise SetupError(f"{full[:10]} is the head of {island} already")
    return se.RestartAsked(island, full, request)


def _head_called(state: State, commit: str) -> str:
    """Return the base or the kept change whose id begins with `commit`."""
    run = state.run
    heads = [run.base, *(kept.commit for kept in state.keeps.values())]
    found = [head for head in heads if head.startswith(commit)]
    if len(commit) >= MIN_ID_CHARS and len(found) == 1:
        return found[0]
    if len(commit) < MIN_ID_CHARS or found:
        raise SetupError(f"{commit}: give more characters of the commit's id")
    if any(bad.startswith(commit) for bad in state.quarantines.commits):
        raise SetupError(f"{commit}: quarantined; no island can go on from it")
    if parts := _measured_together(state, commit):
        numbers = ", ".join(f"#{part}" for part in parts)
        raise SetupError(
            f"{commit}: holds {numbers} together, which no island kept as its head; name the"
            " commit of one of them"
        )
    raise SetupError(
        f"{commit}: not the base of {run.run} and kept by none of its islands; `swarm lineage"
        " --kept` shows what was"
    )


def _measured_together(state: State, commit: str) -> tuple[int, ...]:
    """Return the changes in the stack or consensus whose id begins with `commit`, () for none."""
    made = [(judged.commit, judged.parts) for judged in state.stacks.judged]
    if (consensus := state.promotions.consensus) is not None:
        made += [(one, consensus.parts) for one in consensus.changes]
    return next((parts for one, parts in made if one.startswith(commit)), ())


def _to_drop(state: State, number: int) -> KeptChange:
    kept = state.keeps.get(number)
    if kept is not None:
        return kept
    if number in state.quarantines.experiments:
        raise SetupError(f"#{number} is quarantined already")
    if number > state.experiments or number < 1:
        raise SetupError(f"#{number}: no such experiment in {state.run.run}")
    raise SetupError(f"#{number} is not kept, so nothing is built on it: there is nothing to drop")


def _limits(limits: Mapping[se.LimitName, float | None], request: str) -> se.LimitsSet:
    if not limits:
        raise SetupError("name a limit: --minutes, --trials, --usd, --tokens, --stop-at or --stall")
    for name, value in limits.items():
        if value is None or name == "stop_at":
            continue
        if not 0 < value <= MAX_LIMIT or (name in se.COUNTS and value % 1):
            raise _no_limit(name, value)
    return se.LimitsSet(limits, request)


def _no_limit(name: str, value: float) -> SetupError:
    option = f"--{name.replace('_', '-')}"
    kind = "whole number" if name in se.COUNTS and math.isfinite(value) and value > 0 else "number"
    bound = f"up to {MAX_LIMIT:g}" if MAX_LIMIT < value < math.inf else "above zero"
    return SetupError(f"{option} {value:g}: a limit is a {kind} {bound}, or none")


def _changes_up_to(state: State, head: str) -> list[KeptChange]:
    """Return the kept changes that `head` is built on, itself included, oldest first."""
    by_commit = {kept.commit: kept for kept in state.keeps.values()}
    changes = list[KeptChange]()
    while head in by_commit:
        changes.append(by_commit[head])
        head = by_commit[head].parent
    return changes[::-1]


def _known(state: State, island: str) -> None:
    if island not in state.islands:
        names = ", ".join(state.islands) or "none yet"
        raise SetupError(f"{island!r}: no such island; islands of {state.run.run}: {names}")
