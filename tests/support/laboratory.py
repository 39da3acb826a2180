"""Test doubles of the coordinator: git in memory, trials with known results, virtual time."""

import asyncio
import hashlib
import random
from dataclasses import dataclass, field, replace

from harness.contract import CheckResult, Outcome, Rung, Slice
from islands import events as ev
from islands.genome.admission import AdmissionLimits
from islands.migration import NO_MIGRATION
from islands.ratchet.policy import RatchetPolicy
from islands.records import Entry, Proposal, Usage
from islands.stacking.state import NEVER
from swarm.coordinator.launch_plan import IslandPlan, Launch, RunLimits
from swarm.coordinator.run import NoPreflights, Run, inline
from swarm.project.runs import RunFolder

GENOME = "genome/x.py"
SECONDS = 20.0


class MemoryLedger:
    """Events in a list, stamped with the loop's time."""

    def __init__(self, events=()):
        self.kept = list(events)

    def append(self, event):
        stamped = replace(event, recorded=asyncio.get_running_loop().time())
        self.kept.append(ev.decode(ev.encode(stamped)))
        return self.kept[-1]

    def events(self):
        return iter(list(self.kept))


class MemoryBranches:
    """Commits in a dict, branches in another."""

    def __init__(self, text="X = 0.0\n"):
        self.commits = {"base": ("", {GENOME: Entry(text.encode())})}
        self.held, self.heads = {}, {}

    def branch(self, island):
        return f"swarm/lab/{island}"

    def files(self, commit):
        return self.commits[commit][1]

    def export(self, commit, into):
        into.mkdir(parents=True, exist_ok=True)

    def commit(self, parent, files, message, experiment, when):
        name = hashlib.sha1(f"{parent}{message}{when}".encode()).hexdigest()
        self.commits[name] = (parent, {**self.files(parent), **files})
        self.held[experiment] = name
        return name

    def commit_under_ref(self, name, parent, files, message, when):
        commit = hashlib.sha1(f"{name}{parent}{message}{when}".encode()).hexdigest()
        self.commits[commit] = (parent, {**self.files(parent), **files})
        return commit

    def apply_change(self, parent, commit, onto):
        """Add what a step added: in one line that every candidate changes, git would conflict."""
        before, after, now = (value(self, each) for each in (parent, commit, onto))
        if after == now:
            return {}
        return {GENOME: Entry(f"X = {now + after - before!r}\n".encode())}

    def diff(self, old, new):
        return f"-X = {value(self, old)!r}\n+X = {value(self, new)!r}\n"

    def diffs(self, pairs):
        return {new: self.diff(old, new) for old, new in pairs}

    def tried(self, experiment):
        return self.held.get(experiment)

    def numstat(self, old, new):
        return (1, 1)

    def advance(self, island, new, old):
        if self.heads.get(island, "") != old:
            raise RuntimeError(f"{island} is at {self.heads.get(island)}, not at {old}")
        self.heads[island] = new

    def sync_branches(self, heads):
        self.heads.update(heads)

    def pack_candidates(self, base):
        pass


def value(branches, commit):
    """Read X out of a commit's genome: what its true score is made of."""
    return float(branches.files(commit)[GENOME].data.decode().split("=")[1])


