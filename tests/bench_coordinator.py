"""What the coordinator itself costs per trial, and whether that grows: real git, ledger, DuckDB.

    python tests/bench_coordinator.py [--trials 10000]

Trials are simulated (they take no time), everything around them is real: the mutator proposes on
the flagship's seed genome, candidates are admitted and committed, events are appended with fsync,
lineage.duckdb is brought up to date by the coordinator's own rule. CPU includes git's processes;
bytes are all that this process and git wrote, whatever file it went to.
"""

import argparse
import asyncio
import os
import random
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from laboratory import opening

from analysis.ledger import Ledger
from analysis.projection import Refresher, refresh
from harness.contract import Outcome, Slice
from islands.admit import Limits
from islands.branches import Branches
from islands.ratchet import Rule
from swarm.agents.mutator import Mutator
from swarm.coordinator import conduct
from swarm.parts import Bounds, IslandPlan, Launch
from swarm.run import Run, inline
from swarm.virtual import run_virtual

SEED = Path(__file__).parent.parent / "islands/seeds/gpt/train.py"
GENOME = "genome/train.py"


class Instant:
    """Scores every trial by chance, in no time: nearly all are discarded, as in a real night."""

    harness = "lab"

    async def run(self, trial):
        await asyncio.sleep(20)
        score = random.Random(f"{trial.commit}{trial.seed}").gauss(2.0, 0.01)
        return Outcome(trial.id, "lab", 2, score=score, seconds={"budget": 20.0})


class Meter:
    """Reads CPU seconds and bytes written at powers of ten of trials."""

    def __init__(self, folder, most):
        self.folder, self.refresher, self.rows = folder, Refresher(), []
        self.marks = [n for n in (10, 100, 1_000, 3_000, 10_000) if n <= most]
        self.last = None

    def __call__(self, event, state):
        if self.refresher.due(state.events):
            refresh(self.folder)
        trials = state.trials
        if event.kind == "trial_ended" and any(trials in (m // 2, m) for m in self.marks):
            now = (trials, sum(os.times()[:4]), written())
            if trials in self.marks and self.last and self.last[0] < trials:
                n = trials - self.last[0]
                cpu, wrote = (now[k] - self.last[k] for k in (1, 2))
                self.rows.append((trials, 1000 * cpu / n, wrote / n))
            self.last = now


def written():
    """Return the bytes that this process and its ended children have written."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar")))


def repository(folder):
    """Make a repository with the flagship's seed as its genome; return its commit."""
    (folder / "genome").mkdir(parents=True)
    (folder / GENOME).write_bytes(SEED.read_bytes())
    who = ["-c", "user.name=b", "-c", "user.email=b@b"]
    for call in (["init", "-qb", "main"], ["add", "."], [*who, "commit", "-qm", "Begin"]):
        subprocess.run(["git", *call], cwd=folder, check=True)
    head = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        head, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


async def main(folder, trials):
    """Run so many trials on two islands and return the meter."""
    repo = folder / "repo"
    base = repository(repo)
    state_folder = repo / ".swarm/bench"
    state_folder.mkdir(parents=True)
    first = replace(opening(), run="bench", base=base, genome=("genome",))
    islands = tuple(IslandPlan(n, "mutator", Slice(n, "cpu")) for n in "ab")
    plan = Launch(
        opening=first,
        islands=islands,
        rule=Rule(),
        admission=Limits(),
        bounds=Bounds(trials=trials),
        prose="Lower it.",
        entry=GENOME,
        folder=state_folder,
    )
    meter = Meter(state_folder, trials)
    loop = asyncio.get_running_loop()
    with Ledger.open(state_folder, loop.time) as ledger:
        run = Run(
            launch=plan,
            ledger=ledger,
            branches=Branches(repo, "bench", ("genome",)),
            executor=Instant(),
            agents={"a": Mutator(), "b": Mutator()},
            watch=meter,
            offload=inline,
            now=loop.time,
        )
        (plan.scratch / "genomes").mkdir(parents=True)
        await conduct(run)
    return meter


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    count = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        rows = run_virtual(main(Path(scratch), count)).rows
    _, cpu, wrote = rows[0]
    print(f"{count} simulated trials in {time.monotonic() - began:.0f} s")
    print(f"{'past trials':>12} {'CPU ms/trial':>13} {'ratio':>6} {'bytes/trial':>12} {'ratio':>6}")
    for trials, ms, size in rows:
        print(f"{trials:>12,} {ms:>13.1f} {ms / cpu:>6.2f} {size:>12,.0f} {size / wrote:>6.2f}")
