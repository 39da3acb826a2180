"""What islands lend their slices to between experiments: stack checks, promotions, the consensus.

Pure: the run-level work that comes next is read off the folded ledger, as an island's own is.
"""

from __future__ import annotations

from dataclasses import dataclass

from islands import events as ev
from islands.promotion.attempt import PromotionPolicy, PromotionRequest, compared, trial_request
from islands.records import TrialRequest
from islands.rng import seed_of
from islands.stacking.check import Assemble, EndCheck
from islands.stacking.state import NEVER, StackPolicy
from islands.state.run_state import State


@dataclass(frozen=True, slots=True)
class StackStep:
    """Begin a stack check of these experiments' changes."""

    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PromoteStep:
    """Begin a promotion."""

    wish: PromotionRequest


@dataclass(frozen=True, slots=True)
class SettleMerges:
    """Record what the open promotion came to."""


@dataclass(frozen=True, slots=True)
class DraftConsensus:
    """Commit the parts of the stack that was promoted one by one."""

    promoted: ev.PromotionEnded


@dataclass(frozen=True, slots=True)
class BuildConsensus:
    """Make the consensus branch the stack that was promoted."""

    promoted: ev.PromotionEnded


@dataclass(frozen=True, slots=True)
class ScoreSealed:
    """Record what the sealed part said."""

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
    | TrialRequest
)


def next_run_step(
    state: State, name: str, policy: PromotionPolicy, stacking: StackPolicy = NEVER
) -> RunStep | None:
    """Return the run-level work that island `name` could do now, None where there is none."""
    stack = next_of_stack(state, name)
    if stack is not None:
        return stack
    parts = state.stacks.due(stacking, state.trials)
    if parts:
        return StackStep(parts)
    known = state.promotions
    promoted = known.unbuilt_promotion()
    if promoted is not None and _sound(state, promoted):
        return _consensus(state, promoted)
    if known.open is not None:
        return SettleMerges() if known.finished() else _trial(state, name)
    wish = known.due() if policy.auto else None
    return PromoteStep(wish) if wish is not None and _sound(state, wish) else None


def next_of_stack(state: State, name: str) -> RunStep | None:
    """Return what the stack check under way needs of island `name`, None for nothing."""
    return state.stacks.wanted(state.islands[name].opened.slice.name)


def _sound(state: State, stack: PromotionRequest | ev.PromotionEnded) -> bool:
    """Return whether neither the stack nor anything in it was set apart."""
    known = state.promotions.changes
    parts = {known[part].commit for part in stack.parts if part in known}
    return state.quarantines.commits.isdisjoint({stack.base, stack.commit, *parts})


def next_sealed(state: State, name: str) -> TrialRequest | ScoreSealed | None:
    """Return what island `name` could do for the consensus's one look at the sealed part."""
    known, run = state.promotions, state.run
    if known.consensus is None or known.last is None or known.sealed is not None:
        return None
    base, commit = known.consensus.base, known.consensus.commit
    seeds = [seed_of(run.seed, "sealed", k) for k in range(known.last.seeds)]
    requests = [
        trial_request(known.last, each, seed, "sealed") for seed in seeds for each in (base, commit)
    ]
    if all((each.commit, each.seed) in known.sealed_scores for each in requests):
        gain = compared(known.sealed_scores, base, commit, seeds, state.direction)
        return ScoreSealed(ev.SealedScored(commit, base, gain))
    slice_ = state.islands[name].opened.slice.name
    return known.next_sealed_trial(requests, slice_, state.running.values())


def _consensus(
    state: State, promoted: ev.PromotionEnded
) -> DraftConsensus | TrialRequest | BuildConsensus | None:
    """Return what is left to do for a promoted stack to become the consensus."""
    known = state.promotions
    if known.drafted is None or known.drafted.promotion != promoted.number:
        return DraftConsensus(promoted)
    if known.all_prefixes_tested():
        return BuildConsensus(promoted)
    left = known.untested_prefixes(state.running.values())
    seed = seed_of(state.run.seed, "consensus", promoted.number)
    return TrialRequest(left[0], seed, "promotion", check_number=promoted.number) if left else None


def _trial(state: State, name: str) -> TrialRequest | None:
    slice_ = state.islands[name].opened.slice.name
    return state.promotions.next_trial(slice_, state.running.values())
