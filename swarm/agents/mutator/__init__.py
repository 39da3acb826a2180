"""The built-in mutator: an agent without a model or a key that edits the genome's syntax tree.

It is a search that learns from every attempt, in small parts: `sites`, `structure` and `cross`
find what may be edited, `scales` says which values to try, `model` forecasts what a move gains
from what `memory` holds, `search` ranks the moves, `agent` proposes the one that is drawn.
"""

from swarm.agents.mutator.agent import Mutator

__all__ = ["Mutator"]
