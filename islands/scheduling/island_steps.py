"""The next step of an island, by pure functions of the state: a resumed run decides the same.

An island does two things at a time: it measures (`next_step`), and it prepares candidates
(`next_ask`). Only a candidate on the island's head is measured; one that waited while
the head moved is rebased first.

Pairs are interleaved in time: on each fresh seed candidate and head run one after the other on
the island's own slice, whichever comes first changing from seed to seed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from islands import events as ev
from islands.events import steering as se
from islands.migration import NO_MIGRATION, Migration
from islands.ratchet import fresh
from islands.ratchet.acceptance import CandidateEvidence, Decision
from islands.ratchet.guards import Guards, GuardVerdict, judge_guards, missing_guards
from islands.ratchet.policy import RatchetPolicy
from islands.records import CheckRequest, Migrant, TrialRequest
from islands.rng import seed_of
from islands.scheduling.catch_up import catch_up
from islands.state.population import Experiment, IslandState
from islands.state.run_state import State
from islands.steering import restarted

HEAD_FAILURES = 3
"""Number of fresh seeds on which a head may fail before the open experiment is discarded."""


@dataclass(frozen=True, slots=True)
class RequestProposal:
    """Ask the island's agent for a proposal on its head."""


@dataclass(frozen=True, slots=True)
class Rebase:
    """Rebase a waiting candidate onto the head `onto`, or drop it."""

    experiment: Experiment
    onto: str


@dataclass(frozen=True, slots=True)
class EnoughPending:
    """Enough candidates are ready or requested."""


@dataclass(frozen=True, slots=True)
class OfferMigrant:
    """Offer a change of another island to the head, as an experiment."""

    parent: str
    migrant: Migrant


@dataclass(frozen=True, slots=True)
class ApplyMigrant:
    """Apply the offered migrant to the head, and admit or refuse the result."""

    offered: ev.MigrantOffered


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Adopt another island's head."""

    event: ev.HeadAdopted


@dataclass(frozen=True, slots=True)
class RestartHead:
    """Go on from the commit that a person named."""

    event: se.IslandRestarted


@dataclass(frozen=True, slots=True)
class DropMigrant:
    """End an experiment that was admitted and not measured: its parent is not the head any more."""

    experiment: Experiment
    reason: str


@dataclass(frozen=True, slots=True)
class Conclude:
    """End the island's experiment with a decision: keep or discard."""

    experiment: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for another trial to end, for example one of the shared baseline."""


@dataclass(frozen=True, slots=True)
class Paused:
    """Do nothing: a person paused the island."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to measure: no candidate is ready."""


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Record an event that follows from the sentinels so far."""

    event: ev.SliceQuarantined | ev.SliceReleased


@dataclass(frozen=True, slots=True)
class EndFreshCheck:
    """Record what came of a candidate's check on fresh data."""

    event: ev.FreshChecked


@dataclass(frozen=True, slots=True)
class ReassignSlice:
    """Move the island to another slice: its slice is quarantined, or its own was released."""


@dataclass(frozen=True, slots=True)
class FailExperiment:
    """Stop: the base itself fails, for a `reason`."""

    reason: str


Step = (
    OfferMigrant
    | ApplyMigrant
    | CatchUp
    | RestartHead
    | DropMigrant
    | TrialRequest
    | CheckRequest
    | Conclude
    | Wait
    | Paused
    | Idle
    | FailExperiment
    | RecordEvent
    | EndFreshCheck
    | ReassignSlice
)


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
    return _experiment(state, open_, ratchet)


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
            return _screen(state, experiment)
    return Idle()


def _fit(state: State, island: IslandState, waiting: Experiment) -> bool:
    """Return whether a candidate is on the head and not quarantined."""
    return waiting.parent == island.head and waiting.commit not in state.quarantines.commits


def _screen(state: State, open_: Experiment) -> TrialRequest:
    seeds = state.scores.usable_seeds(open_.parent)
    seed = seeds[open_.number % len(seeds)]  # experiments take turns
    return TrialRequest(open_.commit, seed, "screen", open_.number)


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
    if sentinels.check_due(current, ratchet.sentinel_every):
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


