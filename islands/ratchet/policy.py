"""All that the user may set of the ratchet: program.md's `ratchet` and `guards`."""

from __future__ import annotations

from dataclasses import dataclass

from islands.ratchet.acceptance import AcceptanceRule
from islands.ratchet.guards import Guards
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.simpler import SimplerRule


@dataclass(frozen=True, slots=True)
class RatchetPolicy:
    """How candidates are judged, and how the run checks its own noise.

    - `acceptance`: rule that keeps or discards a candidate
    - `guards`: second measures that must not get worse
    - `guard_pairs`: pairs up to which a keep that hangs on a guard is measured on
    - `simpler`: rule that keeps a shorter candidate that is no worse
    - `null_rate`: share of proposals that do nothing (islands/genome/null_edits.py)
    - `sentinel_every`: trials that a slice runs at most from one sentinel to the next; 0: no
      sentinels (islands/drift/sentinels.py)
    """

    acceptance: AcceptanceRule = LfsrRule()
    guards: Guards = Guards()
    guard_pairs: int = 8
    simpler: SimplerRule = SimplerRule()
    null_rate: float = 0.0
    sentinel_every: int = 0
