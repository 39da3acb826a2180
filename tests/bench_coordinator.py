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
    """Reads CPU seconds and bytes written over the second half of each span; prints a row."""

    def __init__(self, folder, most):
        self.folder, self.refresher = folder, Refresher()
        self.marks = [n for n in (10, 100, 1_000, 3_000, 10_000) if n <= most]
        self.ended, self.half, self.first = 0, None, None

    def __call__(self, event, state):
        if self.refresher.due(state.events):
            refresh(self.folder)
        if event.kind != "trial_ended":
            return
        self.ended += 1
        now = (self.ended, sum(os.times()[:4]), written())
        if any(self.ended == mark // 2 for mark in self.marks):
            self.half = now
        elif self.ended in self.marks:
            self.row(*(new - old for new, old in zip(now, self.half, strict=True)), self.ended)

    def row(self, trials, cpu, size, past):
        ms, wrote = 1000 * cpu / trials, size / trials
        self.first = self.first or (ms, wrote)
        shares = (ms / self.first[0], wrote / self.first[1])
        print(
            f"{past:>12,} {ms:>13.1f} {shares[0]:>6.2f} {wrote:>12,.0f} {shares[1]:>6.2f}",
            flush=True,
        )


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
    """Run so many trials on two islands."""
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    count = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{'past trials':>12} {'CPU ms/trial':>13} {'ratio':>6} {'bytes':>12} {'ratio':>6}")
        run_virtual(main(Path(scratch), count))
