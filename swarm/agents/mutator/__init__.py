"""The built-in mutator."""

from swarm.agents.mutator.agent import Mutator

__all__ = ["Mutator"]
