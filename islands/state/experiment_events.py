"""Events of experiments: from a proposal to its verdict."""

from __future__ import annotations

from functools import singledispatch

from islands import events as ev
from islands.quarantine import REASON
from islands.records import NULL, Ending, Usage
from islands.state.endings import close
from islands.state.head_events import move_head
from islands.state.lifecycle import next_state
from islands.state.memory import CLAIMED
from islands.state.population import Experiment, IslandState, Nulls
from islands.state.run_facts import RunFacts

_ENDING_OF: dict[str, Ending] = {"keep": "kept", "discard": "discarded"}


@singledispatch
def fold(event: ev.Event, facts: RunFacts) -> None:
    """Take in an event of an experiment; other events change nothing here."""


@fold.register
def _proposal_received(event: ev.ProposalReceived, facts: RunFacts) -> None:
    island = facts.islands[event.island]
    _spend(island, event.usage)
    island.agent_failures_in_a_row = 0
    facts.experiments = max(facts.experiments, event.experiment)
    island.queue.append(
        Experiment(
            event.experiment,
            event.island,
            event.parent,
            event.hypothesis,
            event.notes,
            event.agent == NULL,
            event.recorded,
            origin=event.origin,
            agent=event.agent,
        )
    )


@fold.register
def _migrant_offered(event: ev.MigrantOffered, facts: RunFacts) -> None:
    facts.experiments = max(facts.experiments, event.experiment)
    facts.islands[event.island].experiment = Experiment(
        event.experiment,
        event.island,
        event.parent,
        event.migrant.hypothesis,
        {},
        origin=event.migrant.origin,
    )


@fold.register
def _agent_failed(event: ev.AgentFailed, facts: RunFacts) -> None:
    island = facts.islands[event.island]
    _spend(island, event.usage)
    facts.experiments = max(facts.experiments, event.experiment)
    if event.error_kind == "exhausted":
        island.exhausted, island.repeats_in_a_row = event.reason, 0
        return
    island.agent_failures += 1
    island.agent_failures_in_a_row += event.error_kind != "stopped"


@fold.register
def _summary_written(event: ev.SummaryWritten, facts: RunFacts) -> None:
    _spend(facts.islands[event.island], event.usage)
    facts.experiments = max(facts.experiments, event.experiment)
    facts.summary_asked_at = event.verdicts
    facts.summary = event.text or facts.summary


@fold.register
def _proposal_refused(event: ev.ProposalRefused, facts: RunFacts) -> None:
    island, experiment = facts.open_experiment(event.island, event.experiment)
    experiment.state = next_state(experiment.state, "refused")
    # a refused migrant is not the agent's failure
    if not facts.migrants.is_migrant(event.experiment):
        island.refusals_in_a_row += not event.repeats
        claimed = event.rule == CLAIMED
        island.repeats_in_a_row += bool(event.repeats) and not claimed
        island.claims_in_a_row += claimed
    experiment.repeats, experiment.claimed = event.repeats, event.rule == CLAIMED
    close(facts, experiment, "refused", f"{event.rule}: {event.reason}", None)


@fold.register
def _candidate_admitted(event: ev.CandidateAdmitted, facts: RunFacts) -> None:
    island, experiment = facts.open_experiment(event.island, event.experiment)
    experiment.state = next_state(experiment.state, "admitted")
    experiment.commit, experiment.lines = event.commit, event.added - event.removed
    experiment.code, experiment.change = event.code, event.change
    facts.scores.count_lines(event)
    island.refusals_in_a_row = island.repeats_in_a_row = island.claims_in_a_row = 0


@fold.register
def _candidate_rebased(event: ev.CandidateRebased, facts: RunFacts) -> None:
    _, experiment = facts.open_experiment(event.island, event.experiment)
    experiment.state = next_state(experiment.state, "rebased")
    facts.scores.lines.pop(experiment.commit, None)
    experiment.commit, experiment.parent = event.commit, event.parent
    experiment.lines, experiment.code = event.added - event.removed, event.code
    experiment.change = event.change
    facts.scores.count_lines(event)


@fold.register
def _candidate_dropped(event: ev.CandidateDropped, facts: RunFacts) -> None:
    _, experiment = facts.open_experiment(event.island, event.experiment)
    experiment.state = next_state(experiment.state, "dropped")
    close(facts, experiment, "outdated", event.reason, None)


@fold.register
def _commit_checked(event: ev.CommitChecked, facts: RunFacts) -> None:
    if event.stack or event.promotion:
        return  # the stack check or the promotion takes it up
    if not event.experiment:
        facts.base_checked = True
        if not event.ok:
            facts.broken_baseline = facts.broken_baseline or f"check {event.reason}"
        return
    _, experiment = facts.open_experiment(event.island, event.experiment)
    experiment.checked = event.ok
    experiment.state = next_state(experiment.state, "checked" if event.ok else "failed")
    if not event.ok:
        reason = f"check: {event.reason}"
        experiment.tail = event.tail
        close(facts, experiment, "failed", reason, None)


@fold.register
def _fresh_checked(event: ev.FreshChecked, facts: RunFacts) -> None:
    _, experiment = facts.open_experiment(event.island, event.experiment)
    facts.fresh.checked(event)
    experiment.fresh.done = event.ok
    experiment.state = next_state(experiment.state, "checked" if event.ok else "failed")
    if not event.ok:
        close(facts, experiment, "failed", REASON, None)


@fold.register
def _verdict_reached(event: ev.VerdictReached, facts: RunFacts) -> None:
    _, experiment = facts.open_experiment(event.island, event.experiment)
    experiment.state = next_state(experiment.state, event.verdict)
    facts.verdicts += not experiment.null
    if experiment.parent not in facts.quarantines.commits:
        pairs = facts.scores.pairs(experiment)
        facts.scores.learn_pairs(pairs)
        facts.screens.confirm(experiment.number, pairs)
    if experiment.null:
        facts.nulls = Nulls(facts.nulls.tried + 1, facts.nulls.kept + (event.verdict == "keep"))
        close(facts, experiment, "null", event.reason, event.gain)
        return
    if event.verdict == "keep" and event.gain is not None:
        facts.ask_again()
        move_head(facts, experiment, event.gain, simpler=event.simpler)
    close(facts, experiment, _ENDING_OF[event.verdict], event.reason, event.gain)


def _spend(island: IslandState, usage: Usage) -> None:
    island.usd += usage.usd
    island.tokens += usage.tokens
