"""Teams and temperaments of a launch's islands, from program.md."""

from __future__ import annotations

from swarm.agents.llm.temperaments import spread
from swarm.agents.plain_sampling import IID
from swarm.project.program import Program
from swarm.project.schema.agents import IslandSection, MutatorSection, Temperaments

MIN_SPREAD = 2
"""Islands from which each gets a temperament of its own: one alone is to try everything."""


def agents_of(program: Program, island: IslandSection) -> tuple[str, ...]:
    """Return the names of an island's agents: its team or agent, else those of program.md."""
    alone = island.agent and island.agent != program.settings.agent
    return island.team or (() if alone else program.settings.team) or (island.agent,)


def reads_no_temperament(program: Program, agent: str) -> bool:
    """Return whether an agent ignores what kind of change it is asked for."""
    return agent == IID or isinstance(program.agents[agent], MutatorSection)


def temperaments_of(
    program: Program, number: int, islands: int, own: Temperaments | None, agents: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the temperaments of island `number` of so many, () for any kind of change."""
    given = own or program.settings.temperament
    if all(reads_no_temperament(program, name) for name in agents):
        return ()
    if isinstance(given, tuple):
        return given
    if given == "none" or (given == "auto" and islands < MIN_SPREAD):
        return ()
    return (spread(islands, program.settings.seed)[number],) if given == "auto" else (given,)
