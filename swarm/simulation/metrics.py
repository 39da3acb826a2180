"""The true worth of a simulated run's keeps and claims."""

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
class ReportedResult:
    """The commit that a run would merge, and what the run claims about it.

    - `changes`: experiments whose changes it claims
    - `gain`: claimed gain over the base, in units of the score
    - `error`: standard error that the run states for it
    """

    commit: str
    changes: tuple[int, ...] = ()
    gain: float = 0.0
    error: float = 0.0


def reported_result(state: State) -> ReportedResult:
    """Return the better by its claim of the last judged stack and the best island's head.

    It is the base where nothing was kept.
    """
    if not any(island.kept for island in state.islands.values()):
        return ReportedResult(state.run.base)
    island = best_island(state, "")
    stack = state.stacks.judged[-1] if state.stacks.judged else None
    if stack and stack.gain and stack.gain.mean > (state.gain(island) or 0.0):
        return ReportedResult(stack.commit, stack.parts, stack.gain.mean, stack.gain.noise)
    gain = total_gain(state, island)
    changes = tuple(change.experiment for change in island.kept)
    return ReportedResult(island.head, changes, gain.mean, gain.noise)


@dataclass(frozen=True, slots=True)
class RunTally:
    """One run in numbers. Gains are in units of the score.

    A keep is false if it is worth nothing or less on the head that it was kept on, a claim if it is
    worth nothing or less in the reported commit.

    - `gain`: true gain of the reported commit
    - `claimed`, `error`: its claimed gain and the standard error stated for it
    - `trials`, `proposals`, `keeps`, `claims`, `discards`: counts of the run
    - `nulls`: proposals that happen to do exactly nothing, `null_keeps` of them kept
    - `discard_trials`: trials that discards cost, the head's included
    - `own_nulls`: proposals that the run itself made do nothing; they count among nothing else
    - `alarms`: slices quarantined, `false_alarms` of them without drift
    - `caught_up`: how often an island adopted another's head
    """

    gain: float
    claimed: float
    error: float
    trials: int
    proposals: int
    keeps: int
    false_keeps: int
    claims: int
    false_claims: int
    nulls: int
    null_keeps: int
    discards: int
    discard_trials: int
    own_nulls: int = 0
    own_null_keeps: int = 0
    alarms: int = 0
    false_alarms: int = 0
    caught_up: int = 0


@dataclass(slots=True)
class _Counter:
    """Counts events of a run.

    - `commits`: parent and commit of each candidate
    - `gains`: true gain of each candidate over its parent
    - `trials`: trials of each experiment, candidate and head
    - `own_nulls`: experiments that the run itself made do nothing
    - `quarantined`: slices, in order
    """

    run: SimulatedRun
    commits: dict[int, tuple[str, str]] = field(default_factory=dict)
    gains: dict[int, float] = field(default_factory=dict)
    trials: Counter[int] = field(default_factory=Counter)
    kept: list[int] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
    own_nulls: set[int] = field(default_factory=set)
    quarantined: list[str] = field(default_factory=list)
    caught_up: int = 0

    def add(self, event: ev.Event) -> None:
        """Count the next event."""
        match event:
            case ev.ProposalReceived() if event.agent == NULL:
                self.own_nulls.add(event.experiment)
            case ev.CandidateAdmitted() | ev.CandidateRebased() if (
                event.experiment not in self.own_nulls
            ):
                self.commits[event.experiment] = (event.parent, event.commit)
                self.gains[event.experiment] = self.run.gain(event.parent, event.commit)
            case ev.TrialEnded():
                self.trials[event.started.experiment] += 1
            case ev.VerdictReached() if event.experiment not in self.own_nulls:
                ended = self.kept if event.verdict == "keep" else self.discarded
                ended.append(event.experiment)
            case ev.SliceQuarantined():
                self.quarantined.append(event.slice)
            case ev.HeadAdopted():
                self.caught_up += 1
            case _:
                pass

    def worth(self, experiment: int, commit: str) -> float:
        """Return what `commit` would truly lose without what `experiment` changed.

        What later changes undid is worth what it was when it was kept.
        """
        changes = self.run.branches.changes
        parent, candidate = map(changes, self.commits[experiment])
        added, whole = set(candidate).difference(parent), changes(commit)
        if added.isdisjoint(self.run.world.in_force(whole)):
            return self.gains[experiment]
        return self.run.world.gain([change for change in whole if change not in added], whole)


def tally(run: SimulatedRun) -> RunTally:
    """Return `run` in numbers."""
    count = _Counter(run)
    for event in run.events:
        count.add(event)
    drift, result = run.world.conditions.drift, reported_result(run.state)
    nulls = {experiment for experiment, gain in count.gains.items() if gain == 0.0}
    return RunTally(
        gain=run.gain(run.state.run.base, result.commit),
        claimed=result.gain,
        error=result.error,
        trials=run.state.trials,
        proposals=len(count.gains),
        keeps=len(count.kept),
        false_keeps=sum(count.gains[experiment] <= 0.0 for experiment in count.kept),
        claims=len(result.changes),
        false_claims=sum(count.worth(number, result.commit) <= 0.0 for number in result.changes),
        nulls=len(nulls),
        null_keeps=len(nulls.intersection(count.kept)),
        discards=len(count.discarded),
        discard_trials=sum(count.trials[experiment] for experiment in count.discarded),
        own_nulls=run.state.nulls.tried,
        own_null_keeps=run.state.nulls.kept,
        alarms=len(count.quarantined),
        false_alarms=sum(drift is None or name != drift.slice for name in count.quarantined),
        caught_up=count.caught_up,
    )


_OF_RESULT = frozenset({"gain", "claimed", "error", "claims", "false_claims"})
"""Fields of a tally that describe the reported commit alone."""


def best_of(runs: Sequence[RunTally]) -> RunTally:
    """Return independent runs as one: the largest claim is reported, counts are summed."""
    best = max(runs, key=lambda run: run.claimed)
    counts = {key.name for key in fields(RunTally)} - _OF_RESULT
    return replace(best, **{name: sum(getattr(run, name) for run in runs) for name in counts})
