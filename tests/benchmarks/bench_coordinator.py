"""Benchmark of the coordinator's own cost as runs grow: real git, ledger, DuckDB.

    python -m tests.benchmarks.bench_coordinator [--trials 10000]           with past trials
    python -m tests.benchmarks.bench_coordinator --islands 8,16,32,64       with islands
    python -m tests.benchmarks.bench_coordinator --experiments 100000       in memory

Trials are simulated (they take no time), everything around them is real: the mutator proposes on
the flagship's seed genome, candidates are admitted and committed, events are appended with fsync,
lineage.duckdb is brought up to date by the coordinator's own rule. CPU includes git's processes;
bytes are all that this process and git wrote, whatever file it went to. For memory neither git nor
the mutator is asked, since 100,000 commits would take hours: they keep nothing in this process.
"""

import argparse
import asyncio
import hashlib
import os
import random
import resource
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from analysis.database.refresh import Refresher, refresh
from analysis.ledger import Ledger
from harness.contract import Outcome, Slice
from islands.genome.admission import AdmissionLimits
from islands.git.branches import Branches
from islands.ratchet.policy import RatchetPolicy
from islands.records import Entry, Proposal
from swarm.agents.mutator import Mutator
from swarm.coordinator.launch_plan import IslandPlan, Launch, RunLimits
from swarm.coordinator.limits import LimitChecker
from swarm.coordinator.run import Run, inline
from swarm.coordinator.task_tree import run_islands
from swarm.project.runs import RunFolder
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import opening

SEED = Path(__file__).parents[2] / "islands/seeds/gpt/train.py"
GENOME = "genome/train.py"


class Instant:
    """Scores every trial by chance, in no time: nearly all are discarded, as in a real night."""

    harness, seconds = "lab", 20.0

    def current_slice(self, where):
        return where

    async def run(self, trial):
        await asyncio.sleep(self.seconds)
        score = random.Random(f"{trial.commit}{trial.seed}").gauss(2.0, 0.01)
        return Outcome(trial.id, "lab", "namespaces", score=score, seconds={"budget": 20.0})


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
            trials, cpu, size = (new - old for new, old in zip(now, self.half, strict=True))
            self.row(trials, cpu, size, self.ended)

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
    """Make a repository with the flagship's seed as its genome, once; return its commit."""
    (folder / "genome").mkdir(parents=True, exist_ok=True)
    (folder / GENOME).write_bytes(SEED.read_bytes())
    who = ["-c", "user.name=b", "-c", "user.email=b@b"]
    for call in (["init", "-qb", "main"], ["add", "."], [*who, "commit", "-qm", "Begin"]):
        if not (folder / ".git/refs/heads/main").exists():
            subprocess.run(["git", *call], cwd=folder, check=True)
    head = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        head, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@contextmanager
def opened(folder, count, agents, **parts):
    """Yield a run of `count` islands in `folder`, on simulated slices; `parts` replace its own."""
    loop = asyncio.get_running_loop()
    repo = folder / "repo"
    run_folder = RunFolder(repo, "bench")
    first = replace(opening(), run="bench", base=repository(repo), genome=("genome",))
    names = [f"i{n}" for n in range(count)]
    plan = Launch(
        opening=first,
        islands=tuple(IslandPlan(name, "bench", Slice(name, "cpu")) for name in names),
        ratchet=RatchetPolicy(),
        admission=AdmissionLimits(),
        limits=RunLimits(),
        prose="Lower it.",
        entry=GENOME,
        folder=run_folder,
    )
    run_folder.genomes.mkdir(parents=True, exist_ok=True)
    with Ledger.open(run_folder.path, loop.time) as ledger:
        whole = {
            "launch": plan,
            "ledger": ledger,
            "branches": Branches(repo, "bench", ("genome",)),
            "executor": Instant(),
            "agents": {name: agents() for name in names},
            "offload": inline,
            "now": loop.time,
        }
        yield Run(**{**whole, **parts})


def bounded(run, **limits):
    """Set where a run ends."""
    run.limits = LimitChecker(RunLimits(**limits), run.state)
    return run


async def with_trials(folder, trials):
    """Print what a trial costs, the more of them there are in the past."""
    print(f"{'past trials':>12} {'CPU ms/trial':>13} {'ratio':>6} {'bytes':>12} {'ratio':>6}")
    with opened(folder, 2, Mutator) as run:
        run.watch = Meter(run.launch.folder.path, trials)
        await run_islands(bounded(run, trials=trials))


