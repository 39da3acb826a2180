"""The log of a launch: a line for each event of interest, with what the run's state knows of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch
from statistics import fmean, stdev

from analysis.event_lines import change_of, line_of, trial_name
from analysis.untrusted_text import first_line
from analysis.words import plural
from islands import events as ev
from islands.records import Gain, decimal
from islands.state.run_state import State

LEAST_LOST_S = 0.1
"""Seconds that others took of a trial from which its line says so."""


@singledispatch
def describe(event: ev.Event, state: State) -> str:
    """Return one line that tells a person of `event`, "" where it is not of interest."""
    del state
    line = line_of(event)
    return line.text if line is not None else ""


@describe.register
def island_opened(event: ev.IslandOpened, state: State) -> str:
    """Say nothing: the plan of the launch has named its islands."""
    del event, state
    return ""


@describe.register
def run_resumed(event: ev.RunResumed, state: State) -> str:
    """Say how far the run had come."""
    del event
    return f"run {state.run.run} resumes after {plural(state.trials, 'trial')}"


@describe.register
def run_stopped(event: ev.RunStopped, state: State) -> str:
    """Say why, and after how many trials."""
    return f"run stopped ({event.reason}) after {plural(state.trials, 'trial')}"


@describe.register
def trial_ended(event: ev.TrialEnded, state: State) -> str:
    """Give the score, or what failed, and the seconds of the trial's budget that it used."""
    outcome = event.outcome
    ending = f"score {outcome.score:.6g}" if outcome.score is not None else ""
    if outcome.failure is not None:
        ending = f"failed, {outcome.failure.kind}: {outcome.failure.reason}"
    lost = outcome.seconds.get("lost", 0.0)
    waited = f", others took {lost:.1f} s more" if lost >= LEAST_LOST_S else ""
    trial = f"{trial_name(event.started)}{_of(event.started, state)}"
    return f"{trial}: {ending} ({outcome.seconds.get('budget', 0.0):.1f} s{waited})"


def _of(started: ev.TrialStarted, state: State) -> str:
    """Return what a trial ran if it was not its experiment's candidate."""
    if not started.experiment:
        return "" if started.purpose in {"baseline", "sentinel"} else f" of {started.commit[:8]}"
    open_ = state.islands[started.island].experiment
    of_head = open_ is not None and open_.number == started.experiment
    return " of the head" if open_ and of_head and open_.commit != started.commit else ""


def base_score(event: ev.TrialEnded, state: State) -> str:
    """Return where the run starts, once the last baseline trial is done; "" for other trials."""
    if event.started.purpose != "baseline" or state.opened is None:
        return ""
    scores, wanted = state.scores.baseline(), len(state.scores.baseline_seeds())
    if len(scores) < wanted:
        return ""
    return f"the base scores {mean_score(scores)} on {plural(wanted, 'seed')}"


def mean_score(scores: Sequence[float]) -> str:
    """Return the mean of a commit's scores, with its standard error where there is one."""
    if len(scores) < 2:  # noqa: PLR2004 - one score has no spread
        return f"{scores[0]:.6g}"
    error = stdev(scores) / math.sqrt(len(scores))
    return Gain(fmean(scores), error, len(scores)).format().removeprefix("+")


@describe.register
def candidate_admitted(event: ev.CandidateAdmitted, state: State) -> str:
    """Give the candidate's commit, its size in lines, its hypothesis, and a migrant's source."""
    queue = [one for one in state.islands[event.island].queue if one.number == event.experiment]
    experiment = f"{event.island} #{event.experiment} {event.commit[:8]}"
    if any(one.null for one in queue):
        return f"{experiment} is an A/A test: a change that does nothing"
    size = f"(+{event.added} -{event.removed} lines)"
    offered = state.migrants.on_trial.get(event.island)
    if offered is not None and offered.experiment == event.experiment:
        return f"{experiment} {size}, {change_of(offered.migrant)}"
    return f"{experiment} {size}: {''.join(first_line(one.hypothesis) for one in queue)}"


@describe.register
def verdict_reached(event: ev.VerdictReached, state: State) -> str:
    """Give the verdict, the gain with its standard error, the reason and a new head's score."""
    told = line_of(event)
    text = told.text if told is not None else ""
    if event.verdict == "discard" or event.null:
        return text
    score = state.scores.mean(state.islands[event.island].head)
    return text if score is None else f"{text}; head scores {decimal(score, 4)}"


@describe.register
def promotion_started(event: ev.PromotionStarted, state: State) -> str:
    """Give the rung, how many changes are measured there, and how long that takes at most."""
    rung = state.run.rungs[event.rung]
    again = ", the only rung, on fresh seeds" if len(state.run.rungs) == 1 else ""
    return (
        f"promotion {event.number}: {plural(len(event.parts), 'change')} at rung {event.rung}"
        f" (depth {rung.depth}, {rung.seconds:g} s){again}; at most {event.trials} trials"
    )


@describe.register
def consensus_moved(event: ev.ConsensusMoved, state: State) -> str:
    """Name the consensus branch and what it holds."""
    branch = f"swarm/{state.run.run}/consensus"
    return f"consensus: {plural(len(event.changes), 'commit')} on {event.base[:8]}, branch {branch}"
