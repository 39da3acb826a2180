"""Two islands on real git, whose agents make one change each: what migrates, and how it ends."""

import asyncio
from dataclasses import replace
from random import Random

from harness.contract import Outcome
from islands import events as ev
from islands.git.branches import Branches
from islands.migration import Migration
from islands.ratchet.policy import RatchetPolicy
from islands.records import Entry, Proposal
from swarm.agents.base import AgentError
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.run import Run, inline
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import LabExecutor, MemoryLedger, launch
from tests.support.repository import git


class Sums(LabExecutor):
    """Scores a commit by the sum of all numbers that its genome names."""

    async def run(self, trial):
        await asyncio.sleep(self.seconds)
        self.trials.append(trial)
        worth = sum(
            float(line.partition("=")[2])
            for entry in self.branches.files(trial.commit).values()
            for line in entry.data.decode().splitlines()
            if "=" in line
        )
        return self.outcome(trial, 10.0 - worth)

    def outcome(self, trial, score):
        """Return a scored outcome, with a noise that depends on the seed and the commit."""
        noise = Random(f"{trial.seed}/{trial.commit}").gauss(0, 0.01)
        return Outcome(
            trial.id, "lab", "namespaces", score=score + noise, seconds={"budget": self.seconds}
        )


IDEA = "its own idea"


class Maker:
    """Makes one change if its head lacks it, else or while that is tried proposes what is worse.

    A port is answered by `port`: files, or an AgentError for each time it is asked.
    """

    name = "lab"

    def __init__(self, made, port=None):
        self.made, self.port, self.ports = made, port, []

    async def propose(self, brief):
        await asyncio.sleep(1.0)
        if brief.port is not None:
            self.ports.append(brief.port)
            answer = self.port(brief, len(self.ports))
            if isinstance(answer, AgentError):
                raise answer
            return Proposal("port", answer)
        files = self.made(brief.genome)
        if files and IDEA not in {pending.hypothesis for pending in brief.pending}:
            return Proposal(IDEA, files)
        worse = Entry(f"J = {-0.5 - brief.experiment / 1000}\n".encode())
        return Proposal("worse", {"genome/idle.txt": worse})

    def learn(self, attempt):
        pass


TRAIN = "A = 1\nB = 1\nC = 1\nD = 1\nE = 1\n"
START = {
    "genome/train.py": TRAIN,
    "genome/extra.py": "X = 1\nY = 1\nZ = 1\nW = 1\nV = 1\n",
    "genome/idle.txt": "idle\n",
}


def puts(path, old, new):
    """Return an agent's idea: replace `old` by `new` in `path` (or where that went)."""

    def made(genome):
        text = genome.get(path, "")
        return {path: Entry(text.replace(old, new).encode())} if old in text else None

    return made


def renames(old, new, before, after):
    """Return the idea to move a file, changing a line of it."""

    def made(genome):
        if old not in genome:
            return None
        return {old: None, new: Entry(genome[old].replace(before, after).encode())}

    return made


def deletes(path):
    """Return the idea to delete a file, which is a gain where its numbers are below zero."""
    return lambda genome: {path: None} if path in genome else None


def gives_up(brief, times):
    """Answer a port as the mutator does where nothing fits."""
    return AgentError("unapplied", "it does not fit")


def conduct(  # noqa: PLR0913, PLR0917 - parts of a run, each with a default
    repo, ideas, port=gives_up, trials=44, topology="ring", remembers=True, **parts
):
    """Conduct a run of two islands on real git, on virtual time; return it."""

    async def main():
        branches = Branches(repo, "lab", ("genome",))
        plan = launch(
            repo.parent,
            limits=RunLimits(trials=trials),
            ratchet=RatchetPolicy(null_rate=0.0),
            migration=Migration(topology, every=2),
            base=git(repo, "rev-parse", "main"),
            genome=("genome",),
        )
        plan = replace(plan, entry="genome/train.py", remembers=remembers)
        run = Run(
            launch=plan,
            branches=branches,
            executor=Sums(branches, seconds=20.0),
            agents={f"i{n}": Maker(idea, port) for n, idea in enumerate(ideas)},
            offload=inline,
            now=lambda: asyncio.get_running_loop().time(),
            **{"ledger": MemoryLedger(), **parts},
        )
        await run_islands(run)
        return run

    return run_virtual(main())


def results(run):
    """Return each migrant's verdict, or the rule that refused it, by the island it came to."""
    rules = {}
    experiments = {e.experiment: e for e in run.ledger.kept if isinstance(e, ev.MigrantOffered)}
    for event in run.ledger.kept:
        if isinstance(event, ev.ProposalRefused) and event.experiment in experiments:
            rules[event.island] = event.rule
        if isinstance(event, ev.VerdictReached) and event.experiment in experiments:
            rules[event.island] = event.verdict
    return rules


def texts(run, island):
    """Return an island's head as text by path."""
    files = run.branches.files(run.state.islands[island].head)
    return {path: entry.data.decode() for path, entry in files.items()}


TRAINED, EXTRA = "genome/train.py", "genome/extra.py"