class Thinking(Mutator):
    """A mutator that takes three trials' time for an answer, so that islands ask far ahead."""

    async def propose(self, brief):
        await asyncio.sleep(60)
        return await super().propose(brief)


async def with_islands(folder, count, trials):
    """Return the CPU milliseconds for each proposal in the second half of so many trials."""
    refresher, marks, proposals = Refresher(), [], 0
    with opened(folder, count, Thinking) as run:

        def watch(event, state):
            nonlocal proposals
            if refresher.due(state.events):
                refresh(run.launch.folder.path)
            proposals += event.kind == "proposal_received"
            if event.kind == "trial_ended" and state.trials >= trials // 2 and not marks:
                marks.append((sum(os.times()[:4]), proposals))

        run.watch = watch
        await run_islands(bounded(run, trials=trials))
        (cpu, before), now = marks[0], sum(os.times()[:4])
    return 1000 * (now - cpu) / (proposals - before)


class NoGit:
    """Takes commits and keeps nothing."""

    def __init__(self):
        self._files = {GENOME: Entry(b"X = 0\n")}  # admission of the seed takes 20 ms

    def branch(self, island):
        return f"swarm/bench/{island}"

    def files(self, commit):
        return self._files

    def export(self, commit, into):
        pass

    def commit(self, parent, files, message, experiment, when):
        return hashlib.sha1(f"{parent}{message}".encode()).hexdigest()

    def commit_under_ref(self, name, parent, files, message, when):
        return hashlib.sha1(f"{name}{parent}".encode()).hexdigest()

    def apply_change(self, parent, commit, onto):
        return {GENOME: Entry(f"X = 0x{commit}\n".encode())}

    def tried(self, experiment):
        return None

    def numstat(self, old, new):
        return (1, 1)

    def advance(self, island, new, old):
        pass

    def sync_branches(self, heads):
        pass

    def pack_candidates(self, base):
        pass


class Ready:
    """An agent that has an answer at once."""

    name = "ready"

    async def propose(self, brief):
        text = f"{brief.genome[GENOME]}\nX = {brief.experiment}\n"
        return Proposal(f"X to {brief.experiment}", {GENOME: Entry(text.encode())})

    def learn(self, attempt):
        pass


async def in_memory(folder, experiments):
    """Print what this process holds, and has held at most, as experiments are added."""
    refresher, process = Refresher(), psutil.Process()
    print(f"{'experiments':>12} {'MiB now':>8} {'at most':>8} {'CPU s':>8}")
    marks = {experiments * k // 10 for k in range(11)}
    with opened(folder, 64, Ready, branches=NoGit()) as run:

        def watch(event, state):
            if refresher.due(state.events):
                refresh(run.launch.folder.path)
            if event.kind != "verdict_reached":
                return
            ended = sum(sum(island.endings.values()) for island in state.islands.values())
            if ended in marks:
                now = process.memory_info().rss >> 20
                most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
                print(f"{ended:>12,} {now:>8} {most:>8} {sum(os.times()[:2]):>8.0f}", flush=True)
            if ended >= experiments:
                running.cancel()

        run.watch = watch
        running = asyncio.ensure_future(run_islands(run))
        with suppress(asyncio.CancelledError):
            await running


def main(asked):
    """Run what is asked for."""
    with tempfile.TemporaryDirectory() as scratch:
        if asked.experiments:
            run_virtual(in_memory(Path(scratch), asked.experiments))
        elif asked.islands:
            print(f"{'islands':>12} {'CPU ms/proposal':>16} {'ratio':>6}")
            first = None
            for count in map(int, asked.islands.split(",")):
                ms = run_virtual(with_islands(Path(scratch, str(count)), count, asked.trials))
                first = first or ms
                print(f"{count:>12} {ms:>16.1f} {ms / first:>6.2f}", flush=True)
        else:
            run_virtual(with_trials(Path(scratch), asked.trials))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=0, help="default: 10,000, or 1,000 a row")
    parser.add_argument("--islands", default="", help="how many, say 8,16,32,64")
    parser.add_argument("--experiments", type=int, default=0, help="how many, for memory")
    options = parser.parse_args()
    options.trials = options.trials or (1_000 if options.islands else 10_000)
    main(options)
