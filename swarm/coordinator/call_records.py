"""Records what calls of agents and trials can cost, before each, and what each has cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.contract import Trial
from islands import events as ev
from islands.records import Brief, Usage
from swarm.agents.llm.settings import RUN
from swarm.coordinator.run import Run


@dataclass(slots=True)
class CallRecords:
    """The ledger as the meter of model calls sees it.

    Agents are made, and call their models to be sure of them, before the run's first event: those
    calls are recorded with the first proposal, whose usage carries their cost.

    Not covered: a launch that is killed before its first proposal leaves no record of what its
    probes cost, at most about 1,200 tokens for each agent.
    """

    run: Run | None = None
    _early: list[ev.ModelCalled] = field(default_factory=list)

    def started(self, brief: Brief, usage: Usage) -> None:
        """Record the most that a proposal's calls can have cost, before the next one is made."""
        run = self._opened()
        agent = brief.agent or run.agents[brief.island].name
        run.record(ev.AgentCallStarted(brief.experiment, brief.island, agent, usage))
        early, self._early = self._early, []
        for call in early:
            run.record(call)

    def ended(self, call: ev.ModelCalled) -> None:
        """Record a call that has ended."""
        if call.experiment or call.agent == RUN:
            self._opened().record(call)
        else:
            self._early.append(call)

    def charged(self, trial: Trial, usage: Usage, over: bool) -> None:
        """Record the most that a trial's calls can have cost, where it rises, and what they did."""
        run = self._opened()
        known = run.state.calls.charges.get(trial.id, Usage())
        if over or usage.usd > known.usd or usage.tokens > known.tokens:
            experiment, island = self._asked_for(trial)
            run.record(ev.TrialCharged(trial.id, experiment, island, usage))

    def experiment_of(self, trial: Trial) -> int:
        """Return the number of the experiment that a trial is for, 0 for none."""
        return self._asked_for(trial)[0]

    def _asked_for(self, trial: Trial) -> tuple[int, str]:
        started = self._opened().state.running[trial.id]
        return started.experiment, started.island

    def _opened(self) -> Run:
        if self.run is None:
            raise ValueError("a model was asked before the run was assembled")
        return self.run
