"""Acceptance rules that `swarm simulate` compares: the product's, and those of other systems.

Imported by cli alone. The product's own rules are in islands/ratchet.
"""

from __future__ import annotations

from collections.abc import Mapping

from islands.ratchet.acceptance import AcceptanceRule
from islands.ratchet.fixed_margin import FixedMarginRule
from islands.ratchet.lfsr import LfsrRule
from swarm.simulation.rules.e_lond import ELondRule
from swarm.simulation.rules.one_trial import OneTrialRule

RULES: Mapping[str, AcceptanceRule] = {
    "swarm": LfsrRule(),
    "e-lond": ELondRule(),
    "three-seeds": FixedMarginRule(max_pairs=3),
    "margin": OneTrialRule(margin=1.0),
    "keep-if-better": OneTrialRule(margin=0.0),
}
"""By the name that `--rule` takes: lfsr; e-values; two standard errors on three fresh seeds; one
standard deviation of a pair on one trial; any gain on one trial."""
