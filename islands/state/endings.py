"""Endings of experiments: what an ended one leaves behind."""

from __future__ import annotations

from islands.records import Attempt, Ending, Gain, Migrant
from islands.state.attempts import EndedAttempt
from islands.state.lifecycle import has_ended
from islands.state.memory import PastChange
from islands.state.population import Experiment
from islands.state.run_facts import RunFacts


def close(
    facts: RunFacts,
    experiment: Experiment,
    ending: Ending,
    reason: str,
    gain: Gain | None,
) -> None:
    """Close an ended experiment. Raises ValueError if its state is not an end."""
    island = facts.islands[experiment.island]
    if not has_ended(experiment.state):
        raise ValueError(f"experiment {experiment.number} is {experiment.state}, not ended")
    if island.experiment is experiment:
        island.experiment = None
    else:
        island.queue.remove(experiment)
    if island.experiment is None and not island.queue:
        island.exhausted = ""  # how they ended may leave more to try
    change = None
    if gain is not None and not experiment.null:
        change = Migrant(
            experiment.number,
            experiment.origin or experiment.number,
            experiment.island,
            experiment.parent,
            experiment.commit,
            experiment.hypothesis,
            gain,
        )
    facts.migrants.experiment_ended(experiment.number, ending, reason, change)
    if ending != "kept":
        facts.promotions.forget(experiment.number)
    facts.forget(experiment.commit)
    facts.forget(experiment.parent)
    island.endings[ending] = island.endings.get(ending, 0) + 1
    if experiment.null:
        return  # agents never learn of null proposals
    _remember(facts, experiment, ending, reason, gain)
    answer = facts.memory.of(experiment.repeats)
    attempt = Attempt(
        experiment.number,
        experiment.island,
        experiment.hypothesis,
        experiment.notes,
        ending,
        reason,
        answer.gain if answer else gain,
        experiment.tail,
        experiment.repeats,
        experiment.claimed,
    )
    island.recent_attempts.append(attempt)
    facts.attempts.add(EndedAttempt(attempt, experiment.commit, experiment.parent))


def _remember(
    facts: RunFacts,
    experiment: Experiment,
    ending: Ending,
    reason: str,
    gain: Gain | None,
) -> None:
    """Add its change to the memory of changes, unless its parent is quarantined."""
    island = facts.islands[experiment.island]
    past = PastChange(
        experiment.number,
        experiment.island,
        experiment.commit,
        experiment.parent,
        island.held,
        ending,
        reason,
        gain,
    )
    if experiment.parent not in facts.quarantines.commits:
        facts.memory.add(experiment.change, past)
