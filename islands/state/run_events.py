"""Events of the run: its opening, its stops, its islands' slices, and slices set apart."""

from __future__ import annotations

from collections import deque
from functools import singledispatch

from islands import events as ev
from islands.state.lifecycle import next_state
from islands.state.population import Experiment, IslandState
from islands.state.run_facts import RunFacts


@singledispatch
def fold(event: ev.Event, facts: RunFacts) -> None:
    """Take in an event of the run; other events change nothing here."""


@fold.register
def _run_opened(event: ev.RunOpened, facts: RunFacts) -> None:
    facts.opened = event
    facts.scores.open(event)


@fold.register
def _run_resumed(event: ev.RunResumed, facts: RunFacts) -> None:  # noqa: ARG001 - no fields needed
    facts.stopped, facts.claimless = None, 0
    facts.ask_again()
    for island in facts.islands.values():
        island.last_active = None  # no slice was used since a coordinator was killed


@fold.register
def _run_stopped(event: ev.RunStopped, facts: RunFacts) -> None:
    facts.stopped = event
    for island in facts.islands.values():
        island.last_active = None  # no slice is used until the run is resumed


@fold.register
def _merged(event: ev.Merged, facts: RunFacts) -> None:
    facts.merges.append(event)


@fold.register
def _island_opened(event: ev.IslandOpened, facts: RunFacts) -> None:
    facts.islands[event.island] = IslandState(event, event.head, event.slice, event.slice)


@fold.register
def _island_reassigned(event: ev.IslandReassigned, facts: RunFacts) -> None:
    island = facts.islands[event.island]
    island.slice = event.slice
    if event.permanent:
        island.home = event.slice


@fold.register
def _slice_quarantined(event: ev.SliceQuarantined, facts: RunFacts) -> None:
    for trial in event.trials:
        _withdraw(facts, trial)
    void = {trial.experiment for trial in event.trials}
    for island in facts.islands.values():
        if island.experiment is not None and island.experiment.number in void:
            _start_over(island.experiment)
    for discard in event.discards:
        _uncount_discard(facts.islands[discard.island], discard.experiment)
    void |= {discard.experiment for discard in event.discards}
    facts.memory.drop(void)
    facts.attempts.drop(void)
    facts.screens.drop(void)


def _withdraw(facts: RunFacts, trial: ev.VoidedTrial) -> None:
    facts.trials -= 1
    facts.islands[trial.island].trials -= 1
    facts.scores.withdraw(trial)


def _uncount_discard(island: IslandState, number: int) -> None:
    """Uncount a void discard; agents are no longer shown it."""
    island.endings["discarded"] -= 1
    island.endings["void"] = island.endings.get("void", 0) + 1
    others = [attempt for attempt in island.recent_attempts if attempt.experiment != number]
    island.recent_attempts = deque(others, maxlen=island.recent_attempts.maxlen)


def _start_over(experiment: Experiment) -> None:
    """Clear the scores of an open experiment, which starts over."""
    experiment.state = next_state(experiment.state, "voided")
    experiment.fresh.forget()
    experiment.doubtful, experiment.steady, experiment.screen_doubt = False, True, 0.0
    for scores in (experiment.screened, experiment.confirmed, experiment.head_broken):
        scores.clear()
