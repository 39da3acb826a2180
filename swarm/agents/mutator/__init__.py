"""The built-in mutator: an agent that edits the genome without a language model.

In Python it edits the syntax tree; in any other text it changes numbers, flags and listed
alternatives (`text_sites`).

It is a search that learns from every attempt. `edit_sites`, `structural_edits` and `crossover` find
the possible edits, `transforms` lists the values to try, `surrogate` forecasts the gain of a move
from the attempts in `history`, `search` ranks the moves, `agent` proposes the first that applies.

Imported by swarm.coordinator.
"""

from swarm.agents.mutator.agent import Mutator
from swarm.agents.mutator.history import MoveHistory

__all__ = ["MoveHistory", "Mutator"]
