"""What a night's keeps and claims were worth, told by the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from islands import events as ev
from islands.records import NULL
from islands.state.run_state import State
from swarm.results.selection import best_island, total_gain
from swarm.simulation.simulated_run import SimulatedRun


@dataclass(frozen=True, slots=True)
class Reported:
    """What a run would bring home: a commit, the experiments that it claims, and their gain.

    `gain` over the base is as the run claims it, `error` the standard error that it states.
    """

    commit: str
    changes: tuple[int, ...] = ()
    gain: float = 0.0
    error: float = 0.0


def reported(state: State) -> Reported:
    """Return what is best of a run: its last judged stack or an island's head, by their claims.

    It is the base where nothing was kept.
    """
    if not any(island.kept for island in state.islands.values()):
        return Reported(state.run.base)
    island = best_island(state, "")
    stack = state.stacks.judged[-1] if state.stacks.judged else None
    if stack and stack.gain and stack.gain.mean > (state.gain(island) or 0.0):
        return Reported(stack.commit, stack.parts, stack.gain.mean, stack.gain.noise)
    gain = total_gain(state, island)
    changes = tuple(change.experiment for change in island.kept)
    return Reported(island.head, changes, gain.mean, gain.noise)


@dataclass(frozen=True, slots=True)
class Tally:
    """One night in numbers.

    `gain` is the reported commit's true one. An unreal keep is worth nothing or less on the head
    that it was kept on, an unreal claim nothing or less in the commit that is reported. `nulls`
    are proposals that do exactly nothing. `spent` are the trials that discards cost, the head's
    share in them included. `own_nulls` are the nulls that the run itself proposed, and count among
    nothing else. `alarms` counts the slices that were set apart, `false_alarms` those of
    them that did not drift; `caught_up` how often an island went to another's head.
    """

    gain: float
    claimed: float
    error: float
    trials: int
    proposals: int
    keeps: int
    unreal_keeps: int
    claims: int
    unreal_claims: int
    nulls: int
    null_keeps: int
    discards: int
    spent: int
    own_nulls: int = 0
    own_null_keeps: int = 0
    alarms: int = 0
    false_alarms: int = 0
    caught_up: int = 0


@dataclass(slots=True)
class _Count:
    """What is counted as the events go by; an experiment's gain is over its parent."""

    night: SimulatedRun
    commits: dict[int, tuple[str, str]] = field(default_factory=dict)
    gains: dict[int, float] = field(default_factory=dict)
    trials: Counter[int] = field(default_factory=Counter)
    kept: list[int] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
    own: set[int] = field(default_factory=set)
    apart: list[str] = field(default_factory=list)
    caught_up: int = 0

    def take(self, event: ev.Event) -> None:
        """Take in the next event."""
        match event:
            case ev.ProposalReceived() if event.agent == NULL:
                self.own.add(event.experiment)
            case ev.CandidateAdmitted() | ev.CandidateRebased() if event.experiment not in self.own:
                self.commits[event.experiment] = (event.parent, event.commit)
                self.gains[event.experiment] = self.night.gain(event.parent, event.commit)
            case ev.TrialEnded():
                self.trials[event.started.experiment] += 1
            case ev.VerdictReached() if event.experiment not in self.own:
                ended = self.kept if event.verdict == "keep" else self.discarded
                ended.append(event.experiment)
            case ev.SliceQuarantined():
                self.apart.append(event.slice)
            case ev.HeadAdopted():
                self.caught_up += 1
            case _:
                pass

    def worth(self, experiment: int, commit: str) -> float:
        """Return what `commit` would truly lose without what `experiment` changed."""
        changes = self.night.branches.changes
        parent, own = map(changes, self.commits[experiment])
        added, whole = set(own).difference(parent), changes(commit)
        return self.night.world.gain([each for each in whole if each not in added], whole)


def tally(night: SimulatedRun) -> Tally:
    """Return `night` in numbers."""
    count = _Count(night)
    for event in night.events:
        count.take(event)
    drift = night.world.conditions.drift
    home, nulls = reported(night.state), {n for n, gain in count.gains.items() if gain == 0.0}
    return Tally(
        gain=night.gain(night.state.run.base, home.commit),
        claimed=home.gain,
        error=home.error,
        trials=night.state.trials,
        proposals=len(count.gains),
        keeps=len(count.kept),
        unreal_keeps=sum(count.gains[each] <= 0.0 for each in count.kept),
        claims=len(home.changes),
        unreal_claims=sum(count.worth(each, home.commit) <= 0.0 for each in home.changes),
        nulls=len(nulls),
        null_keeps=len(nulls.intersection(count.kept)),
        discards=len(count.discarded),
        spent=sum(count.trials[each] for each in count.discarded),
        own_nulls=night.state.nulls.tried,
        own_null_keeps=night.state.nulls.kept,
        alarms=len(count.apart),
        false_alarms=sum(drift is None or name != drift.slice for name in count.apart),
        caught_up=count.caught_up,
    )


_OF_HOME = frozenset({"gain", "claimed", "error", "claims", "unreal_claims"})
"""What a tally says of the reported commit alone."""


def best(runs: Sequence[Tally]) -> Tally:
    """Return runs that know nothing of each other as one night: what claims most is reported."""
    home = max(runs, key=lambda run: run.claimed)
    counts = {key.name for key in fields(Tally)} - _OF_HOME
    return replace(home, **{name: sum(getattr(run, name) for run in runs) for name in counts})
