"""Events of trials: starts, scores, failures and voids."""

from __future__ import annotations

import math
from functools import singledispatch

from harness.contract import EVIDENCE, STRENGTH, Outcome
from islands import events as ev
from islands.drift.level_moves import SAME_SDS
from islands.quarantine import REASON
from islands.ratchet.noise import gain_of
from islands.ratchet.spread import far_limit
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
        occurrence = "confirmed" if event.purpose == "confirm" else "screened"
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
    facts.time_use.ended(event, facts.run.rungs)
    facts.moves.trial_ended(trial.slice)
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
    if trial.purpose == "sentinel" and trial.experiment:
        _head_repeated(facts, trial, event.outcome.score)
    if trial.purpose not in ev.ISLANDS_OWN or trial.split != "dev":
        return  # stack checks and promotions judge these; agents see nothing of them
    facts.own_trials += 1
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
    if experiment is not None and trial.experiment:
        experiment.steady &= facts.moves.steady(trial.slice)
    facts.scores.note_slice(trial, score)
    facts.scores.compare_seeds(trial, score)
    if experiment is None or experiment.commit != trial.commit or not trial.experiment:
        off = facts.scores.distance(trial.commit, score)
        if trial.experiment and experiment is not None and off > facts.scores.far:
            facts.moves.unsettle(trial.slice, off)
            experiment.steady = False
        facts.scores.add(trial, score)
    elif trial.purpose == "screen":
        _screened(facts, experiment, trial, score)
    else:
        experiment.confirmed[trial.seed] = score
    if experiment is not None and trial.purpose == "confirm":
        _compare_with_screen(facts, experiment, trial.slice)


def _compare_with_screen(facts: RunFacts, experiment: Experiment, name: str) -> None:
    """Take in that a first pair is far off what the screen showed: its slice may have moved."""
    pairs, noise = facts.scores.pairs(experiment), facts.scores.noise()
    if len(pairs) != 1 or not noise.pair:
        return
    off = abs(pairs[0] - experiment.screen_gain)
    if off > far_limit(noise.known_by) * math.sqrt(2) * noise.pair:
        facts.moves.unsettle(name, off)
        experiment.steady = False


def _screened(
    facts: RunFacts, experiment: Experiment, trial: ev.TrialStarted, score: float
) -> None:
    experiment.screened[trial.seed] = score
    gain = facts.scores.screen_gain(experiment, trial.seed, score)
    if gain is None:
        experiment.doubtful = True
        return
    name, prior, noise = trial.slice, facts.prior(), facts.scores.noise()
    unit = noise.pair * prior.unit
    others = facts.scores.beside(experiment.parent, trial.seed, name)
    error = unit * prior.head_error([other / unit for other in others]) if unit else 0.0
    facts.scores.add_screen(experiment, trial.seed, score)
    experiment.screen_gain, experiment.screen_doubt = gain - error, facts.moves.doubt(name)
    doubtful = facts.sentinels.suspicious(name)
    if doubtful:
        facts.moves.suspect(name)
        doubtful = facts.moves.may_repeat(name)
    doubtful |= facts.scores.stale(experiment.parent, trial.seed, name)
    if noise.pair:
        below = prior.chance_below(gain / unit)  # a level that moves is no error of the head's
        doubtful |= facts.moves.strange(name, below) and not facts.sentinels.exact
    experiment.doubtful = doubtful
    _learn_screen(facts, experiment)


def _head_repeated(facts: RunFacts, trial: ev.TrialStarted, score: float | None) -> None:
    """Take in a head's score beside a candidate's screening trial, None where it failed."""
    _, experiment = facts.open_experiment(trial.island, trial.experiment)
    experiment.doubtful = False
    experiment.steady &= facts.moves.steady(trial.slice)
    if score is None:
        return
    commit, seed, scores, name = trial.commit, trial.seed, facts.scores, trial.slice
    before = scores.now(commit, seed)
    if before is not None and scores.comparable(commit, seed, name):
        pair, again = scores.noise().pair, not facts.moves.steady(name)
        if facts.moves.repeated(name, score - before, pair):
            facts.sentinels.moved(name, again=again)
            epoch = scores.epoch_like(trial, score, SAME_SDS * pair)
            if epoch is not None:
                facts.sentinels.returned(name, epoch)
                facts.moves.returned(name)
                scores.restore(epoch)
            experiment.steady = epoch is not None
        else:
            facts.sentinels.answer(name)
    experiment.screen_doubt = facts.moves.doubt(name)
    scores.note_slice(trial, score)
    experiment.screen_gain = gain_of(score, experiment.screened[seed], facts.direction)
    _learn_screen(facts, experiment)


def _learn_screen(facts: RunFacts, experiment: Experiment) -> None:
    unsound = experiment.parent in facts.quarantines.commits
    if experiment.null or experiment.origin or unsound:
        return  # not a sample of the agents' proposals, or not measured on a sound head
    if experiment.steady and not experiment.doubtful:
        facts.screens.add(experiment.number, experiment.screen_gain)


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
