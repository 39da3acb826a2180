"""What an island does next: pure functions of the state, so that a resumed run goes on as it was.

An island does two things at a time: it measures (`next_step`), and it sees to it that a candidate
is ready when the slice is (`next_ask`). Only a candidate on the island's head is measured; one
that waited while the head moved is rebased first.

Pairs are interleaved in time: on each fresh seed candidate and head run one after the other on
the island's own slice, whichever comes first changing from seed to seed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import islice

from islands import events as ev
from islands.migration import NO_MIGRATION, Migration
from islands.quarantine import REASON
from islands.ratchet.acceptance import CandidateEvidence, Decision
from islands.ratchet.guards import violated_guard
from islands.ratchet.policy import RatchetPolicy
from islands.records import Migrant, TrialRequest
from islands.rng import seed_of
from islands.scheduling.catch_up import catch_up
from islands.state.population import Experiment, IslandState
from islands.state.run_state import State

HEAD_FAILURES = 3
"""Fresh seeds on which a head may fail before the experiment that met them is given up."""


@dataclass(frozen=True, slots=True)
class RequestProposal:
    """Ask the island's agent for a proposal on its head."""


@dataclass(frozen=True, slots=True)
class Rebase:
    """Make a waiting candidate anew on the head `onto`, or drop it."""

    experiment: Experiment
    onto: str


@dataclass(frozen=True, slots=True)
class EnoughPending:
    """Enough is ready or asked for."""


@dataclass(frozen=True, slots=True)
class OfferMigrant:
    """Take in a change of another island on the head: it is on trial from now on."""

    parent: str
    migrant: Migrant


@dataclass(frozen=True, slots=True)
class ApplyMigrant:
    """Apply the migrant that was taken in to the head, and see whether it may become a commit."""

    offered: ev.MigrantOffered


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Go to another island's head."""

    event: ev.HeadAdopted


@dataclass(frozen=True, slots=True)
class Conclude:
    """End the island's experiment by this decision (keep or discard)."""

    experiment: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Wait:
    """Another island's trials must end first (the baseline is shared)."""


@dataclass(frozen=True, slots=True)
class Idle:
    """No candidate is ready: the slice has nothing to measure for this island."""


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Record what follows from the record."""

    event: ev.SliceQuarantined | ev.SliceReleased


@dataclass(frozen=True, slots=True)
class ReassignSlice:
    """Let the island measure elsewhere: its slice is set apart, or its home is so no more.

    Where no slice is left, `probe` may bring its own back.
    """

    probe: TrialRequest


@dataclass(frozen=True, slots=True)
class FailExperiment:
    """The base itself fails: there is nothing to improve on."""

    reason: str


Step = (
    OfferMigrant
    | ApplyMigrant
    | CatchUp
    | TrialRequest
    | Conclude
    | Wait
    | Idle
    | FailExperiment
    | RecordEvent
    | ReassignSlice
)


def next_step(
    state: State, name: str, ratchet: RatchetPolicy, migration: Migration = NO_MIGRATION
) -> Step:
    """Return what island `name` measures next, or what follows from what it has measured.

    Between experiments it catches up with an island that is ahead, if there is one; else a migrant
    comes before the next of the agent's candidates.
    """
    news = state.sentinels.next_event()
    if news is not None:
        return RecordEvent(news)
    island = state.islands[name]
    baseline = _baseline(state)
    step = _elsewhere(state, island)
    if step is None and (baseline is None or baseline == Wait()):
        step = _sentinel(state, island, ratchet)
    if step is not None or baseline is not None:
        return step or baseline or Wait()
    if island.experiment is None:
        return _between(state, island, migration)
    offered = state.migrants.on_trial.get(name)
    if offered is not None and island.experiment.state == "proposed":
        return ApplyMigrant(offered)
    open_ = island.experiment
    if not state.quarantines.commits.isdisjoint({open_.parent, open_.commit}):
        return Conclude(open_.number, Decision("discard", REASON))
    return _experiment(state, open_, ratchet)


def next_ask(
    state: State, name: str, depth: int, asked: int = 0, taken: Collection[int] = ()
) -> RequestProposal | Rebase | EnoughPending:
    """Return what island `name` does for candidates to be ready.

    `depth` are to be under way or ready, `asked` are under way; the experiments `taken` are being
    rebased. Nothing is asked before the base has a score, which a brief shows.
    """
    island = state.islands[name]
    waiting = [each for each in island.queue if each.state == "waiting"]
    for each in waiting:
        if not _fit(state, island, each) and each.number not in taken:
            return Rebase(each, island.head)
    if state.broken_baseline or not state.scores.has(island.head):
        return EnoughPending()
    return RequestProposal() if len(waiting) + asked < depth else EnoughPending()


def _between(
    state: State, island: IslandState, migration: Migration
) -> CatchUp | OfferMigrant | TrialRequest | Idle:
    """Return what an island without an open experiment does."""
    name = island.opened.island
    ahead = catch_up(state, name, migration)
    if ahead is not None:
        return CatchUp(ahead)
    migrant = state.migrants.next_migrant(name, migration, island.heads)
    return _next_candidate(state, island) if migrant is None else OfferMigrant(island.head, migrant)


def _next_candidate(state: State, island: IslandState) -> TrialRequest | Idle:
    for each in island.queue:
        if each.state == "waiting" and _fit(state, island, each):
            return _screen(state, each)
    return Idle()


def _fit(state: State, island: IslandState, waiting: Experiment) -> bool:
    """Return whether a candidate stands on the head, and on nothing that is set apart."""
    return waiting.parent == island.head and waiting.commit not in state.quarantines.commits


def _screen(state: State, open_: Experiment) -> TrialRequest:
    known = state.scores.by_commit[open_.parent]
    seed = next(islice(known, open_.number % len(known), None))
    return TrialRequest(open_.commit, seed, "screen", open_.number)


def _elsewhere(state: State, island: IslandState) -> Step | None:
    """Return the island's move, where its slice is set apart or its home is so no more."""
    here, known = island.slice.name, state.sentinels
    if known.quarantine_reason(here):
        return ReassignSlice(anchor(state, here))
    if island.slice != island.home and not known.quarantine_reason(island.home.name):
        return ReassignSlice(anchor(state, here)) if island.experiment is None else None
    return None


