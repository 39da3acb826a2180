"""The bandit's gain per dollar against equal shares, in simulation with known arms.

    python -m tests.benchmarks.bench_arms [--repeats 200]

Each world has six arms on two islands: chance of a keep, mean gain of a keep, dollars of a call.
Every proposal also takes a minute of a slice. Both policies meet the same draws.
"""

import argparse
import random
import statistics

from islands.scheduling.arm_choice import ArmPolicy, choose_arm, choose_island
from islands.state.arms import ArmTotals, ProposalArm

POLICY = ArmPolicy(usd_per_slice_hour=1.0)

PROPOSALS = 400

WORLDS = {
    "a strong model, a weak one, controls": {
        "strong": (0.12, 1.0, 0.05),
        "weak": (0.04, 0.8, 0.01),
        "iid": (0.02, 0.6, 0.05),
        "mutator": (0.015, 0.6, 0.0),
    },
    "a cheap model is the best": {
        "strong": (0.10, 1.0, 0.25),
        "weak": (0.07, 0.9, 0.01),
        "iid": (0.03, 0.6, 0.25),
        "mutator": (0.02, 0.6, 0.0),
    },
    "one temperament works": {
        "schedule": (0.12, 1.0, 0.03),
        "data": (0.02, 1.0, 0.03),
        "architecture": (0.02, 1.0, 0.03),
        "efficiency": (0.03, 1.0, 0.03),
        "wildcard": (0.03, 1.0, 0.03),
    },
    "all alike": dict.fromkeys("abcd", (0.04, 1.0, 0.03)),
}


def night(truth, seed, *, bandit, proposals=PROPOSALS):
    """Return gain per dollar of a run of `proposals` proposals."""
    arms = {island: [ProposalArm(name, "", island) for name in truth] for island in ("i", "j")}
    totals, spent, gained = {}, 0.0, 0.0
    for number in range(proposals):
        island = "ij"[number % 2]
        if bandit:
            arm = choose_arm(arms[island], totals, POLICY, hash((seed, number)) & (2**63 - 1))
        else:
            arm = arms[island][number // 2 % len(truth)]
        chance, size, usd = truth[arm.agent]
        draw = random.Random(f"{seed}/{number}")
        kept = draw.random() < chance
        gain = draw.expovariate(1 / size) if kept else 0.0
        seconds = 60.0 * (5 if kept else 1)
        known = totals.setdefault(arm, ArmTotals())
        known.add(ArmTotals(1, int(kept), gain, usd, seconds))
        spent += POLICY.cost(ArmTotals(usd=usd, seconds=seconds))
        gained += gain
    return gained / spent


ISLANDS = {
    "islands on one slice, one is far along": {
        "i": (0.02, 0.4, 0.03),
        "j": (0.10, 1.0, 0.03),
        "k": (0.03, 0.6, 0.03),
    },
    "islands on one slice, all alike": dict.fromkeys("ijk", (0.04, 1.0, 0.03)),
}


def shared_slice(truth, seed, *, bandit, proposals=PROPOSALS):
    """Return gain per dollar of islands that wait for one slice: chosen, or in turn."""
    totals, spent, gained = {}, 0.0, 0.0
    for number in range(proposals):
        island = [*truth][number % len(truth)]
        if bandit:
            island = choose_island([*truth], totals, POLICY, hash((seed, number)) & (2**63 - 1))
        chance, size, usd = truth[island]
        draw = random.Random(f"{seed}/{number}")
        kept = draw.random() < chance
        cost = ArmTotals(1, int(kept), draw.expovariate(1 / size) if kept else 0.0, usd)
        cost.seconds = 60.0 * (5 if kept else 1)
        totals.setdefault(ProposalArm("m", "", island), ArmTotals()).add(cost)
        spent += POLICY.cost(cost)
        gained += cost.gain
    return gained / spent


def compare(truth, repeats, proposals=PROPOSALS, play=night):
    """Return the ratio of mean gains per dollar, bandit to equal shares, and its standard error."""
    pairs = [
        [play(truth, seed, bandit=bandit, proposals=proposals) for bandit in (True, False)]
        for seed in range(repeats)
    ]
    ours, equal = map(statistics.fmean, zip(*pairs, strict=True))
    ratio = ours / equal
    spread = statistics.stdev(a - ratio * b for a, b in pairs) / equal
    return ratio, spread / repeats**0.5


def main():
    """Print a line for each world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    print(f"gain per dollar, bandit to equal shares; {repeats} repeats of {PROPOSALS} proposals")
    plays = [(night, *world) for world in WORLDS.items()]
    plays += [(shared_slice, *world) for world in ISLANDS.items()]
    for play, name, truth in plays:
        ratio, error = compare(truth, repeats, play=play)
        print(f"{name:40} {ratio:.2f} [{ratio - 1.96 * error:.2f}, {ratio + 1.96 * error:.2f}]")


if __name__ == "__main__":
    main()
