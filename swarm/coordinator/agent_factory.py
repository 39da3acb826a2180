"""Makes the agents of a launch, by island and name, and asks each once whether it answers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from swarm.agents.base import Agent, Probed, Summariser, Writing
from swarm.agents.external.settings import ExternalSettings
from swarm.agents.llm.settings import ModelSettings
from swarm.agents.mutator import MoveHistory, Mutator
from swarm.agents.plain_sampling import IID, PlainSampling
from swarm.agents.questions import RunQuestions
from swarm.coordinator.launch_plan import Launch
from swarm.coordinator.shared_gateway import SharedGateway
from swarm.project.program import Program
from swarm.project.schema.agents import MutatorSection


async def make_teams(
    program: Program, launch: Launch, shared: SharedGateway, answers: RunQuestions
) -> Mapping[str, Mapping[str, Agent]]:
    """Return the agents of each island by name."""
    learned = defaultdict[str, MoveHistory](MoveHistory)
    teams: dict[str, dict[str, Agent]] = {island.name: {} for island in launch.islands}
    others: list[tuple[str, str]] = []
    for island, name in ((each.name, name) for each in launch.islands for name in each.agents):
        if name != IID and isinstance(program.agents[name], MutatorSection):
            teams[island][name] = Mutator(name, history=learned[name])
        elif name != IID:
            others.append((island, name))
    if not others:
        return teams
    # most launches need no HTTP client
    from swarm.agents.external.factory import Workplace, make_coding_agent  # noqa: PLC0415
    from swarm.agents.llm.factory import make_agent  # noqa: PLC0415

    gateway, calls, budget = await shared.get(), shared.calls, shared.budget
    limiters, folder = gateway.limiters, launch.folder
    place = Workplace(program.settings.genome, folder.path / "agents", folder.scratch / "agents")
    for island, name in others:
        given = program.agents[name]
        if isinstance(given, ModelSettings):
            model = make_agent(name, given, limiters, budget, calls.started, calls.ended, answers)
            shared.stack.push_async_callback(model.close)
            # it may not ask what was tried
            teams[island].setdefault(IID, PlainSampling(replace(model, questions=None)))
            teams[island][name] = model
        elif isinstance(given, ExternalSettings):
            coder = make_coding_agent(name, given, gateway, place, calls.started, answers)
            if given.model is not None and not given.model.login:
                model = make_agent(name, given.model, limiters, budget, calls.started, calls.ended)
                shared.stack.push_async_callback(model.close)
                coder.writer = model
            teams[island][name] = coder
    return teams


def writer_of(teams: Mapping[str, Mapping[str, Agent]]) -> Summariser | None:
    """Return the model that sums up what the run has taught: the first there is."""
    agents = [agent for team in teams.values() for agent in team.values()]
    writers = [agent.writer for agent in agents if isinstance(agent, Writing)]
    return next((writer for writer in writers if writer is not None), None)


async def probe(agents: Iterable[Agent]) -> None:
    """Call each language model once. Raises SetupError for what only the user can fix."""
    by_name = {agent.name: agent for agent in agents}
    probes = [agent.probe() for agent in by_name.values() if isinstance(agent, Probed)]
    results = await asyncio.gather(*probes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
