"""The next step of an island, by pure functions of the state: a resumed run decides the same.

An island does two things at a time: it measures (`next_step`), and it prepares candidates
(`next_ask`). Only a candidate on the island's head is measured; one that waited while
the head moved is rebased first.

islands/scheduling/experiment_steps.py says what an open experiment needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from islands.migration import NO_MIGRATION, Migration
from islands.ratchet.acceptance import Decision
from islands.ratchet.guards import Guards, missing_guards
from islands.ratchet.policy import RatchetPolicy
from islands.records import CheckRequest, TrialRequest
from islands.scheduling.catch_up import catch_up
from islands.scheduling.experiment_steps import next_of_experiment, screen
from islands.scheduling.steps import (
    ApplyMigrant,
    CatchUp,
    Conclude,
    DropMigrant,
    EnoughPending,
    FailExperiment,
    Idle,
    OfferMigrant,
    Paused,
    ReassignSlice,
    Rebase,
    RecordEvent,
    RequestProposal,
    RestartHead,
    Step,
    Wait,
)
from islands.state.population import Experiment, IslandState
from islands.state.run_state import State
from islands.steering import restarted


def next_step(
    state: State, name: str, ratchet: RatchetPolicy, migration: Migration = NO_MIGRATION
) -> Step:
    """Return the next step of island `name`.

    Between experiments the island first goes where a person sent it, else catches up with one that
    is ahead, then takes a migrant, then the next of its agent's candidates.
    """
    if name in state.steering.paused:
        return Paused()
    slice_event = state.sentinels.next_event()
    if slice_event is not None:
        return RecordEvent(slice_event)
    island = state.islands[name]
    baseline = _baseline(state, ratchet.guards)
    step = _elsewhere(state, island) or _probe(state, island)
    if step is None and (baseline is None or baseline == Wait()):
        step = _sentinel(state, island, ratchet)
    if step is not None or baseline is not None:
        return step or baseline or Wait()
    if island.experiment is None:
        return _between(state, island, migration)
    return _open(state, island.experiment, ratchet)


def _open(state: State, open_: Experiment, ratchet: RatchetPolicy) -> Step:
    """Return the next step of an island's open experiment."""
    offered = state.migrants.on_trial.get(open_.island)
    if offered is not None and open_.state == "proposed":
        return ApplyMigrant(offered)
    if reason := _abandoned(state, open_):
        if open_.state == "waiting":
            return DropMigrant(open_, reason)
        return Conclude(open_.number, Decision("discard", reason))
    return next_of_experiment(state, open_, ratchet)


def _abandoned(state: State, open_: Experiment) -> str:
    """Return why the open experiment ends without a judgement, "" if it does not."""
    commits = {open_.parent, open_.commit}
    if not state.quarantines.commits.isdisjoint(commits):
        return state.quarantines.reason(*commits)
    restart = state.steering.restarts.get(open_.island)
    return "" if restart is None else f"a person restarted the island from {restart[:10]}"


def next_ask(
    state: State, name: str, depth: int, requested: int = 0, rebasing: Collection[int] = ()
) -> RequestProposal | Rebase | EnoughPending:
    """Return the next action that prepares candidates for island `name`.

    `depth` is how many should be requested or ready, `requested` how many are requested; the
    experiments `rebasing` are being rebased. Nothing is requested before the head has a score,
    which briefs show.
    """
    island = state.islands[name]
    if name in state.steering.paused:
        return EnoughPending()
    waiting = [experiment for experiment in island.queue if experiment.state == "waiting"]
    for experiment in waiting:
        if not _fit(state, island, experiment) and experiment.number not in rebasing:
            return Rebase(experiment, island.head)
    if state.broken_baseline or not state.scores.has(island.head):
        return EnoughPending()
    if island.exhausted and (requested or name not in state.migrants.ports):
        return EnoughPending()
    return RequestProposal() if len(waiting) + requested < depth else EnoughPending()


