"""Prints what the ratchet's promise is worth in many worlds, a line a cell.

    python -m tests.benchmarks.bench_promise [--repeats 200] [--only TEXT ...] [--save FILE]
    python -m tests.benchmarks.bench_promise --before FILE

The promise: at most 5 % of claims are unreal, or one in 1,000 trials where claims are few. A cell
is marked `!` where both are broken, and `?` where the interval of the share does not exclude it.
Repeat number k has the same proposals in every checkout: to compare rules, save in one and give the
file as `--before` in the other (`PYTHONPATH=CHECKOUT python FILE` runs this file in an older one).
Nights are one island and 100 trials unless the cell says otherwise.
"""

import argparse
import json
import os
from dataclasses import replace
from itertools import product
from pathlib import Path

from islands.ratchet.policy import RatchetPolicy
from swarm.simulation.disturbances import (
    LOAD_PATTERNS,
    SPIKE_CAUSES,
    Drift,
    Load,
    Spikes,
    Throttling,
    Trend,
    Wander,
)
from swarm.simulation.mixtures import MIXTURES
from swarm.simulation.simulated_run import RunPlan
from swarm.simulation.study import StudyCell, study
from swarm.simulation.world import Conditions, Knobs

FDR = 0.05
PER_THOUSAND = 1.0
NIGHT = RunPlan(RatchetPolicy(), 1, 100)
WATCHED = RunPlan(RatchetPolicy(sentinel_every=40), 1, 100)
SIGMAS = (0.25, 1.0, 2.0, 4.0)
LOADED = ("published", "harsh", "tuned", "tiny")


def cell(name, mixture, sigma, nil=None, plan=NIGHT, **more):
    """Return a cell's name, and the cell."""
    effects = MIXTURES[mixture] if nil is None else MIXTURES[mixture].with_nil_share(nil)
    conditions = replace(Conditions(effects, sigma), **more)
    return name, StudyCell("swarm", name, conditions, plan)


def mixtures():
    """Yield the cells of all mixtures and null shares, with normal noise."""
    for mixture, sigma in product(("published", "harsh", "tuned", "tiny", "null"), SIGMAS):
        yield cell(f"{mixture}, sigma {sigma:g}", mixture, sigma)
    for mixture, nil, sigma in product(("published", "harsh"), (0.6, 0.9, 0.99), (0.25, 1.0, 4.0)):
        yield cell(f"{mixture}, {nil:.0%} nil, sigma {sigma:g}", mixture, sigma, nil)


def noises(mixture):
    """Yield the cells with other noise."""
    for sigma in (0.25, 1.0):
        for tails in (3.0, 5.0):
            yield cell(f"{mixture}, t{tails:g}, sigma {sigma:g}", mixture, sigma, tails=tails)
        for cause in SPIKE_CAUSES:
            name = f"{mixture}, spikes by {cause}, sigma {sigma:g}"
            yield cell(name, mixture, sigma, spikes=Spikes(0.05, 50.0, cause))
    yield cell(f"{mixture}, still at first", mixture, 0.25, still=0.3)


def times(mixture):
    """Yield the cells in which proposals or levels change with time."""
    yield cell(f"{mixture}, drying", mixture, 1.0, trend=Trend(30.0))
    yield cell(f"{mixture}, learning", mixture, 1.0, trend=Trend(learning=60.0))
    hot = Throttling(5.0)
    yield cell(f"{mixture}, throttling", mixture, 0.5, plan=WATCHED, throttling=hot)
    slow = Drift(10.0, onset=0.0)
    yield cell(f"{mixture}, slow slice", mixture, 1.0, plan=replace(WATCHED, islands=2), drift=slow)


def seeds_shared():
    """Yield the cells in which commits have little, or nearly all, of a seed's noise in common."""
    for mixture, sigma, share in product(("published", "harsh"), (1.0, 4.0), (0.0, 0.85)):
        name = f"{mixture}, {share:.0%} of the noise shared, sigma {sigma:g}"
        yield cell(name, mixture, sigma, seed_correlation=share)


def knobs():
    """Yield the cells in which changes turn twenty knobs, so that gains are offered again."""
    for mixture, sigma in product(("published", "harsh", "tuned"), SIGMAS):
        yield cell(f"{mixture}, 20 knobs, sigma {sigma:g}", mixture, sigma, knobs=Knobs(20))


