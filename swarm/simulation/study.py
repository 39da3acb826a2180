"""Many nights of many kinds: cells of rule, mixture, sigma and budget, each over its repeats.

Repeat number k has the same seed in every cell, so that rules are compared on the same proposals.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from os import _exit

from islands.rng import seed_of
from swarm.simulation.intervals import Estimate, Share, mean_of, ratio_of, share_of
from swarm.simulation.metrics import Tally, best, tally
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import Conditions

ORPHANED = 1
"""Exit code of a process whose study was killed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of night: the names it is shown by, and all that it takes to run it."""

    rule: str
    mixture: str
    conditions: Conditions
    plan: RunPlan


@dataclass(frozen=True, slots=True)
class Summary:
    """What the nights of a cell came to.

    `bias` is the claimed gain less the true one, `error` the standard error that runs state for
    their claims. `per_discard` counts trials, `per_thousand` unreal claims by 1,000 proposals.
    `null_keeps` are of proposals that happen to do nothing, `own_null_keeps` of those that the run
    made so. `alarms` are slices set apart, `false_alarms` those of them that did not drift;
    `caught_up` is how often an island went to another's head.
    """

    cell: Cell
    repeats: int
    gain: Estimate
    claimed: Estimate
    bias: Estimate
    error: Estimate
    trials: Estimate
    per_discard: Estimate
    per_thousand: Estimate
    keeps: Estimate
    claims: Estimate
    unreal_keeps: Share
    unreal_claims: Share
    null_keeps: Share
    own_null_keeps: Share
    alarms: Estimate
    false_alarms: Estimate
    caught_up: Estimate


def study(
    cells: Sequence[Cell], repeats: int, seed: int, workers: int, told: Callable[[], None]
) -> list[Summary]:
    """Run every cell's nights on `workers` processes; `told` is called as each night ends."""
    seeds = [seed_of(seed, "night", repeat) for repeat in range(repeats)]
    nights = [(cell, each) for cell in cells for each in seeds]
    tallies = _ran(nights, workers, told)
    parts = [tallies[at : at + repeats] for at in range(0, len(tallies), repeats)]
    return list(map(summary, cells, parts))


def summary(cell: Cell, nights: Sequence[Tally]) -> Summary:
    """Return what `nights` of one cell came to."""
    return Summary(
        cell=cell,
        repeats=len(nights),
        gain=mean_of([each.gain for each in nights]),
        claimed=mean_of([each.claimed for each in nights]),
        bias=mean_of([each.claimed - each.gain for each in nights]),
        error=mean_of([each.error for each in nights]),
        trials=mean_of([each.trials for each in nights]),
        per_discard=ratio_of([each.spent for each in nights], [each.discards for each in nights]),
        per_thousand=ratio_of(
            [1000 * each.unreal_claims for each in nights], [each.proposals for each in nights]
        ),
        keeps=mean_of([each.keeps for each in nights]),
        claims=mean_of([each.claims for each in nights]),
        unreal_keeps=share_of(
            [each.unreal_keeps for each in nights], [each.keeps for each in nights]
        ),
        unreal_claims=share_of(
            [each.unreal_claims for each in nights], [each.claims for each in nights]
        ),
        null_keeps=share_of([each.null_keeps for each in nights], [each.nulls for each in nights]),
        own_null_keeps=share_of(
            [each.own_null_keeps for each in nights], [each.own_nulls for each in nights]
        ),
        alarms=mean_of([each.alarms for each in nights]),
        false_alarms=mean_of([each.false_alarms for each in nights]),
        caught_up=mean_of([each.caught_up for each in nights]),
    )


Job = tuple[Cell, int]


def _ran(jobs: Sequence[Job], workers: int, told: Callable[[], None]) -> list[Tally]:
    if workers == 1:
        return _listed(map(_tallied, jobs), told)
    # spawned: a fork of a process with threads (a progress bar has one) may hang
    with ProcessPoolExecutor(workers, get_context("spawn"), begin) as pool:
        try:
            return _listed(pool.map(_tallied, jobs), told)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # who leaves early waits for one night each
            raise


def _listed(tallies: Iterable[Tally], told: Callable[[], None]) -> list[Tally]:
    listed = []
    for each in tallies:
        listed.append(each)
        told()
    return listed


def _tallied(job: Job) -> Tally:
    cell, seed = job
    runs = cell.plan.runs
    if runs == 1:
        return tally(simulate_run(cell.conditions, cell.plan, seed))
    plan = replace(cell.plan, trials=cell.plan.trials // runs, runs=1)
    seeds = [seed_of(seed, "run", number) for number in range(runs)]
    return best([tally(simulate_run(cell.conditions, plan, each)) for each in seeds])


def begin() -> None:
    """Leave Ctrl-C to the study, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        _exit(ORPHANED)
