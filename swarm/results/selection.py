"""Selects what `swarm merge` merges and what `swarm promote` promotes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.contract import SetupError
from islands.promotion.attempt import PromotionRequest
from islands.promotion.state import Stack
from islands.records import Gain
from islands.state.population import IslandState
from islands.state.run_state import State

_BETTER_ERRORS = 1.645
"""Standard errors of a difference beyond which a head is better: 95 %, on one side."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What is to be merged: a commit and what it is worth."""

    head: str
    """The commit: of the consensus, or (`forced`) of an island or a stack."""
    base: str
    """The commit that `gain` is measured against."""
    parts: tuple[int, ...]
    """The experiments whose changes it holds."""
    gain: Gain
    island: str = ""
    """The island whose head it is, "" for a stack or the consensus."""
    forced: bool = False
    """Whether it was not promoted."""


def select(state: State, island: str, *, force: bool) -> MergePlan:
    """Return what `swarm merge` merges: the consensus, unless `force` says otherwise.

    With `force` that is the head of `island`, or where none is named the better of the last stack
    that a check judged and the best island's head. Nothing quarantined is among these. Raises
    SetupError where there is nothing to merge.
    """
    return _forced(state, island) if force else _consensus(state, island)


def best_island(state: State, name: str) -> IslandState:
    """Return island `name`, or where the name is empty the island with the largest gain.

    Raises SetupError where there is no such island, or it has kept nothing.
    """
    if name and name not in state.islands:
        raise SetupError(f"--island {name}: no such island; the run has {', '.join(state.islands)}")
    candidates = [state.islands[name]] if name else [*state.islands.values()]
    with_keeps = [island for island in candidates if island.kept]
    if not with_keeps:
        raise SetupError(nothing_kept(state))
    return max(with_keeps, key=lambda island: state.gain(island) or -math.inf)


def nothing_kept(state: State) -> str:
    """Return why there is no kept change at hand, and what to do, in a line."""
    lost = "what was kept was dropped or quarantined"
    what = lost if state.quarantines.has_heads else "no change was kept yet"
    return f"{what}: resume the run with `swarm launch`"


def why_quarantined(state: State, stack: Stack) -> str:
    """Return why a stack that is not sound is quarantined."""
    changes = state.promotions.changes
    parts = [changes[part].commit for part in stack.parts if part in changes]
    return state.quarantines.reason(stack.base, stack.commit, *parts)


def next_promotion(state: State) -> PromotionRequest | None:
    """Return what to promote next: the last stack judged to gain, or a head that is better."""
    promotions, stack = state.promotions, _checked_stack(state)
    if stack is not None and not _head_beats(state, stack):
        return promotions.due()
    if not any(island.kept for island in state.islands.values()):
        return None
    island = best_island(state, "")
    parts = tuple(change.experiment for change in island.kept)
    return promotions.at_next_rung(
        PromotionRequest(1, state.run.base, island.head, parts, total_gain(state, island))
    )


def total_gain(state: State, island: IslandState) -> Gain:
    """Return the sum of the kept changes' gains, with its standard error.

    Each gain was measured on pairs of its own, on seeds that had no part in choosing the change,
    and is shrunk: the errors are independent and add in squares.
    """
    gains = [change.gain for change in island.kept]
    noise = math.sqrt(math.fsum(gain.noise**2 for gain in gains))
    return Gain(state.gain(island) or 0.0, noise, sum(gain.pairs for gain in gains))


def _consensus(state: State, island: str) -> MergePlan:
    built, promotions = state.promotions.consensus, state.promotions
    if island:
        raise SetupError(
            f"--island {island}: an island's head is not promoted; run `swarm promote` and merge"
            " the consensus, or add --force-unpromoted"
        )
    if built is not None:
        gain = promotions.promotion_of(built).after
        return MergePlan(built.commit, built.base, built.parts, gain)
    best_island(state, "")  # raises where nothing was kept: then there is nothing to promote
    reason = "nothing is promoted"
    if promotions.ended:
        last = promotions.ended[-1]
        reason = f"the last promotion {last.verdict}"
        if last.number in promotions.failing:
            reason = f"the last promoted stack fails check {promotions.failing[last.number]}"
        elif not promotions.is_sound(last):
            reason = f"what was promoted last is quarantined, {why_quarantined(state, last)}"
        elif last.verdict == "transfers":
            reason = "what was promoted last is not built yet"
    raise SetupError(
        f"{reason}: measure the best stack again with `swarm promote`, or merge it as it is with"
        " `swarm merge --force-unpromoted`"
    )


def _forced(state: State, name: str) -> MergePlan:
    stack = None if name else _checked_stack(state)
    if stack is not None and not _head_beats(state, stack):
        return stack
    return _head(state, best_island(state, name))


def _checked_stack(state: State) -> MergePlan | None:
    """Return the stack that the last check came to, None if it came to none that gains.

    `observed` is of all parts, those that were dropped too: it is no gain of what stays.
    """
    judged = state.promotions.checked_stack
    if judged is None or judged[0].verdict == "conflict" or not judged[0].parts:
        return None
    stack, base = judged
    gain = stack.gain or (stack.observed if not stack.dropped else None)
    if gain is None or gain.mean <= 0:
        return None
    return MergePlan(stack.commit, base, stack.parts, gain, forced=True)


def _head_beats(state: State, stack: MergePlan) -> bool:
    """Return whether a head is better than a stack on the same base, beyond what noise explains.

    The stack was measured as a whole, the head's gain is a sum: within noise the stack stands.
    """
    if stack.base != state.run.base or not any(one.kept for one in state.islands.values()):
        return False
    head = total_gain(state, best_island(state, ""))
    noise = math.hypot(head.noise, stack.gain.noise)
    return head.mean - stack.gain.mean > _BETTER_ERRORS * noise


def _head(state: State, island: IslandState) -> MergePlan:
    parts = tuple(change.experiment for change in island.kept)
    gain = total_gain(state, island)
    return MergePlan(island.head, state.run.base, parts, gain, island.opened.island, forced=True)
