"""Run-level steps that islands execute between experiments: stack checks, promotions, consensus.

Pure functions of the state: a resumed run decides the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from islands import events as ev
from islands.promotion.attempt import PromotionPolicy, PromotionRequest, compared, trial_request
from islands.records import CheckRequest, TrialRequest
from islands.rng import seed_of
from islands.stacking.check import Assemble, EndCheck
from islands.stacking.state import NEVER, StackPolicy
from islands.state.run_state import State


@dataclass(frozen=True, slots=True)
class StackStep:
    """Start a stack check of the changes of the experiments `parts`."""

    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PromoteStep:
    """Start the promotion that `request` asks for."""

    request: PromotionRequest


@dataclass(frozen=True, slots=True)
class SettleMerges:
    """Record the result of the open promotion."""


@dataclass(frozen=True, slots=True)
class DraftConsensus:
    """Commit the parts of the promoted stack one by one."""

    promoted: ev.PromotionEnded


@dataclass(frozen=True, slots=True)
class BuildConsensus:
    """Move the consensus branch to the promoted stack."""

    promoted: ev.PromotionEnded


@dataclass(frozen=True, slots=True)
class ScoreSealed:
    """Record the gain on the sealed split."""

    scored: ev.SealedScored


RunStep = (
    StackStep
    | Assemble
    | EndCheck
    | PromoteStep
    | SettleMerges
    | DraftConsensus
    | BuildConsensus
    | ScoreSealed
    | CheckRequest
    | TrialRequest
)


def next_run_step(
    state: State, name: str, policy: PromotionPolicy, stacking: StackPolicy = NEVER
) -> RunStep | None:
    """Return the run-level step that island `name` could execute now, None if there is none."""
    stack = next_of_stack(state, name)
    if stack is not None:
        return stack
    parts = state.stacks.due(stacking, state.trials)
    if parts:
        return StackStep(parts)
    promotions = state.promotions
    promoted = promotions.unbuilt_promotion()
    if promoted is not None:
        return _consensus(state, promoted)
    if promotions.open is not None:
        return SettleMerges() if promotions.finished() else _trial(state, name)
    request = promotions.due() if policy.auto else None
    return None if request is None else PromoteStep(request)


def next_of_stack(state: State, name: str) -> RunStep | None:
    """Return the step of the open stack check that island `name` can execute, None for none."""
    return state.stacks.wanted(state.islands[name].slice.name)


def next_sealed(state: State, name: str) -> TrialRequest | ScoreSealed | None:
    """Return the next step of the consensus's only sealed query for island `name`, None to wait.

    It is made at the rung and on as many seeds as the promotion that the consensus is built from.
    """
    promotions, run = state.promotions, state.run
    consensus = promotions.consensus
    if consensus is None or promotions.sealed is not None:
        return None
    started = promotions.starts[consensus.promotion]
    base, commit = consensus.base, consensus.commit
    seeds = [seed_of(run.seed, "sealed", k) for k in range(started.seeds)]
    requests = [
        trial_request(started, side, seed, "sealed") for seed in seeds for side in (base, commit)
    ]
    scores = promotions.sealed_scores
    if all((request.commit, request.seed) in scores for request in requests):
        gain = compared(scores, base, commit, seeds, state.direction)
        return ScoreSealed(ev.SealedScored(commit, base, gain))
    slice_ = state.islands[name].slice.name
    return promotions.next_sealed_trial(requests, slice_, state.running.values())


def _consensus(
    state: State, promoted: ev.PromotionEnded
) -> CheckRequest | DraftConsensus | TrialRequest | BuildConsensus | None:
    """Return the next step that makes a promoted stack the consensus, None to wait for trials.

    A stack that was put together or rebased for the promotion must pass the problem's checks.
    """
    promotions = state.promotions
    if state.run.checks and promoted.commit not in promotions.checked:
        return CheckRequest(promoted.commit, promotion=promoted.number)
    if promotions.drafted is None or promotions.drafted.promotion != promoted.number:
        return DraftConsensus(promoted)
    if promotions.all_prefixes_tested():
        return BuildConsensus(promoted)
    commits = promotions.untested_prefixes(state.running.values())
    if not commits:
        return None
    seed = seed_of(state.run.seed, "consensus", promoted.number)
    return TrialRequest(commits[0], seed, "promotion", check_number=promoted.number)


def _trial(state: State, name: str) -> TrialRequest | None:
    slice_ = state.islands[name].slice.name
    return state.promotions.next_trial(slice_, state.running.values())