@dataclass
class LabExecutor:
    """Scores a commit by its X with seed noise; `faults` maps trial numbers to what goes wrong."""

    branches: MemoryBranches
    sigma: float = 0.01
    seconds: float = SECONDS
    faults: dict = field(default_factory=dict)
    harness: str = "lab"
    running: set = field(default_factory=set)
    trials: list = field(default_factory=list)
    unsound: object = staticmethod(lambda x: False)
    checked: list = field(default_factory=list)

    def current_slice(self, where):
        return where

    async def run(self, trial):
        assert trial.slice.name not in self.running, "two trials on one slice"
        self.running.add(trial.slice.name)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running.discard(trial.slice.name)
        self.trials.append(trial)
        fault = self.faults.get(len(self.trials))
        if isinstance(fault, Exception):
            raise fault
        phases = {"budget": self.seconds}
        if fault is not None:
            return Outcome(trial.id, "lab", "namespaces", failure=fault, seconds=phases)
        noise = random.Random(f"{trial.seed}/{trial.commit}").gauss(0, self.sigma)
        common = random.Random(trial.seed).gauss(0, self.sigma)
        score = 2.0 - self.worth(trial.commit) + noise / 2 + common
        return Outcome(trial.id, "lab", "namespaces", score=score, seconds=phases)

    def worth(self, commit):
        """Return what a commit is truly worth: its X."""
        return value(self.branches, commit)

    async def check(self, trial):
        """Let a commit pass unless its X is among those that `unsound` names."""
        await asyncio.sleep(1.0)
        self.checked.append(trial.commit)
        if self.unsound(value(self.branches, trial.commit)):
            return CheckResult(False, "pytest", "`pytest` exited with 1: X", "E   X\n1 failed", 1.0)
        return CheckResult(True, seconds=1.0)


@dataclass
class LabAgent:
    """Moves X by a random step; `script` overrides single answers by call number."""

    name: str = "lab"
    step: float = 0.02
    think: float = 1.0
    script: dict = field(default_factory=dict)
    calls: int = 0
    learned: list = field(default_factory=list)

    async def propose(self, brief):
        self.calls += 1
        await asyncio.sleep(self.think)
        answer = self.script.get(self.calls)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        now = float(brief.genome[GENOME].split("=")[1])
        then = now + random.Random(brief.seed).gauss(0, self.step)
        text = f"X = {then!r}\n".encode()
        return Proposal(f"X to {then:.4f}", {GENOME: Entry(text)}, usage=Usage(1, 10, 5, 0.01))

    def learn(self, attempt):
        self.learned.append(attempt)


def opening(**changes):
    """Return the event that opens the laboratory's run."""
    first = ev.RunOpened(
        run="lab",
        base="base",
        target="main",
        task="lab",
        data="none",
        metric="loss",
        direction="minimize",
        genome=(GENOME,),
        rungs=(Rung(1, SECONDS),),
        harness="lab",
        seed=7,
        baseline_seeds=4,
    )
    return replace(first, **changes)


def launch(  # noqa: PLR0913, PLR0917 - parts of a launch, each with a default
    tmp_path,
    islands=2,
    limits=RunLimits(trials=60),
    ratchet=RatchetPolicy(),
    migration=NO_MIGRATION,
    stacking=NEVER,
    slices=(),
    **changes,
):
    """Return what is fixed for a laboratory launch; without `slices` each island has one."""
    homes = slices or [Slice(f"s{k}", "cpu") for k in range(islands)]
    return Launch(
        opening=opening(**changes),
        islands=tuple(IslandPlan(f"i{k}", "lab", homes[k % len(homes)]) for k in range(islands)),
        ratchet=ratchet,
        admission=AdmissionLimits(),
        limits=limits,
        prose="Lower the loss.",
        entry=GENOME,
        folder=RunFolder(tmp_path, "lab"),
        migration=migration,
        stacking=stacking,
    )


def make_run(tmp_path, ledger=None, branches=None, agents=None, executor=None, **changes):
    """Return a run of the laboratory, any part of it replaced; call it inside the loop."""
    branches, preflights = branches or MemoryBranches(), changes.pop("preflights", NoPreflights())
    plan = launch(tmp_path, **changes)
    return Run(
        launch=plan,
        ledger=ledger or MemoryLedger(),
        branches=branches,
        executor=executor or LabExecutor(branches),
        agents=agents or {island.name: LabAgent() for island in plan.islands},
        preflights=preflights,
        offload=inline,
        now=lambda: asyncio.get_running_loop().time(),
    )
