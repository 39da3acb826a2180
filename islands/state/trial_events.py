"""Events of trials: starts, scores, failures and voids."""

from __future__ import annotations

from functools import singledispatch

from harness.contract import EVIDENCE, STRENGTH, Outcome
from islands import events as ev
from islands.quarantine import REASON
from islands.state.endings import close
from islands.state.lifecycle import next_state
from islands.state.population import Experiment, IslandState
from islands.state.run_facts import RunFacts


@singledispatch
def fold(event: ev.Event, facts: RunFacts) -> None:
    """Take in an event of a trial; other events change nothing here."""


@fold.register
def _trial_started(event: ev.TrialStarted, facts: RunFacts) -> None:
    facts.running[event.trial] = event
    facts.fresh.started(event)
    facts.trials_started += 1
    facts.trials += 1
    home = facts.islands[event.island]
    home.trials += 1
    home.last_active = event.recorded if home.last_active is None else home.last_active
    if event.experiment:
        _, experiment = facts.open_experiment(event.island, event.experiment)
        if home.experiment is not experiment:
            _begin(home, experiment)
        occurrence = "screened" if event.purpose == "screen" else "confirmed"
        experiment.state = next_state(experiment.state, occurrence)  # type: ignore[arg-type]  # two literals
        if event.fresh and event.commit == experiment.commit:
            check = experiment.fresh
            check.trial, check.seed, check.piece = event.trial, event.seed, event.fresh
        if occurrence == "confirmed" and not experiment.confirm_turn:
            facts.confirm_turns += 1
            experiment.confirm_turn = facts.confirm_turns


def _begin(island: IslandState, experiment: Experiment) -> None:
    """Move a candidate from the queue to measurement: one at a time, and only on the head."""
    number = experiment.number
    if island.experiment is not None:
        raise ValueError(f"experiment {number} begins before {island.experiment.number} ended")
    if experiment.parent != island.head:
        raise ValueError(f"experiment {number} is not on the head of its island")
    island.queue.remove(experiment)
    island.experiment = experiment


@fold.register
def _trial_voided(event: ev.TrialVoided, facts: RunFacts) -> None:
    trial = facts.running.pop(event.started.trial)
    facts.trials -= 1
    facts.islands[trial.island].trials -= 1
    facts.voids.voided(event, facts.run.base)


@fold.register
def _trial_ended(event: ev.TrialEnded, facts: RunFacts) -> None:
    trial = facts.running.pop(event.started.trial)
    facts.claimless += 1
    facts.voids.ended(event, facts.run.base)
    facts.contention.ended(event)
    facts.weakest_sandbox = max(facts.weakest_sandbox, event.outcome.sandbox, key=STRENGTH.index)
    if event.outcome.score is not None:
        facts.evidence = min(facts.evidence, event.outcome.evidence, key=EVIDENCE.index)
    island = facts.islands[trial.island]
    seconds = event.outcome.seconds
    island.budget_seconds += seconds.get("budget", 0.0) + seconds.get("lost", 0.0)
    if island.last_active is not None:
        island.wall, island.last_active = (
            island.wall + event.recorded - island.last_active,
            event.recorded,
        )
    if trial.purpose not in ev.ISLANDS_OWN or trial.split != "dev":
        return  # stack checks and promotions judge these; agents see nothing of them
    if event.outcome.failure is not None:
        _broke(facts, trial, event.outcome)
    elif event.outcome.score is not None:
        _scored(facts, trial, event.outcome.score)
        facts.scores.add_measures(trial, event.outcome)
        if trial.fresh:
            _, experiment = facts.open_experiment(trial.island, trial.experiment)
            experiment.fresh.parts[trial.commit] = event.outcome.parts


def _scored(facts: RunFacts, trial: ev.TrialStarted, score: float) -> None:
    experiment = facts.islands[trial.island].experiment
    facts.scores.note_slice(trial)
    facts.scores.compare_seeds(trial, score)
    if experiment is None or experiment.commit != trial.commit or not trial.experiment:
        facts.scores.add(trial, score)
    elif trial.purpose == "screen":
        _screened(facts, experiment, trial, score)
    else:
        experiment.confirmed[trial.seed] = score


def _screened(
    facts: RunFacts, experiment: Experiment, trial: ev.TrialStarted, score: float
) -> None:
    gain = facts.scores.screen_gain(experiment, trial.seed, score)
    if gain is None:
        return
    experiment.screened[trial.seed], experiment.screen_gain = score, gain
    experiment.screen_doubt = facts.sentinels.doubt(trial.slice)
    prior, noise = facts.prior(), facts.scores.noise()
    if noise.pair:
        chance = prior.chance_below(gain / noise.pair / prior.unit)
        facts.sentinels.screened(trial.slice, chance)
    unsound = experiment.parent in facts.quarantines.commits
    if experiment.null or experiment.origin or unsound:
        return  # not a sample of the agents' proposals, or not measured on a sound head
    facts.screens.add(experiment.number, gain)


def _broke(facts: RunFacts, trial: ev.TrialStarted, outcome: Outcome) -> None:
    failure = outcome.failure
    reason = f"{failure.kind}: {failure.reason}" if failure else ""
    if not trial.experiment:
        facts.broken_baseline = reason
        return
    if failure is not None and failure.kind == "invalid":
        # agents are told nothing else: details would help to evade
        told = failure.told if trial.split == "dev" else ""
        reason = f"invalid: {told}" if told else REASON
    _, experiment = facts.open_experiment(trial.island, trial.experiment)
    if trial.commit != experiment.commit:
        experiment.head_broken.add(trial.seed)
        if trial.fresh:
            experiment.fresh.forget()
        return
    experiment.state = next_state(experiment.state, "failed")
    close(facts, experiment, "failed", reason, None)