def wandering():
    """Yield the cells in which levels wander within ten trials by more than a pair varies."""
    for mixture, sigma, size in product(("published", "harsh", "tuned"), (0.5, 1.0), (0.7, 1.5)):
        name = f"{mixture}, wander {size:g}, sigma {sigma:g}"
        wander = Wander(size * sigma, 10.0)
        yield cell(name, mixture, sigma, seed_correlation=0.85, wander=wander)


def settling():
    """Yield the cells in which a few large gains are soon used up, and settle the noise."""
    for sigma, calm, count in product((0.5, 1.5), (0.0, 0.2), (20, 0)):
        name = f"untuned, calm {calm:g}, {count} knobs, sigma {sigma:g}"
        both = replace(NIGHT, islands=2)
        yield cell(name, "untuned", sigma, plan=both, calm=calm, knobs=Knobs(count))
    for mixture, sigma in product(("untuned", "published"), (0.5, 1.5)):
        name = f"{mixture}, uneven, sigma {sigma:g}"
        yield cell(name, mixture, sigma, plan=both, uneven=0.15, knobs=Knobs(20))


def repeating():
    """Yield the cells in which one commit repeats its score on one seed as badly as 10 s trials."""
    both = replace(WATCHED, islands=2)
    for mixture, sigma in product(("published", "harsh"), (0.5, 1.5)):
        yield cell(f"{mixture}, jitter 0.2, sigma {sigma:g}", mixture, sigma, plan=both, jitter=0.2)


def loads():
    """Yield the cells of load that others make, which costs ten median gains."""
    for mixture, pattern, sigma in product(LOADED, LOAD_PATTERNS[1:], SIGMAS):
        name = f"{mixture}, load {pattern}, sigma {sigma:g}"
        yield cell(name, mixture, sigma, plan=WATCHED, load=Load(pattern, 10.0))


def cells():
    """Return every cell by name."""
    disturbed = [each for mixture in ("published", "harsh") for each in noises(mixture)]
    changing = [each for mixture in ("published", "harsh") for each in times(mixture)]
    heavy = cell("tuned, t3, sigma 1", "tuned", 1.0, tails=3.0)
    return dict(
        [
            *mixtures(),
            *seeds_shared(),
            *knobs(),
            *wandering(),
            *settling(),
            *repeating(),
            *disturbed,
            heavy,
            *changing,
            *loads(),
        ]
    )


def line(name, summary, before):
    """Return a cell's line."""
    claims, unreal = summary.claims.mean, summary.false_claims
    trials = summary.trials.mean * summary.repeats
    rate = 1000 * unreal.part / trials
    broken = unreal.whole and unreal.share > FDR and rate > PER_THOUSAND
    unclear = unreal.whole and unreal.high > FDR and not broken and rate > PER_THOUSAND / 2
    share = f"{unreal.share:6.1%} ({unreal.low:.1%}-{unreal.high:.1%})" if unreal.whole else "-"
    gain = summary.gain.mean
    ratio = f"{gain / before[name]:5.2f}" if before.get(name) else "    -"
    mark = "!" if broken else "?" if unclear else " "
    return (
        f"{mark} {name:42} {1000 * claims / summary.trials.mean:6.1f} {share:24} {rate:6.2f}"
        f" {gain * 1000:8.3f} {ratio}"
    )


def main():
    """Simulate the cells asked for and print them as they end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[], help="cells whose names hold one of these")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, help="write the cells' gains here")
    parser.add_argument("--before", type=Path, help="gains of another checkout, to compare with")
    options = parser.parse_args()
    before = json.loads(options.before.read_text()) if options.before else {}
    print(
        f"  {options.repeats} nights a cell {'':24} claims  unreal (95 %)            unreal"
        "    gain  by"
    )
    print(f"  {'':42} /1000                           /1000    /1000  before")
    gains = {}
    for name, cell in cells().items():
        if options.only and not any(text in name for text in options.only):
            continue
        (summary,) = study([cell], options.repeats, options.seed, options.workers, lambda: None)
        gains[name] = summary.gain.mean
        print(line(name, summary, before), flush=True)
    if options.save:
        options.save.write_text(json.dumps(gains, indent=1))


if __name__ == "__main__":
    main()
