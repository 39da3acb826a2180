"""Benchmark of ablation: how often its 95 % intervals hold the truth of simulated runs.

    python -m tests.benchmarks.bench_ablation [--repeats 200] [--first 10000] [--only TEXT ...]

A line a kind of run, over so many repeats: the share of intervals that hold what a change is truly
worth in its stack, with the share's own 95 % interval (changes of one run are correlated), the root
of the mean square of its miss in standard errors (1 where errors are right), the same for the worth
of the whole stack, and the intervals' median half width in median gains of the mixture. A cell that
excludes 92 to 98 % is marked `!`. Constants were fitted to seeds below 1000: the seeds here are
fresh.
"""

import argparse
import math
import os
from dataclasses import replace
from statistics import median

from rich.console import Console
from rich.table import Table

from analysis.questions.ablation import ablate
from islands import events as ev
from islands.migration import NO_MIGRATION
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.policy import RatchetPolicy
from islands.stacking.state import StackPolicy
from swarm.simulation.intervals import share_of
from swarm.simulation.mixtures import MIXTURES, unit
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.study import spread
from swarm.simulation.world import INTERACTIONS, Conditions, Interactions

Z = 1.96
GOAL = (0.92, 0.98)

NIGHT = RunPlan(
    RatchetPolicy(LfsrRule()),
    islands=4,
    trials=200,
    stacking=StackPolicy(every=4, share=0.4),
    migration=NO_MIGRATION,
)
LONG = replace(NIGHT, islands=8, trials=500, stacking=StackPolicy(every=8, share=0.25))


def kinds():
    """Yield each kind of run: a name, its conditions and its plan."""
    for name, plan in (("night", NIGHT), ("long", LONG)):
        for how, interactions in INTERACTIONS.items():
            quiet = Conditions(MIXTURES["published"], sigma=0.7, interactions=interactions)
            yield f"{name}, {how}", quiet, plan
    loud = Conditions(MIXTURES["published"], sigma=1.4, interactions=INTERACTIONS["strong"])
    yield "night, strong, twice the noise", loud, NIGHT
    large = Interactions(share=0.1, size=3.0)
    yield "night, few and large", replace(loud, sigma=0.7, interactions=large), NIGHT
    yield "night, harsh, strong", replace(loud, mixture=MIXTURES["harsh"], sigma=0.7), NIGHT


def misses(run, found):
    """Return by how many standard errors each change's worth, and then the whole's, is off."""
    stack, off = set(run.branches.changes(found.commit)), []
    verdicts = [e for e in run.events if isinstance(e, ev.VerdictReached)]
    kept = {e.experiment: e for e in verdicts if e.verdict == "keep" and not e.null}
    for part in found.parts:
        verdict = kept[part.experiment]
        own = set(run.branches.changes(verdict.commit)) - set(run.branches.changes(verdict.parent))
        truth = run.world.gain(sorted(stack - own), sorted(stack))
        off.append((part.worth.mean - truth) / part.worth.noise)
    whole = run.gain(run.state.run.base, found.commit)
    return off, (found.whole.mean - whole) / found.whole.noise


def repeat(job):
    """Return the misses of one run's last stack check, and its errors; None where it had none."""
    conditions, plan, seed = job
    run = simulate_run(conditions, plan, seed)
    ends = [e for e in run.events if isinstance(e, ev.StackCheckEnded) and len(e.parts) > 1]
    if not ends:
        return None
    found = ablate(run.events, ends[-1].commit)
    errors = [Z * part.worth.noise / unit(conditions.mixture) for part in found.parts]
    return *misses(run, found), errors


def covered(groups):
    """Return the share of intervals that hold the truth, a group a run, marked as said above."""
    inside = [sum(abs(miss) <= Z for miss in group) for group in groups]
    share = share_of(inside, [len(group) for group in groups])
    mark = " !" if share.high < GOAL[0] or share.low > GOAL[1] else ""
    return f"{share.share:.1%} [{share.low:.1%}, {share.high:.1%}]{mark}"


def row(name, runs):
    """Return the cells of one kind of run."""
    parts, wholes, errors = zip(*runs, strict=True)
    off = [miss for group in parts for miss in group]
    rms = math.sqrt(math.fsum(miss**2 for miss in off) / len(off))
    width = median(error for group in errors for error in group)
    return (
        name,
        str(len(runs)),
        str(len(off)),
        covered(parts),
        f"{rms:.2f}",
        covered([[miss] for miss in wholes]),
        f"{width:.2f}",
    )


def main(asked):
    """Print the table."""
    grid = Table("run", "repeats", "changes", "change held", "rms", "whole held", "half width")
    for name, conditions, plan in kinds():
        if asked.only and not any(words in name for words in asked.only):
            continue
        jobs = [(conditions, plan, asked.first + n) for n in range(asked.repeats)]
        runs = [found for found in spread(repeat, jobs, asked.workers) if found is not None]
        grid.add_row(*row(name, runs))
    Console(width=150).print(grid)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200, help="runs of each kind")
    parser.add_argument("--first", type=int, default=10_000, help="seed of the first repeat")
    parser.add_argument("--only", nargs="*", default=(), help="kinds whose name has this in it")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    main(parser.parse_args())
