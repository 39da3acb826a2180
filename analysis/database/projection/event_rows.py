"""Rows of the tables other than the lineage's, from one event each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import singledispatch
from typing import Any

from analysis.database.projection.put import Row
from analysis.database.projection.tables import TABLES
from islands import events as ev
from islands.events import steering as se
from islands.records import NULL, Gain, Usage
from islands.steering import said


@singledispatch
def rows(event: ev.Event) -> Iterable[tuple[str, Row]]:
    """Return the rows of `event` in tables other than the lineage's, each with its table.

    A row of a table with keys is merged into the existing one: columns that it does not name keep
    their values. Raises TypeError for anything but an event.
    """
    raise TypeError(f"not an event of a run: {event!r}")


@rows.register(ev.MigrantOffered | ev.ProposalRefused | ev.CandidateAdmitted | ev.VerdictReached)
@rows.register(ev.CandidateRebased | ev.CandidateDropped | ev.ConsensusDrafted)
def _no_effect(event: ev.Event) -> Iterable[tuple[str, Row]]:
    del event
    return ()  # the lineage holds all of it


@rows.register
def _run_opened(event: ev.RunOpened) -> Iterable[tuple[str, Row]]:
    opened = asdict(event)
    opened["branch"] = opened.pop("target")
    yield "run", {name: opened[name] for name in TABLES["run"].columns}
    yield "coordinators", {"action": "opened", "recorded": event.recorded}


@rows.register
def _run_resumed(event: ev.RunResumed) -> Iterable[tuple[str, Row]]:
    yield "coordinators", {"action": "resumed", "recorded": event.recorded}


@rows.register
def _run_stopped(event: ev.RunStopped) -> Iterable[tuple[str, Row]]:
    end = {"reason": event.reason, "stop_limit": event.limit}
    yield "coordinators", {"action": "stopped", **end, "recorded": event.recorded}


@rows.register
def _island_opened(event: ev.IslandOpened) -> Iterable[tuple[str, Row]]:
    start = {"branch": event.branch, "base": event.head, "recorded": event.recorded}
    slice_ = {"slice": event.slice.name, "device": event.slice.kind}
    yield "islands", {"island": event.island, "agent": event.agent, **start, **slice_}


@rows.register
def _proposal_received(event: ev.ProposalReceived) -> Iterable[tuple[str, Row]]:
    if event.agent != NULL:  # no agent was asked for a null proposal
        yield "agent_calls", _agent_call(event, event.usage)


@rows.register
def _agent_call_started(event: ev.AgentCallStarted) -> Iterable[tuple[str, Row]]:
    del event
    return ()  # its answer records the actual cost


@rows.register
def _agent_failed(event: ev.AgentFailed) -> Iterable[tuple[str, Row]]:
    error = {"error_kind": event.error_kind, "reason": event.reason}
    yield "agent_calls", _agent_call(event, event.usage) | error


@rows.register
def _model_called(event: ev.ModelCalled) -> Iterable[tuple[str, Row]]:
    called = asdict(event) | {"experiment": event.experiment or None, "duration": event.seconds}
    yield "model_calls", {name: called[name] for name in TABLES["model_calls"].columns}


@rows.register
def _summary_written(event: ev.SummaryWritten) -> Iterable[tuple[str, Row]]:
    told = {"verdicts": event.verdicts, "text": event.text, "reason": event.reason}
    who = {"experiment": event.experiment, "island": event.island, "agent": event.agent}
    cost = {name: value for name, value in asdict(event.usage).items() if name != "calls"}
    yield "summaries", {**who, **told, **cost, "recorded": event.recorded}
    call = {**who, **asdict(event.usage), "error_kind": "summary", "reason": event.reason}
    yield "agent_calls", {**call, "recorded": event.recorded}


@rows.register
def _trial_started(event: ev.TrialStarted) -> Iterable[tuple[str, Row]]:
    asked = ("trial", "island", "commit", "purpose", "seed", "rung", "slice", "split", "share")
    row: dict[str, Any] = {name: getattr(event, name) for name in asked}
    row |= {"experiment": event.experiment or None, "check_number": event.check_number or None}
    yield "trials", {**row, "state": "running", "started": event.recorded}


@rows.register
def _trial_charged(event: ev.TrialCharged) -> Iterable[tuple[str, Row]]:
    usage = event.usage
    yield "trials", {"trial": event.trial, "usd": usage.usd, "tokens": usage.tokens}


@rows.register
def _trial_voided(event: ev.TrialVoided) -> Iterable[tuple[str, Row]]:
    end = {"cause": event.cause, "reason": event.reason, "ended": event.ended}
    yield "trials", {"trial": event.started.trial, "state": "voided", **end}


@rows.register
def _trial_ended(event: ev.TrialEnded) -> Iterable[tuple[str, Row]]:
    outcome = event.outcome
    measured = ("score", "evidence", "harness", "sandbox", "seconds", "peak_mib", "facts")
    ended = {name: getattr(outcome, name) for name in (*measured, "claims", "digests")}
    ended |= {"ended": event.recorded}
    if outcome.failure is None:
        yield "trials", {"trial": event.started.trial, "state": "scored", **ended}
        return
    failed = {"failure": outcome.failure.kind, "reason": outcome.failure.reason}
    failed["tail"] = outcome.tail
    yield "trials", {"trial": event.started.trial, "state": "failed", **ended, **failed}


@rows.register
def _commit_checked(event: ev.CommitChecked) -> Iterable[tuple[str, Row]]:
    failed = {"command": event.command or None, "reason": event.reason or None}
    yield (
        "checks",
        {
            "experiment": event.experiment or None,
            "island": event.island,
            "commit": event.commit,
            "passed": event.ok,
            "tail": event.tail or None,
            "duration": event.seconds,
            "recorded": event.recorded,
            **failed,
        },
    )


@rows.register
def _fresh_checked(event: ev.FreshChecked) -> Iterable[tuple[str, Row]]:
    row = {name: getattr(event, name) for name in ("experiment", "island", "commit", "trial")}
    row |= {"piece": event.piece, "passed": event.ok, "chance": event.chance}
    row |= {"gain": event.fresh.mean, "noise": event.fresh.noise}
    row |= {"dev_gain": event.dev.mean, "dev_noise": event.dev.noise}
    yield "fresh_checks", {**row, "recorded": event.recorded}


@rows.register
def _stack_check_started(event: ev.StackCheckStarted) -> Iterable[tuple[str, Row]]:
    started = {"check_number": event.number, "base": event.base, "parts": event.parts}
    yield "stacks", {**started, "recorded": event.recorded}


@rows.register
def _stack_check_assembled(event: ev.StackCheckAssembled) -> Iterable[tuple[str, Row]]:
    result = {"commit": event.commit or None, "conflict": event.conflict or None}
    arm = {"check_number": event.number, "parts": event.parts, "recorded": event.recorded}
    yield "arms", arm | result


@rows.register
def _stack_check_ended(event: ev.StackCheckEnded) -> Iterable[tuple[str, Row]]:
    row = {name: getattr(event, name) for name in ("verdict", "commit", "parts", "dropped")}
    row |= {"culprits": json.dumps(event.culprits), "lines_saved": event.lines_saved}
    for column in ("expected", "observed", "interaction"):
        gain: Gain = getattr(event, column)
        row |= {column: gain.mean, f"{column}_noise": gain.noise}
    row |= _measured(event.gain or event.observed)
    yield "stacks", {"check_number": event.number, **row, "ended": event.recorded}


@rows.register
def _promotion_started(event: ev.PromotionStarted) -> Iterable[tuple[str, Row]]:
    started = {name: getattr(event, name) for name in ("rung", "base", "commit", "parts")}
    lower = {"lower_gain": event.before.mean, "lower_noise": event.before.noise}
    yield (
        "promotions",
        {"check_number": event.number, **started, **lower, "recorded": event.recorded},
    )


@rows.register
def _promotion_ended(event: ev.PromotionEnded) -> Iterable[tuple[str, Row]]:
    row: dict[str, Any] = {"verdict": event.verdict, "reason": event.reason}
    row |= {"better_hidden": event.hidden, **_measured(event.after)}
    if event.agreement is not None:
        tau = event.agreement
        row |= {"tau": tau.tau, "tau_low": tau.low, "tau_high": tau.high}
    if event.reached:
        row |= {"target_score": event.target, "reached": event.reached}
        row |= {"reached_low": event.low, "reached_high": event.high}
    yield "promotions", {"check_number": event.number, **row, "ended": event.recorded}
    for part in event.contenders:
        change = {"check_number": event.number, "experiment": part.experiment, "kinds": part.kinds}
        lower = {"lower_gain": part.before.mean, "lower_noise": part.before.noise}
        end = {"verdict": part.verdict, "ended": event.recorded}
        yield "contenders", {**change, **lower, **_measured(part.after), **end}


@rows.register
def _consensus_moved(event: ev.ConsensusMoved) -> Iterable[tuple[str, Row]]:
    moved = {name: getattr(event, name) for name in ("base", "commit", "parts", "changes")}
    cause = {"check_number": event.promotion, "before": event.old or None}
    yield "consensus", {**cause, **moved, "recorded": event.recorded}


@rows.register
def _sealed_scored(event: ev.SealedScored) -> Iterable[tuple[str, Row]]:
    pair = {"commit": event.commit, "base": event.base}
    yield "sealed", {**pair, **_measured(event.gain), "recorded": event.recorded}


@rows.register
def _commit_quarantined(event: ev.CommitQuarantined) -> Iterable[tuple[str, Row]]:
    cause = {"trial": event.trial, "recorded": event.recorded}
    yield "quarantines", cause | {"commit": event.commit, "reason": event.reason}
    for head in event.heads:
        moved = {"island": head.island, "head": head.old, "fallback": head.new or None}
        yield "fallbacks", cause | moved


@rows.register
def _slice_quarantined(event: ev.SliceQuarantined) -> Iterable[tuple[str, Row]]:
    cause = {"slice": event.slice, "reason": event.reason, "recorded": event.recorded}
    void = {"trials": len(event.trials), "discarded": len(event.discards)}
    yield (
        "slice_quarantines",
        {"action": "quarantined", "good": event.good or None, **cause, **void},
    )
    for trial in event.trials:
        ended = {"state": "voided", "cause": "drift", "reason": event.reason}
        yield "trials", {"trial": trial.trial, **ended}


@rows.register
def _slice_released(event: ev.SliceReleased) -> Iterable[tuple[str, Row]]:
    cause = {"slice": event.slice, "reason": event.reason, "recorded": event.recorded}
    yield "slice_quarantines", {"action": "released", **cause}


@rows.register
def _island_reassigned(event: ev.IslandReassigned) -> Iterable[tuple[str, Row]]:
    if event.permanent:
        slice_ = {"slice": event.slice.name, "device": event.slice.kind}
        yield "islands", {"island": event.island, **slice_}


@rows.register
def _head_adopted(event: ev.HeadAdopted) -> Iterable[tuple[str, Row]]:
    moved = {"island": event.island, "origin_island": event.source, "parts": event.changes}
    heads = {"before": event.old, "head": event.new}
    yield "catch_ups", {**moved, **heads, "recorded": event.recorded}


@rows.register
def _merged(event: ev.Merged) -> Iterable[tuple[str, Row]]:
    merged = {"island": event.island or None, "head": event.head, "merge": event.commit}
    how = {"how": event.how, "forced": event.forced}
    yield "merges", {**merged, "branch": event.target, **how, "recorded": event.recorded}


@rows.register(se.Steered)
def _steered(event: se.Steered) -> Iterable[tuple[str, Row]]:
    named = {"action": event.kind, "reason": said(event), "recorded": event.recorded}
    match event:
        case se.NoteAdded(number, text, island):
            row = {**named, "island": island or None, "note": number, "reason": text}
            yield "steering", row
        case se.NoteWithdrawn(number):
            yield "steering", {**named, "note": number}
        case se.IslandsPaused(islands) | se.IslandsResumed(islands):
            for island in islands:
                yield "steering", {**named, "island": island}
        case se.RestartAsked(island, commit):
            yield "steering", {**named, "island": island, "head": commit}
        case se.ChangeDropped(number, commit):
            yield "steering", {**named, "experiment": number, "head": commit}
        case se.IslandRestarted(island, old):
            yield "steering", {**named, "island": island, "before": old, "head": event.new}
        case _:
            yield "steering", named


def _measured(gain: Gain) -> dict[str, Any]:
    return {"gain": gain.mean, "noise": gain.noise, "pairs": gain.pairs}


def _agent_call(event: ev.ProposalReceived | ev.AgentFailed, usage: Usage) -> dict[str, Any]:
    call: dict[str, Any] = {
        "experiment": event.experiment,
        "island": event.island,
        "agent": event.agent,
        "temperament": event.temperament or None,
    }
    spent = ("calls", "tokens_in", "tokens_out", "usd", "tokens_untold")
    return call | {name: getattr(usage, name) for name in spent} | {"recorded": event.recorded}
