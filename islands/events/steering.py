"""Steering events: what a person said to a run, and what came of it. Imported by `events`.

Each event that records a command has the id of the `request` that it answers, so that a command
whose coordinator was killed before it replied can find out that it was taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

LimitName = Literal["minutes", "trials", "usd", "tokens", "stop_at", "stall"]
"""What a person may limit while a run goes on."""

LIMIT_NAMES: tuple[LimitName, ...] = get_args(LimitName)

COUNTS = frozenset[LimitName]({"trials", "tokens", "stall"})
"""Limits that are whole numbers."""


@dataclass(frozen=True, slots=True)
class NoteAdded:
    """A person wrote a sentence to the agents.

    number: number of the note, from 1
    text: the person's own words
    island: whose agent is shown it, "" for all
    request: id of the command
    """

    number: int
    text: str
    island: str = ""
    request: str = ""
    recorded: float = 0.0
    kind: Literal["note_added"] = "note_added"


@dataclass(frozen=True, slots=True)
class NoteWithdrawn:
    """A note is no longer shown.

    number: number of the note
    request: id of the command
    """

    number: int
    request: str = ""
    recorded: float = 0.0
    kind: Literal["note_withdrawn"] = "note_withdrawn"


@dataclass(frozen=True, slots=True)
class IslandsPaused:
    """Islands begin no trial and ask no agent until they are resumed.

    islands: their names
    request: id of the command
    """

    islands: tuple[str, ...]
    request: str = ""
    recorded: float = 0.0
    kind: Literal["islands_paused"] = "islands_paused"


@dataclass(frozen=True, slots=True)
class IslandsResumed:
    """Paused islands go on.

    islands: their names
    request: id of the command
    """

    islands: tuple[str, ...]
    request: str = ""
    recorded: float = 0.0
    kind: Literal["islands_resumed"] = "islands_resumed"


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A person asked the launch to stop.

    request: id of the command
    """

    request: str = ""
    recorded: float = 0.0
    kind: Literal["stop_asked"] = "stop_asked"


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """A person asked an island to go on from another commit.

    island: its name
    commit: the base, or a commit that an island has kept
    request: id of the command
    """

    island: str
    commit: str
    request: str = ""
    recorded: float = 0.0
    kind: Literal["restart_asked"] = "restart_asked"


@dataclass(frozen=True, slots=True)
class IslandRestarted:
    """An island went on from another commit, as a person had asked.

    island: its name
    old: its head before
    heads: the new head and the heads that it is built on, oldest first
    changes: experiments that kept these, the base left out
    origins: for each of `changes`, the experiment that first made it
    """

    island: str
    old: str
    heads: tuple[str, ...]
    changes: tuple[int, ...]
    origins: tuple[int, ...]
    recorded: float = 0.0
    kind: Literal["island_restarted"] = "island_restarted"

    @property
    def new(self) -> str:
        """The head that the island went on from."""
        return self.heads[-1]


@dataclass(frozen=True, slots=True)
class ChangeDropped:
    """A person dropped a kept change; what is built on it is quarantined with it.

    experiment: number of the experiment that kept it
    commit: the change
    request: id of the command
    """

    experiment: int
    commit: str
    request: str = ""
    recorded: float = 0.0
    kind: Literal["change_dropped"] = "change_dropped"


@dataclass(frozen=True, slots=True)
class LimitsSet:
    """A person set limits that hold from now on, whatever program.md says.

    limits: by name; None lifts the limit
    request: id of the command
    """

    limits: Mapping[LimitName, float | None]
    request: str = ""
    recorded: float = 0.0
    kind: Literal["limits_set"] = "limits_set"


@dataclass(frozen=True, slots=True)
class ProgramRevised:
    """A resumed run took up what a person had changed in program.md.

    commit: the commit whose program.md counts from now on
    changes: what differs from before, a phrase each
    limits: limits among them: they hold over what was set by a command before
    """

    commit: str
    changes: tuple[str, ...]
    limits: tuple[LimitName, ...] = ()
    recorded: float = 0.0
    kind: Literal["program_revised"] = "program_revised"


Command = (
    NoteAdded
    | NoteWithdrawn
    | IslandsPaused
    | IslandsResumed
    | StopAsked
    | RestartAsked
    | ChangeDropped
    | LimitsSet
)
"""Events that record a person's command."""

Steered = Command | IslandRestarted | ProgramRevised
"""All steering events."""
