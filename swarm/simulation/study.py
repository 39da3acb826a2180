"""Studies: cells of rule, mixture, sigma and budget, each simulated over many repeats.

Repeat number k has the same seed in every cell, so that rules are compared on the same proposals.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from os import _exit
from typing import TypeVar

from islands.rng import seed_of
from swarm.simulation.intervals import Estimate, Share, mean_of, ratio_of, share_of
from swarm.simulation.metrics import RunTally, best_of, tally
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.world import Conditions

ORPHANED_EXIT_CODE = 1
"""Exit code of a worker process whose study was killed."""


@dataclass(frozen=True, slots=True)
class StudyCell:
    """One kind of run: the names that it is shown by, and all that it takes to simulate it."""

    rule: str
    mixture: str
    conditions: Conditions
    plan: RunPlan


@dataclass(frozen=True, slots=True)
class CellSummary:
    """Means and shares over the runs of a cell. Gains are in units of the score.

    - `gain`: true gain of the reported commit
    - `claimed`: its gain as the run claims it
    - `bias`: claimed gain less true gain
    - `error`: standard error that runs state for their claim
    - `trials_per_discard`: trials of candidate and head that one discard cost
    - `false_claims_per_thousand`: false claims by 1,000 proposals
    - `null_keeps`: of proposals that happen to do nothing
    - `own_null_keeps`: of proposals that the run itself made do nothing (A/A tests)
    - `alarms`: slices quarantined, `false_alarms` of them without drift
    - `caught_up`: how often an island adopted another's head
    """

    cell: StudyCell
    repeats: int
    gain: Estimate
    claimed: Estimate
    bias: Estimate
    error: Estimate
    trials: Estimate
    trials_per_discard: Estimate
    false_claims_per_thousand: Estimate
    keeps: Estimate
    claims: Estimate
    false_keeps: Share
    false_claims: Share
    null_keeps: Share
    own_null_keeps: Share
    alarms: Estimate
    false_alarms: Estimate
    caught_up: Estimate


def study(
    cells: Sequence[StudyCell],
    repeats: int,
    seed: int,
    workers: int,
    on_run_done: Callable[[], None],
) -> list[CellSummary]:
    """Simulate every cell's runs on `workers` processes; call `on_run_done` as each run ends."""
    # the word is hashed into every seed: another one would change all published figures
    seeds = [seed_of(seed, "night", repeat) for repeat in range(repeats)]
    jobs = [(cell, run_seed) for cell in cells for run_seed in seeds]
    tallies = _run_all(jobs, workers, on_run_done)
    by_cell = [tallies[at : at + repeats] for at in range(0, len(tallies), repeats)]
    return list(map(summarise, cells, by_cell))


def summarise(cell: StudyCell, runs: Sequence[RunTally]) -> CellSummary:
    """Return means and shares over `runs` of one cell."""
    return CellSummary(
        cell=cell,
        repeats=len(runs),
        gain=mean_of([run.gain for run in runs]),
        claimed=mean_of([run.claimed for run in runs]),
        bias=mean_of([run.claimed - run.gain for run in runs]),
        error=mean_of([run.error for run in runs]),
        trials=mean_of([run.trials for run in runs]),
        trials_per_discard=ratio_of(
            [run.discard_trials for run in runs], [run.discards for run in runs]
        ),
        false_claims_per_thousand=ratio_of(
            [1000 * run.false_claims for run in runs], [run.proposals for run in runs]
        ),
        keeps=mean_of([run.keeps for run in runs]),
        claims=mean_of([run.claims for run in runs]),
        false_keeps=share_of([run.false_keeps for run in runs], [run.keeps for run in runs]),
        false_claims=share_of([run.false_claims for run in runs], [run.claims for run in runs]),
        null_keeps=share_of([run.null_keeps for run in runs], [run.nulls for run in runs]),
        own_null_keeps=share_of(
            [run.own_null_keeps for run in runs], [run.own_nulls for run in runs]
        ),
        alarms=mean_of([run.alarms for run in runs]),
        false_alarms=mean_of([run.false_alarms for run in runs]),
        caught_up=mean_of([run.caught_up for run in runs]),
    )


Job = tuple[StudyCell, int]

_J = TypeVar("_J")
_R = TypeVar("_R")


def _run_all(jobs: Sequence[Job], workers: int, on_run_done: Callable[[], None]) -> list[RunTally]:
    with closing(spread(_run_job, jobs, workers)) as tallies:
        return _collect(tallies, on_run_done)


def _collect(tallies: Iterable[RunTally], on_run_done: Callable[[], None]) -> list[RunTally]:
    collected = []
    for run in tallies:
        collected.append(run)
        on_run_done()
    return collected


def _run_job(job: Job) -> RunTally:
    cell, seed = job
    runs = cell.plan.runs
    if runs == 1:
        return tally(simulate_run(cell.conditions, cell.plan, seed))
    plan = replace(cell.plan, trials=cell.plan.trials // runs, runs=1)
    seeds = [seed_of(seed, "run", number) for number in range(runs)]
    return best_of([tally(simulate_run(cell.conditions, plan, run_seed)) for run_seed in seeds])


def spread(
    run: Callable[[_J], _R], jobs: Sequence[_J], workers: int, chunk: int = 1
) -> Generator[_R, None, None]:
    """Yield the result of each job in order, from so many processes that take `chunk` at a time.

    Close it to drop the jobs that have not begun.
    """
    if workers == 1:
        yield from map(run, jobs)
        return
    # spawned: a fork of a process with threads (a progress bar has one) may hang
    with ProcessPoolExecutor(workers, get_context("spawn"), _init_worker) as pool:
        try:
            with workers_ignore_interrupts():
                running = pool.map(run, jobs, chunksize=chunk)
            yield from running
        except BaseException:
            pool.shutdown(cancel_futures=True)  # leaving waits for one chunk a worker at most
            raise


@contextmanager
def workers_ignore_interrupts() -> Iterator[None]:
    """Have processes that start in the block ignore Ctrl-C from their first instruction on.

    A terminal sends it to them too, and until `_init_worker` runs they would print tracebacks.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _init_worker() -> None:
    """Leave Ctrl-C to the parent process, and end when it ends, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        _exit(ORPHANED_EXIT_CODE)