def _experiment(state: State, open_: Experiment, ratchet: RatchetPolicy) -> Step:
    if not open_.screened:
        return _screen(state, open_)
    if not open_.fresh.done and {open_.commit, open_.parent} <= open_.fresh.parts.keys():
        return EndFreshCheck(_fresh_checked(state, open_))
    guarded = _guarded(state, open_, ratchet)
    if guarded.state == "violated":
        return Conclude(open_.number, Decision("discard", guarded.reason))
    evidence = CandidateEvidence(
        screened=open_.screen_gain,
        pairs=state.scores.pairs(open_),
        noise=state.scores.noise(),
        doubt=open_.screen_doubt,
        prior=state.prior_of(open_),
        kept=replace(state.keep_tally, turn=open_.confirm_turn),
    )
    lost = state.islands[open_.island].lost_to_simplicity
    usual = ratchet.acceptance.decide(evidence)
    decision = ratchet.simpler.decide(usual, evidence, open_.code, lost)
    if decision.verdict == "keep" and guarded.state == "open":
        decision = Decision("confirm", guarded.reason)
    second = _second_of_pair(state, open_)
    return second or _next_of(state, open_, decision)


def _guarded(state: State, open_: Experiment, ratchet: RatchetPolicy) -> GuardVerdict:
    scores, used = state.scores, len(open_.confirmed.keys() | open_.head_broken)
    if not ratchet.guards.all:
        return GuardVerdict("kept")
    head, own, base = map(scores.measures, (open_.parent, open_.commit, state.run.base))
    return judge_guards(ratchet.guards, head, own, base, last=used >= ratchet.guard_pairs)


def _next_of(state: State, open_: Experiment, decision: Decision) -> Step:
    """Return what follows from a rule's decision on an experiment whose pairs are complete."""
    if decision.verdict != "discard" and state.run.checks and not open_.checked:
        return CheckRequest(open_.commit, open_.number)
    piece = _fresh_piece(state, open_) if decision.verdict == "keep" else 0
    if decision.verdict != "confirm" and not piece:
        return Conclude(open_.number, decision)
    if len(open_.head_broken) >= HEAD_FAILURES:
        return Conclude(open_.number, Decision("discard", "the head fails on fresh seeds"))
    return _fresh_trial(state, open_, piece) if piece else _next_pair(state, open_)


def _fresh_piece(state: State, open_: Experiment) -> int:
    """Return the piece of fresh data that a candidate is to be scored on before it is kept.

    0 where it has passed, or as a migrant elsewhere, where nothing is kept, or no piece is left.
    """
    migrant = state.migrants.is_migrant(open_.number) and open_.origin in state.fresh.passed
    if open_.null or open_.fresh.done or migrant:
        return 0
    return state.fresh.next_piece(state.run)


def _fresh_trial(state: State, open_: Experiment, piece: int) -> TrialRequest:
    """Return the candidate's trial on a piece, before any sandbox of the head has been asked."""
    used = len(open_.confirmed.keys() | open_.head_broken)
    seed = seed_of(state.run.seed, "confirm", open_.number, used)
    return TrialRequest(open_.commit, seed, "confirm", open_.number, fresh=piece)


def _fresh_checked(state: State, open_: Experiment) -> ev.FreshChecked:
    """Return what came of a candidate's check, whose two trials have ended."""
    check = open_.fresh
    head, own = (check.parts[commit] for commit in (open_.parent, open_.commit))
    gains = fresh.compare(head, own, state.direction)
    return ev.FreshChecked(
        experiment=open_.number,
        island=open_.island,
        commit=open_.commit,
        parent=open_.parent,
        trial=check.trial,
        piece=check.piece,
        dev=gains.dev,
        fresh=gains.fresh,
        chance=gains.chance,
        ok=gains.holds,
    )


def _second_of_pair(state: State, open_: Experiment) -> TrialRequest | None:
    """Return the head's trial of a pair whose candidate has a score already."""
    head_scores = state.scores.by_commit[open_.parent]
    for seed in open_.confirmed:
        if seed not in head_scores and seed not in open_.head_broken:
            piece = open_.fresh.piece if seed == open_.fresh.seed else 0
            return TrialRequest(open_.parent, seed, "confirm", open_.number, fresh=piece)
    return None


def _next_pair(state: State, open_: Experiment) -> TrialRequest:
    """Return the first trial of the next pair; the head runs first in every second pair."""
    used = len(open_.confirmed.keys() | open_.head_broken)
    seed = seed_of(state.run.seed, "confirm", open_.number, used)
    if used % 2 == 1 and seed not in state.scores.by_commit[open_.parent]:
        return TrialRequest(open_.parent, seed, "confirm", open_.number)
    return TrialRequest(open_.commit, seed, "confirm", open_.number)
