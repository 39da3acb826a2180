"""Headlines: one line for each event that a person wants to hear of, read without a run's state.

`swarm.cli.live.describe` says more, but needs the fold of the whole ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import singledispatch
from itertools import groupby
from typing import Literal

from analysis.dashboard.keeps import OpenExperiments
from analysis.untrusted_text import first_line
from islands import events as ev
from islands.events import steering as se
from islands.steering import said

Tone = Literal["kept", "discarded", "steered", "plain", "trouble"]

MAX_TEXT = 200
"""Characters of a headline."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One line on an event.

    when: when it was recorded, UTC
    text: what happened, one printable line
    tone: a change was kept or discarded, a person steered, something went wrong, or none of
      these
    experiment: the experiment that it is about, 0 for none
    """

    when: datetime
    text: str
    tone: Tone
    experiment: int


@dataclass(frozen=True, slots=True)
class _Said:
    """A headline's text, tone and experiment."""

    text: str
    tone: Tone = "plain"
    experiment: int = 0


def headlines(events: Iterable[ev.Event]) -> Iterator[Headline]:
    """Yield the headlines of events in ledger order, hypotheses with those that were kept."""
    known = OpenExperiments()
    for event in events:
        known.take(event)
        if (one := headline(event, known.hypotheses)) is not None:
            yield one


def headline(event: ev.Event, hypotheses: Mapping[int, str]) -> Headline | None:
    """Return the headline of `event`, None where there is nothing to say.

    hypotheses: by experiment, as far as they are known
    """
    found = _said(event, hypotheses)
    if found is None:
        return None
    text = first_line(found.text)
    text = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return Headline(datetime.fromtimestamp(event.recorded, UTC), text, found.tone, found.experiment)


def brief(latest: Iterable[Headline]) -> Iterator[Headline]:
    """Yield headlines, latest first, with one line for each row of discarded experiments."""
    for tone, group in groupby(latest, key=lambda one: one.tone):
        row = list(group)
        if tone == "discarded" and len(row) > 1:
            numbers = sorted(one.experiment for one in row)
            text = f"{len(row)} discarded, #{numbers[0]} to #{numbers[-1]}"
            yield Headline(row[0].when, text, tone, 0)
        else:
            yield from row


@singledispatch
def _said(event: ev.Event, hypotheses: Mapping[int, str]) -> _Said | None:
    """Return what is said of `event`, None for nothing."""
    del event, hypotheses
    return None


@_said.register
def _verdict(event: ev.VerdictReached, hypotheses: Mapping[int, str]) -> _Said:
    who = f"{event.island} #{event.experiment}"
    gain = f"gain {event.gain.format()}" if event.gain else "no gain measured"
    if event.verdict == "discard":
        return _Said(f"{who} discarded: {gain}", "discarded", event.experiment)
    if event.null:
        text = f"{who} is an A/A test and was kept, a false keep: {gain}"
        return _Said(text, "trouble", event.experiment)
    idea = first_line(hypotheses.get(event.experiment, ""))
    return _Said(f"{who} kept: {gain}. {idea}".rstrip(" ."), "kept", event.experiment)


@_said.register
def _opened(event: ev.RunOpened, _: Mapping[int, str]) -> _Said:
    return _Said(f"run {event.run} starts on {event.target} at {event.base[:8]}")


@_said.register
def _resumed(_: ev.RunResumed, _hypotheses: Mapping[int, str]) -> _Said:
    return _Said("the run resumes")


@_said.register
def _stopped(event: ev.RunStopped, _: Mapping[int, str]) -> _Said:
    return _Said(f"the run stopped: {event.reason}")


@_said.register
def _island(event: ev.IslandOpened, _: Mapping[int, str]) -> _Said:
    return _Said(f"island {event.island} opens on {event.slice.name}, agent {event.agent}")


@_said.register
def _voided(event: ev.TrialVoided, _: Mapping[int, str]) -> _Said:
    trial = event.started
    text = f"{trial.island} trial {trial.trial} is void and runs again: {event.reason}"
    return _Said(text, experiment=trial.experiment)


