"""Steering state: notes, pauses, limits and restarts that a person asked for, folded from events.

islands/steering.py decides which command is accepted; this says what follows from those that were.
"""

from __future__ import annotations

from functools import singledispatchmethod

from islands import events as ev
from islands.events import steering as se


class Steering:
    """The fold of a run's steering events.

    - `notes`: notes in force, by number
    - `paused`: islands that are paused
    - `stop_asked`: whether this launch was asked to stop
    - `restarts`: commits from which islands are to go on, by island
    - `limits`: limits that a person set, by name; None lifts one
    - `set_now`: names of those that were set since the launch began
    - `program`: commit whose program.md counts, "" for that of the run's base
    - `requests`: commands taken, by the id of their request
    """

    def __init__(self) -> None:
        self.notes: dict[int, se.NoteAdded] = {}
        self.paused: set[str] = set()
        self.stop_asked = False
        self.restarts: dict[str, str] = {}
        self.limits: dict[se.LimitName, float | None] = {}
        self.set_now: set[se.LimitName] = set()
        self.requests: dict[str, se.Command] = {}
        self.program = ""
        self.last_note = 0

    def notes_for(self, island: str) -> tuple[str, ...]:
        """Return the notes that the agent of `island` is shown, oldest first."""
        return tuple(note.text for note in self.notes.values() if note.island in {"", island})

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Apply the next event; most are nobody's command."""

    @apply.register(ev.RunResumed | ev.RunStopped)
    def _launch_began_or_ended(self, event: ev.Event) -> None:
        del event
        self.stop_asked = False
        self.set_now.clear()

    @apply.register
    def _note_added(self, event: se.NoteAdded) -> None:
        self.requests[event.request] = event
        self.notes[event.number] = event
        self.last_note = event.number

    @apply.register
    def _note_withdrawn(self, event: se.NoteWithdrawn) -> None:
        self.requests[event.request] = event
        del self.notes[event.number]

    @apply.register
    def _islands_paused(self, event: se.IslandsPaused) -> None:
        self.requests[event.request] = event
        self.paused |= {*event.islands}

    @apply.register
    def _islands_resumed(self, event: se.IslandsResumed) -> None:
        self.requests[event.request] = event
        self.paused -= {*event.islands}

    @apply.register
    def _stop_asked(self, event: se.StopAsked) -> None:
        self.requests[event.request] = event
        self.stop_asked = True

    @apply.register
    def _restart_asked(self, event: se.RestartAsked) -> None:
        self.requests[event.request] = event
        self.restarts[event.island] = event.commit

    @apply.register
    def _island_restarted(self, event: se.IslandRestarted) -> None:
        if self.restarts.pop(event.island, "") != event.new:
            raise ValueError(f"nobody asked for {event.island} to restart from {event.new}")

    @apply.register
    def _change_dropped(self, event: se.ChangeDropped) -> None:
        self.requests[event.request] = event

    @apply.register
    def _limits_set(self, event: se.LimitsSet) -> None:
        self.requests[event.request] = event
        self.limits |= event.limits
        self.set_now |= {*event.limits}

    @apply.register
    def _program_revised(self, event: se.ProgramRevised) -> None:
        self.program = event.commit
        for name in event.limits:
            self.limits.pop(name, None)

    @apply.register
    def _commit_quarantined(self, event: ev.CommitQuarantined) -> None:
        for island in [name for name, commit in self.restarts.items() if commit in event.commits]:
            del self.restarts[island]
