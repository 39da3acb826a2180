"""The next step of an open experiment: a trial, a check, or its verdict.

Pairs are interleaved in time: on each fresh seed candidate and head run one after the other on
the island's own slice, whichever comes first changing from seed to seed.
"""

from __future__ import annotations

from dataclasses import replace

from islands import events as ev
from islands.ratchet import fresh
from islands.ratchet.acceptance import CandidateEvidence, Decision
from islands.ratchet.guards import GuardVerdict, judge_guards
from islands.ratchet.policy import RatchetPolicy
from islands.records import CheckRequest, TrialRequest
from islands.rng import seed_of
from islands.scheduling.steps import Conclude, EndFreshCheck, Step
from islands.state.population import Experiment
from islands.state.run_state import State

HEAD_FAILURES = 3
"""Number of fresh seeds on which a head may fail before the open experiment is discarded."""


def next_of_experiment(state: State, open_: Experiment, ratchet: RatchetPolicy) -> Step:
    """Return the next step of an island's open experiment, whose candidate is on the head."""
    if not open_.screened:
        return screen(state, open_)
    if open_.doubtful:
        seed = next(iter(open_.screened))
        return TrialRequest(open_.parent, seed, "sentinel", open_.number)
    if not open_.fresh.done and {open_.commit, open_.parent} <= open_.fresh.parts.keys():
        return EndFreshCheck(_fresh_checked(state, open_))
    guarded = _guarded(state, open_, ratchet)
    if guarded.state == "violated":
        return Conclude(open_.number, Decision("discard", guarded.reason))
    evidence = CandidateEvidence(
        screened=open_.screen_gain,
        pairs=state.scores.pairs(open_),
        noise=state.scores.noise(),
        steady=open_.steady,
        restless=state.moves.restless(state.islands[open_.island].slice.name),
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


def screen(state: State, open_: Experiment) -> TrialRequest:
    """Return a candidate's screening trial, on a seed that its head has a score for."""
    slice_name = state.islands[open_.island].slice.name
    seeds = state.scores.seeds_at(open_.parent, slice_name)
    if not seeds:  # its scores are void: it runs beside the candidate
        seeds = [seed_of(state.run.seed, "screen", open_.number)]
    seed = seeds[open_.number % len(seeds)]  # experiments take turns
    return TrialRequest(open_.commit, seed, "screen", open_.number)


def _guarded(state: State, open_: Experiment, ratchet: RatchetPolicy) -> GuardVerdict:
    scores, used = state.scores, _pairs_begun(open_)
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
    return _next_trial(state, open_, piece)


def _pairs_begun(open_: Experiment) -> int:
    """Return how many seeds of pairs have been used, those on which the head failed too."""
    return len(open_.confirmed.keys() | open_.head_broken)


def _fresh_piece(state: State, open_: Experiment) -> int:
    """Return the piece of fresh data that a candidate is to be scored on before it is kept.

    0 where it has passed, or as a migrant elsewhere, where nothing is kept, or no piece is left.
    """
    migrant = state.migrants.is_migrant(open_.number) and open_.origin in state.fresh.passed
    if open_.null or open_.fresh.done or migrant:
        return 0
    return state.fresh.next_piece(state.run)


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


def _next_trial(state: State, open_: Experiment, piece: int) -> TrialRequest:
    """Return the first trial of the next pair, or the second of one that only its head has run.

    The head runs first in every second pair, but never where the pair asks about a `piece`: the
    candidate is asked before any sandbox of the head has been.
    """
    used = _pairs_begun(open_)
    seed = seed_of(state.run.seed, "confirm", open_.number, used)
    begun = seed in state.scores.by_commit[open_.parent]
    if piece and not begun:
        return TrialRequest(open_.commit, seed, "confirm", open_.number, fresh=piece)
    first = open_.parent if used % 2 == 1 and not begun else open_.commit
    return TrialRequest(first, seed, "confirm", open_.number)
