"""Waits of an island's loop: each ends with a change or with the launch's last possible start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from harness.contract import SetupError
from islands.records import RunLimit
from islands.scheduling.island_steps import out_of_ideas
from swarm.coordinator.proposer import Proposer
from swarm.coordinator.run import Run


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of one island, whose proposals `proposer` makes."""

    run: Run
    proposer: Proposer

    async def for_change(self, seconds: float | None = None) -> RunLimit | None:
        """Wait for a change, at most so many seconds; return the limit if no trial can start.

        A trial that still runs is waited for: its outcome may end an experiment.
        """
        run, now = self.run, asyncio.get_running_loop().time()
        if run.limit is not None:  # no island is left to do what this one waits for
            return run.limit
        last = run.limits.last_start(min(run.state.run.rungs, key=lambda rung: rung.seconds))
        if last is not None and last <= now:
            if not run.state.running:
                return "minutes"
            last = None
        ends = [
            end for end in (last, None if seconds is None else now + seconds) if end is not None
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(ends, default=None)):
                await run.changes.wait()
        return run.limit

    async def for_candidate(self) -> RunLimit | None:
        """Wait for a change while a candidate may still come and could still be measured."""
        rung = self.run.state.run.rungs[0]
        limit = self.run.limits.reached(rung)
        if limit is None and not self.proposer.busy:
            limit = self.proposer.limit
            silent = self._given_up()
            islands = tuple(island.name for island in self.run.launch.islands)
            if limit is None and out_of_ideas(self.run.state, islands, silent):
                if silent:
                    raise SetupError(_nobody_answers(silent))
                limit = "ideas"
        if limit is not None:
            return limit
        try:
            async with asyncio.timeout_at(self.run.limits.last_start(rung)):
                await self.run.changes.wait()
        except TimeoutError:
            return "minutes"
        return None

    def _given_up(self) -> Mapping[str, str]:
        """Return the islands whose agents are not expected to answer any more, with the reason."""
        agents = {
            island.name: {self.run.agent(island.name, agent).name for agent in island.agents}
            for island in self.run.launch.islands
        }
        reasons = self.run.health.given_up(set().union(*agents.values()))
        return {
            name: "; ".join(reasons[agent] for agent in sorted(team))
            for name, team in agents.items()
            if team <= reasons.keys()
        }


def _nobody_answers(silent: Mapping[str, str]) -> str:
    reasons = "; ".join(dict.fromkeys(silent.values()))
    return f"no agent answers any more: {reasons}; `swarm launch` resumes the run"
