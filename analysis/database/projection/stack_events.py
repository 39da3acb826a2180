"""The events that heads and stacks are made of, word for word in the record.

An ablation is a fold of these (analysis/questions/ablation.py): some thousand events of a run's
million, which are read from here in a moment instead of from the whole ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, TypeAlias

from duckdb import DuckDBPyConnection
from pydantic import Field, TypeAdapter

from islands import events as ev
from islands.events import steering as se
from islands.stacking.state import PURPOSES

TABLE = "stack_events"

_Always: TypeAlias = (
    ev.RunOpened
    | ev.RunResumed
    | ev.IslandOpened
    | ev.IslandReassigned
    | ev.HeadAdopted
    | ev.CommitQuarantined
    | ev.ConsensusMoved
    | ev.StackCheckStarted
    | ev.StackCheckAssembled
    | ev.StackCheckEnded
    | se.IslandRestarted
)

_Sometimes: TypeAlias = (
    ev.VerdictReached | ev.CommitChecked | ev.TrialStarted | ev.TrialEnded | ev.TrialVoided
)


@cache
def _stack_event() -> TypeAdapter[_Always | _Sometimes]:
    """Return what reads these kinds only: for all of them it takes 40 ms longer to build."""
    return TypeAdapter(Annotated[_Always | _Sometimes, Field(discriminator="kind")])


def is_stack_event(event: ev.Event) -> bool:
    """Return whether `event` says something of heads, kept changes, stacks or the consensus."""
    match event:
        case ev.VerdictReached():
            return event.verdict == "keep" and not event.null
        case ev.CommitChecked():
            return event.stack > 0
        case ev.TrialStarted():
            return event.purpose in PURPOSES
        case ev.TrialEnded() | ev.TrialVoided():
            return event.started.purpose in PURPOSES
    return isinstance(event, _Always)


def stack_events(con: DuckDBPyConnection) -> Iterator[ev.Event]:
    """Yield the stack events of a record in the order in which they happened."""
    for (body,) in con.execute(f"SELECT event FROM {TABLE} ORDER BY rowid").fetchall():  # noqa: S608 - ours
        yield _stack_event().validate_json(body)
