"""Arms: who may propose on an island, and what each has cost and earned so far. Pure.

An arm is an agent, which stands for its model, with a temperament, on an island. It earns the gains
that its changes were kept for, quarantined ones left out. It costs the dollars of its calls, those
without a proposal too, those of its experiments' trials, and the wall seconds that slices spent on
these.

Not covered: null proposals, migrants and ports belong to no arm: an agent does not choose these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatchmethod
from typing import NamedTuple

from islands import events as ev
from islands.records import NULL


class ProposalArm(NamedTuple):
    """Who proposes: an agent of program.md with a temperament ("": none), on an island."""

    agent: str
    temperament: str
    island: str


@dataclass(slots=True)
class ArmTotals:
    """What an arm has cost and earned.

    asked, kept: requests for a proposal, and proposals kept
    gain: sum of the gains of what was kept, in units of the metric
    usd, seconds: dollars of its calls and trials, seconds of its trials
    """

    asked: int = 0
    kept: int = 0
    gain: float = 0.0
    usd: float = 0.0
    seconds: float = 0.0

    def add(self, other: ArmTotals) -> None:
        """Add what another arm has cost and earned."""
        self.asked += other.asked
        self.kept += other.kept
        self.gain += other.gain
        self.usd += other.usd
        self.seconds += other.seconds


class Arms:
    """The fold of a run's events into the totals of each arm."""

    def __init__(self) -> None:
        self.totals: dict[ProposalArm, ArmTotals] = {}
        self._open: dict[int, ProposalArm] = {}
        self._kept: dict[str, tuple[ProposalArm, float]] = {}
        self._charged: dict[str, float] = {}

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Apply the next event; most do not concern arms."""

    @apply.register(ev.ProposalReceived)
    @apply.register(ev.AgentFailed)
    def _answered(self, event: ev.ProposalReceived | ev.AgentFailed) -> None:
        if event.agent == NULL or event.origin:
            return
        arm = ProposalArm(event.agent, event.temperament, event.island)
        totals = self.totals.setdefault(arm, ArmTotals())
        totals.asked += 1
        totals.usd += event.usage.usd
        if isinstance(event, ev.ProposalReceived):
            self._open[event.experiment] = arm

    @apply.register
    def _trial_ended(self, event: ev.TrialEnded) -> None:
        arm = self._open.get(event.started.experiment)
        self._charged.pop(event.started.trial, None)
        if arm is not None:
            self.totals[arm].seconds += max(0.0, event.recorded - event.started.recorded)

    @apply.register
    def _trial_charged(self, event: ev.TrialCharged) -> None:
        arm = self._open.get(event.experiment)
        if arm is not None:
            self.totals[arm].usd += event.usage.usd - self._charged.get(event.trial, 0.0)
            self._charged[event.trial] = event.usage.usd

    @apply.register
    def _verdict_reached(self, event: ev.VerdictReached) -> None:
        arm = self._open.pop(event.experiment, None)
        if arm is not None and event.verdict == "keep" and event.gain is not None:
            self.totals[arm].kept += 1
            self.totals[arm].gain += event.gain.mean
            self._kept[event.commit] = arm, event.gain.mean

    @apply.register(ev.ProposalRefused)
    @apply.register(ev.CandidateDropped)
    def _never_run(self, event: ev.ProposalRefused | ev.CandidateDropped) -> None:
        self._open.pop(event.experiment, None)

    @apply.register
    def _commit_quarantined(self, event: ev.CommitQuarantined) -> None:
        for commit in event.commits:
            arm, gain = self._kept.pop(commit, (None, 0.0))
            if arm is not None:
                self.totals[arm].kept -= 1
                self.totals[arm].gain -= gain