def _sentinel(state: State, island: IslandState, ratchet: RatchetPolicy) -> Step | None:
    """Return the sentinel that is due on the island's slice, or on its home that is set apart."""
    here, home, known = island.slice.name, island.home.name, state.sentinels
    if not ratchet.sentinel_every:
        return None
    if known.must_check(here):
        return Wait() if anchor_runs(state, here) else anchor(state, here)
    if island.experiment is not None or anchor_runs(state, here):
        return None
    if known.check_due(here, ratchet.sentinel_every):
        return anchor(state, here)
    if known.retry_due(home, ratchet.sentinel_every) and not anchor_runs(state, home):
        return anchor(state, home)
    return None


def anchor(state: State, slice_name: str) -> TrialRequest:
    """Return the sentinel of a slice."""
    commit, seed = state.sentinels.anchor
    return TrialRequest(commit, seed, "sentinel", slice=slice_name)


def anchor_runs(state: State, slice_name: str) -> bool:
    """Return whether a sentinel, or the baseline trial that equals it, runs on a slice."""
    return any(
        trial.slice == slice_name and (trial.commit, trial.seed) == state.sentinels.anchor
        for trial in state.running.values()
    )


def _baseline(state: State) -> Step | None:
    if state.broken_baseline:
        return FailExperiment(state.broken_baseline)
    base = state.run.base
    known = state.scores.by_commit.get(base, {})
    missing = [seed for seed in state.scores.baseline_seeds() if seed not in known]
    taken = {trial.seed for trial in state.running.values() if trial.commit == base}
    for seed in missing:
        if seed not in taken:
            return TrialRequest(base, seed, "baseline")
    return Wait() if missing else None


def _experiment(state: State, open_: Experiment, ratchet: RatchetPolicy) -> Step:
    if not open_.screened:
        return _screen(state, open_)
    broken = violated_guard(
        ratchet.guards, state.scores.measures(open_.parent), state.scores.measures(open_.commit)
    )
    if broken:
        return Conclude(open_.number, Decision("discard", broken))
    evidence = CandidateEvidence(
        screened=open_.screen_gain,
        pairs=state.scores.pairs(open_),
        noise=state.scores.noise(),
        prior=state.prior_of(open_),
        kept=replace(state.keep_tally, turn=open_.confirm_turn),
    )
    decision = ratchet.acceptance.decide(evidence)
    half = _other_half(state, open_)
    if half is not None:
        return half
    if decision.verdict != "confirm":
        return _assured(state, open_, decision, ratchet)
    if len(open_.head_broken) >= HEAD_FAILURES:
        return Conclude(open_.number, Decision("discard", "the head fails on fresh seeds"))
    return _next_pair(state, open_)


def _assured(state: State, open_: Experiment, decision: Decision, ratchet: RatchetPolicy) -> Step:
    """Return the end of an experiment; before a keep a sentinel says that its slice was well."""
    where = state.islands[open_.island].slice.name
    known = state.sentinels
    if (
        decision.verdict != "keep"
        or not ratchet.sentinel_every
        or known.verified_after(where, open_.number)
    ):
        return Conclude(open_.number, decision)
    return Wait() if anchor_runs(state, where) else anchor(state, where)


def _other_half(state: State, open_: Experiment) -> TrialRequest | None:
    """Return the head's half of a pair of which the candidate has its own."""
    known = state.scores.by_commit[open_.parent]
    for seed in open_.confirmed:
        if seed not in known and seed not in open_.head_broken:
            return TrialRequest(open_.parent, seed, "confirm", open_.number)
    return None


def _next_pair(state: State, open_: Experiment) -> TrialRequest:
    """Return the next trial of the next pair: on every second one the head goes first."""
    used = len(open_.confirmed.keys() | open_.head_broken)
    seed = seed_of(state.run.seed, "confirm", open_.number, used)
    if used % 2 == 1 and seed not in state.scores.by_commit[open_.parent]:
        return TrialRequest(open_.parent, seed, "confirm", open_.number)
    return TrialRequest(open_.commit, seed, "confirm", open_.number)
