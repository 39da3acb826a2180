"""Records what agents' calls to models can cost, before each, and what each has cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from islands import events as ev
from islands.records import Brief, Usage
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
        if call.experiment:
            self._opened().record(call)
        else:
            self._early.append(call)

    def _opened(self) -> Run:
        if self.run is None:
            raise ValueError("a proposal was asked for before the run was assembled")
        return self.run
