"""The choice of who proposes next: a bandit over the arms of an island. Pure.

Thompson sampling on gain per cost: the chance that a proposal of an arm is kept is drawn from its
posterior (Beta), times the mean gain of its keeps, over its mean cost. What is known of few
proposals is drawn towards the same agent and temperament on other islands, and that towards all
arms. A share of the choices, the floor, goes to all arms alike, so that each is still measured when
it has become better or worse. `python -m tests.benchmarks.bench_arms` measures it.

Islands that share a slice are arms as well: whose experiment runs next is chosen in the same way.

Not covered: islands with slices of their own are not weighed against each other, since a slice that
waits earns nothing; gains of early keeps count like late ones, though these come harder.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from islands.state.arms import ArmTotals, ProposalArm

OWN_WEIGHT, PAIR_WEIGHT = 4.0, 4.0
"""Proposals that the other islands' record of an arm counts as, and that of all arms as."""

PRIOR_KEPT, PRIOR_ASKED = 0.5, 10.0
"""What a run expects of proposals before any: one in twenty is kept."""

SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class ArmPolicy:
    """What the user may set of the choice: program.md's `arms`.

    - `floor`: share of the proposals that all arms get alike, whatever they earn
    - `usd_per_slice_hour`: what an hour of a slice is worth, to add slice time to dollars
    """

    floor: float = 0.1
    usd_per_slice_hour: float = 1.0

    def cost(self, totals: ArmTotals) -> float:
        """Return what an arm has cost, in dollars."""
        return totals.usd + totals.seconds / SECONDS_AN_HOUR * self.usd_per_slice_hour


DEFAULT_ARMS = ArmPolicy()


def choose_arm(
    arms: Sequence[ProposalArm],
    totals: Mapping[ProposalArm, ArmTotals],
    policy: ArmPolicy,
    seed: int,
) -> ProposalArm:
    """Return the arm that proposes next; `seed` fixes what is drawn."""
    if len(arms) == 1:
        return arms[0]
    draw = random.Random(seed)
    new = [arm for arm in arms if arm not in totals]
    if new or draw.random() < policy.floor:
        return draw.choice(new or list(arms))
    everyone = ArmTotals()
    for each in totals.values():
        everyone.add(each)
    merits = [_merit(arm, totals, everyone, policy, draw) for arm in arms]
    return arms[merits.index(max(merits))]


def choose_island(
    islands: Sequence[str],
    totals: Mapping[ProposalArm, ArmTotals],
    policy: ArmPolicy,
    seed: int,
) -> str:
    """Return which of the islands that wait for a slice has it next: all its arms are one."""
    whole: dict[ProposalArm, ArmTotals] = {}
    for arm, each in totals.items():
        whole.setdefault(ProposalArm("", "", arm.island), ArmTotals()).add(each)
    arms = [ProposalArm("", "", island) for island in dict.fromkeys(islands)]
    return choose_arm(arms, whole, policy, seed).island


def _merit(
    arm: ProposalArm,
    totals: Mapping[ProposalArm, ArmTotals],
    everyone: ArmTotals,
    policy: ArmPolicy,
    draw: random.Random,
) -> float:
    """Return a draw of the gain for each dollar that the next proposal of `arm` brings."""
    own, elsewhere = totals[arm], ArmTotals()
    for other, each in totals.items():
        if other != arm and other[:2] == arm[:2]:
            elsewhere.add(each)
    rate = (everyone.kept + PRIOR_KEPT) / (everyone.asked + PRIOR_ASKED)
    rate = (elsewhere.kept + PAIR_WEIGHT * rate) / (elsewhere.asked + PAIR_WEIGHT)
    kept = own.kept + OWN_WEIGHT * rate
    chance = draw.betavariate(kept, max(own.asked - own.kept, 0) + OWN_WEIGHT * (1 - rate))
    mean_gain = everyone.gain / everyone.kept if everyone.kept else 1.0
    both = ArmTotals()
    both.add(own)
    both.add(elsewhere)
    gain = (both.gain + mean_gain) / (both.kept + 1)
    mean_cost = policy.cost(everyone) / everyone.asked or 1.0
    cost = (policy.cost(both) + mean_cost) / (both.asked + 1)
    return chance * gain / cost
