"""Repeats: the answer to a proposal whose change was tried before, or is being tried. No I/O.

What answers a proposal, and when it may be tried again, is decided in islands/state/memory.py.
Figures are rounded as in every brief (islands/ratchet/ladder.py).

An agent that only repeats itself has nothing left to try (swarm/coordinator/ideas_left.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from islands.ratchet.ladder import released, step
from islands.state.memory import CLAIMED, REPEAT, PastChange, Recalled
from islands.state.run_state import State


@dataclass(frozen=True, slots=True)
class Repeat:
    """Why a proposal is not tried: the rule, the experiment that it repeats, and a line."""

    rule: str
    experiment: int
    reason: str


@dataclass(frozen=True, slots=True)
class Holder:
    """A change whose admission is under way: the experiment, and its island."""

    experiment: int
    island: str

    @property
    def reason(self) -> str:
        """What an agent that proposes the same is told."""
        return f"#{self.experiment} tries the same change now, on island {self.island}"


def repeat_of(state: State, island: str, head: str, change: str, *, shared: bool) -> Repeat | None:
    """Return what a proposal of `change` on `head` repeats, None where it is to be tried."""
    open_ = state.claimed(change)
    if open_ is not None:
        return Repeat(CLAIMED, open_.number, Holder(open_.number, open_.island).reason)
    recalled = state.recall(island, change, head, shared=shared)
    if recalled is None:
        return None
    return Repeat(REPEAT, recalled.past.experiment, _answer(recalled, step(state.scores.noise())))


def _answer(recalled: Recalled, by: float) -> str:
    past, where = recalled.past, "this very head" if recalled.same_head else "a near ancestor"
    gain = f"gain {released(past.gain, by).format()}, " if past.gain else ""
    if past.ending == "kept":
        return f"kept as #{past.experiment} on island {past.island}: {gain}no need to try it again"
    return f"tried as #{past.experiment} on {where}: {gain}{_finding(past)}"


def _finding(past: PastChange) -> str:
    if past.ending == "failed":
        return f"it failed ({past.reason})"
    if past.refuted:
        return "refuted"
    return f"not shown to be better ({past.reason}), and a second try there is a second draw"