def out_of_ideas(state: State, names: Iterable[str], silent: Collection[str] = ()) -> bool:
    """Return whether the agents of all islands `names` have nothing left to try, or are `silent`.

    Nothing is under way or paused either that could change that.
    """
    if state.running or state.stacks.open is not None or state.promotions.open is not None:
        return False
    names = [*names]
    if not state.steering.paused.isdisjoint(names):
        return False
    islands = [(state.islands[name], name in silent) for name in names]
    return all(
        (island.exhausted or is_silent) and island.experiment is None and not island.queue
        for island, is_silent in islands
    )


def _between(
    state: State, island: IslandState, migration: Migration
) -> RestartHead | CatchUp | OfferMigrant | TrialRequest | Idle:
    """Return the next step of an island without an open experiment."""
    name = island.opened.island
    restart = restarted(state, name)
    if restart is not None:
        return RestartHead(restart)
    adoption = catch_up(state, name, migration)
    if adoption is not None:
        return CatchUp(adoption)
    migrant = state.migrants.next_migrant(name, migration, island.heads)
    return _next_candidate(state, island) if migrant is None else OfferMigrant(island.head, migrant)


def _next_candidate(state: State, island: IslandState) -> TrialRequest | Idle:
    for experiment in island.queue:
        if experiment.state == "waiting" and _fit(state, island, experiment):
            return screen(state, experiment)
    return Idle()


def _fit(state: State, island: IslandState, waiting: Experiment) -> bool:
    """Return whether a candidate is on the head and not quarantined."""
    return waiting.parent == island.head and waiting.commit not in state.quarantines.commits


def _elsewhere(state: State, island: IslandState) -> Step | None:
    """Return the island's move if its slice is quarantined, or if its own was released."""
    current, sentinels = island.slice.name, state.sentinels
    if sentinels.quarantine_reason(current):
        return ReassignSlice()
    if island.slice != island.home and not sentinels.quarantine_reason(island.home.name):
        # an open experiment ends on the slice that it began on
        return ReassignSlice() if island.experiment is None else None
    return None


def _probe(state: State, island: IslandState) -> Step | None:
    """Return the base's trial on a slice where others are void again and again."""
    slice_name = island.slice.name
    if not state.voids.probe_due(slice_name) or not state.scores.has(state.run.base):
        return None
    return Wait() if anchor_runs(state, slice_name) else anchor(state, slice_name)


def _sentinel(state: State, island: IslandState, ratchet: RatchetPolicy) -> Step | None:
    """Return the sentinel that is due on the island's slice, or on its own quarantined one."""
    current, home, sentinels = island.slice.name, island.home.name, state.sentinels
    if not ratchet.sentinel_every or island.experiment is not None:
        return None
    if sentinels.must_check(current):
        return Wait() if anchor_runs(state, current) else anchor(state, current)
    if anchor_runs(state, current):
        return None
    if sentinels.check_due(current, ratchet.sentinel_every, state.scores.noise().pair):
        return anchor(state, current)
    if sentinels.retry_due(home, ratchet.sentinel_every) and not anchor_runs(state, home):
        return anchor(state, home)
    return None


def anchor(state: State, slice_name: str) -> TrialRequest:
    """Return the request for a sentinel trial on a slice."""
    commit, seed = state.sentinels.anchor
    return TrialRequest(commit, seed, "sentinel", slice=slice_name)


def anchor_runs(state: State, slice_name: str) -> bool:
    """Return whether a sentinel, or the baseline trial that equals it, runs on a slice."""
    return any(
        trial.slice == slice_name and (trial.commit, trial.seed) == state.sentinels.anchor
        for trial in state.running.values()
    )


def _baseline(state: State, guards: Guards) -> Step | None:
    if state.broken_baseline:
        return FailExperiment(state.broken_baseline)
    base = state.run.base
    if state.run.checks and not state.base_checked:
        return CheckRequest(base)
    scores = state.scores.by_commit.get(base, {})
    missing = [seed for seed in state.scores.baseline_seeds() if seed not in scores]
    if scores and (unknown := missing_guards(guards, state.scores.measures(base))):
        return FailExperiment(unknown)
    running = {trial.seed for trial in state.running.values() if trial.commit == base}
    for seed in missing:
        if seed not in running:
            return TrialRequest(base, seed, "baseline")
    return Wait() if missing else None