@_said.register
def _failed(event: ev.TrialEnded, _: Mapping[int, str]) -> _Said | None:
    trial, failure = event.started, event.outcome.failure
    if failure is None:
        return None
    who = f"{trial.island} #{trial.experiment}" if trial.experiment else trial.island
    text = f"{who} {trial.purpose} trial failed, {failure.kind}: {failure.reason}"
    return _Said(text, experiment=trial.experiment)


@_said.register
def _refused(event: ev.ProposalRefused, _: Mapping[int, str]) -> _Said:
    text = f"{event.island} #{event.experiment} refused, {event.rule}: {event.reason}"
    return _Said(text, experiment=event.experiment)


@_said.register
def _agent_failed(event: ev.AgentFailed, _: Mapping[int, str]) -> _Said:
    text = f"{event.island} agent {event.agent} failed, {event.error_kind}: {event.reason}"
    return _Said(text, "plain" if event.error_kind == "exhausted" else "trouble")


@_said.register
def _offered(event: ev.MigrantOffered, _: Mapping[int, str]) -> _Said:
    change = f"#{event.migrant.experiment} of {event.migrant.island}"
    text = f"{event.island} #{event.experiment} tries change {change}"
    return _Said(text, experiment=event.experiment)


@_said.register
def _check_started(event: ev.StackCheckStarted, _: Mapping[int, str]) -> _Said:
    return _Said(f"stack check {event.number}: do {len(event.parts)} kept changes add up?")


@_said.register
def _check_ended(event: ev.StackCheckEnded, _: Mapping[int, str]) -> _Said:
    text = f"stack check {event.number} {event.verdict}: gain {event.observed.format()}"
    return _Said(f"{text}, interaction {event.interaction.format()}")


@_said.register
def _promotion_started(event: ev.PromotionStarted, _: Mapping[int, str]) -> _Said:
    return _Said(f"promotion {event.number}: {len(event.parts)} changes at rung {event.rung}")


@_said.register
def _promotion_ended(event: ev.PromotionEnded, _: Mapping[int, str]) -> _Said:
    return _Said(f"promotion {event.number} {event.verdict}: {event.reason}")


@_said.register
def _consensus(event: ev.ConsensusMoved, _: Mapping[int, str]) -> _Said:
    return _Said(f"the consensus holds {len(event.parts)} changes: {event.commit[:8]}", "kept")


@_said.register
def _sealed(event: ev.SealedScored, _: Mapping[int, str]) -> _Said:
    return _Said(f"sealed split: {event.commit[:8]} gains {event.gain.format()}", "kept")


@_said.register
def _commit_quarantined(event: ev.CommitQuarantined, _: Mapping[int, str]) -> _Said:
    count = len(event.commits)
    text = f"{event.commit[:8]} is invalid by trial {event.trial}: {count} commits quarantined"
    return _Said(text, "trouble")


@_said.register
def _slice_quarantined(event: ev.SliceQuarantined, _: Mapping[int, str]) -> _Said:
    return _Said(f"slice {event.slice} quarantined: {event.reason}", "trouble")


@_said.register
def _slice_released(event: ev.SliceReleased, _: Mapping[int, str]) -> _Said:
    return _Said(f"slice {event.slice} is no longer quarantined: {event.reason}")


@_said.register
def _reassigned(event: ev.IslandReassigned, _: Mapping[int, str]) -> _Said:
    return _Said(f"{event.island} now runs on slice {event.slice.name}: {event.reason}")


@_said.register
def _adopted(event: ev.HeadAdopted, _: Mapping[int, str]) -> _Said:
    return _Said(f"{event.island} adopts the head {event.new[:8]} of {event.source}")


@_said.register
def _merged(event: ev.Merged, _: Mapping[int, str]) -> _Said:
    return _Said(f"merged as {event.commit[:8]} into {event.target}", "kept")


@_said.register(se.Command | se.IslandRestarted)
def _steered(event: se.Command | se.IslandRestarted, _: Mapping[int, str]) -> _Said:
    experiment = event.experiment if isinstance(event, se.ChangeDropped) else 0
    return _Said(said(event), "steered", experiment)
