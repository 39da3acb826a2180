"""The step that a person may take next, as `launch` and `status` name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from islands.records import RunLimit

if TYPE_CHECKING:  # the state takes a fifth of a second that reading a record can do without
    from islands.state.run_state import State


@dataclass(frozen=True, slots=True)
class Results:
    """What a run has come to, as far as it decides the next step."""

    merged: frozenset[str]
    """Commits whose merges are done."""
    heads: frozenset[str]
    """Heads of islands that have kept something."""
    consensus: str = ""
    """Commit of the consensus, "" for none."""
    newer: bool = False
    """Whether a change was first kept since then that no promotion has measured in a stack."""
    limit: RunLimit | None = None
    """The limit at which the last launch ended, None for none."""

    @property
    def nothing(self) -> bool:
        """Whether the run has come to nothing so far."""
        return not self.heads and not self.consensus

    @classmethod
    def of_state(cls, state: State) -> Results:
        """Return the results of a fold."""
        merged = frozenset(merge.head for merge in state.merges)
        heads = frozenset(island.head for island in state.islands.values() if island.kept)
        built, end = state.promotions.consensus, state.stopped
        limit = None if end is None else end.limit
        if built is None:
            return cls(merged, heads, limit=limit)
        since = {n for n, claim in state.stacks.kept.items() if claim.recorded > built.recorded}
        measured = {part for ended in state.promotions.ended for part in ended.parts}
        return cls(merged, heads, built.commit, bool(since - measured), limit)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Results:
        """Return the results of a record, by `analysis.questions.standing`."""
        merged = frozenset(row["head"] for row in facts["merges"])
        heads = frozenset(row["head"] for row in facts["islands"] if row["kept"])
        built, limit = facts["consensus"], facts["last"]["stop_limit"]
        if built is None:
            return cls(merged, heads, limit=limit)
        return cls(merged, heads, built["commit"], facts["kept_since"] > 0, limit)


def next_step(results: Results) -> str:
    """Return what a person may do now; what is merged is never offered again."""
    if results.consensus and results.consensus not in results.merged:
        return "`swarm report` (what was found), `swarm merge --dry-run`, then `swarm merge`"
    if results.consensus:
        promote = "`swarm promote` measures what was kept since; " if results.newer else ""
        return f"the consensus is merged; {promote}`swarm launch --new` starts from the merge"
    if results.heads - results.merged:
        return "`swarm report` (what was found), `swarm promote`, then `swarm merge`"
    if results.merged:
        return "all that was kept is merged; `swarm launch --new` starts from the merge"
    return f"`swarm lineage`; {how_to_go_on(results.limit)}"


def how_to_go_on(limit: RunLimit | None) -> str:
    """Return the command that resumes a run, with what it needs after ending at `limit`."""
    return _GO_ON.get(limit, "`swarm launch` resumes the run")


_GO_ON: Mapping[RunLimit | None, str] = {
    "trials": "`swarm launch --trials N` resumes the run for N trials more",
    "usd": "`swarm launch --max-usd USD`, with more than was spent, resumes the run",
    "tokens": "`swarm launch --max-tokens N`, with more than were used, resumes the run",
    "ideas": "`swarm launch --agent NAME` resumes the run with another agent",
}
"""Limits that a plain `swarm launch` would end at again."""
