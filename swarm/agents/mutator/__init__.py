"""The built-in mutator: an agent that edits the genome's syntax tree, without a language model.

It is a search that learns from every attempt. `edit_sites`, `structural_edits` and `crossover` find
the possible edits, `transforms` lists the values to try, `surrogate` forecasts the gain of a move
from the attempts in `history`, `search` ranks the moves, `agent` proposes the first that applies.

Imported by swarm.coordinator.
"""

from swarm.agents.mutator.agent import Mutator

__all__ = ["Mutator"]
