"""Benchmark of the mutator: generated genomes of known worth, noisy trials, the real ratchet.

    python -m tests.benchmarks.bench_mutator [--campaigns 40] [--trials 40,80,160]

A campaign generates a genome of 10 to 30 numbers of known effect: valleys on the numbers' scales,
a third of them flat, some interactions, walls beyond which the program breaks, and flags,
alternatives and statements that help or hurt. The attainable gain is 0.15 in all. Two islands
measure with the noise of a 20 s trial (0.012 between seeds, 0.008 in a pair) under the default
acceptance rule. The table shows the true gain of the better island as a share of the attainable
gain, by trials spent (confirmations included), for the mutator and two searches that learn nothing.
"""

from __future__ import annotations

import argparse
import ast
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from islands.ratchet.acceptance import AcceptanceRule, CandidateEvidence, Decision, KeepTally
from islands.ratchet.learnt_prior import Earned
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.noise import Noise
from islands.ratchet.screening import ScreenedGains
from islands.records import Attempt, Brief, Change, Entry, Gain, Pending, Proposal
from swarm.agents.base import AgentError
from swarm.agents.mutator import MoveHistory, Mutator
from swarm.agents.mutator.edit_sites import Site, find_sites
from swarm.agents.mutator.source import parse_source, splice

ATTAINABLE = 0.15
BETWEEN, PAIRED = 0.012, 0.008
OWN = PAIRED / math.sqrt(2)  # spread of a score that its seed does not explain
SHARED = math.sqrt(BETWEEN**2 - OWN**2)
PATH = "train.py"

STRONG = ["MATRIX_LR", "EMBED_LR", "HEAD_LR", "BATCH_SIZE", "WIDTH", "WARMDOWN", "MOMENTUM"]
PLAIN = [
    "ROTARY_BASE", "SOFTCAP", "MLP_RATIO", "HEAD_WIDTH", "WEIGHT_DECAY", "INIT_STD", "CLIP",
    "WINDOW", "GROUPS", "SKIP", "DROPOUT", "LABEL_SMOOTHING", "GAMMA", "ORTHO", "BLEND",
]  # fmt: skip
FEEBLE = ["BETA1", "BETA2", "EPS", "LOG_EVERY", "TOLERANCE"]


@dataclass(frozen=True)
class Valley:
    """Loss of a number: `depth` times the squared distance from `best`, linear from 1.5.

    On one side of the best it is `steep` times as high, as for a learning rate that is too high.
    """

    start: float
    best: float
    depth: float
    wall: float
    steep: float = 1.0

    def loss(self, distance: float) -> float:
        far = abs(distance - self.best)
        side = self.steep if (distance - self.best) * self.steep_side > 0 else 1.0
        return side * self.depth * (0.5 * far**2 if far < 1.5 else 1.5 * far - 1.125)

    def start_place(self, name: str) -> float:
        return _place(self.start, name)

    @property
    def steep_side(self) -> float:
        return 1.0 if math.sin(1e3 * self.best) > 0 else -1.0


@dataclass
class Problem:
    """A genome and the loss of each of its values (lower is better)."""

    text: str
    valleys: dict[str, Valley] = field(default_factory=dict)
    options: dict[str, dict[str, float]] = field(default_factory=dict)
    pairs: list[tuple[str, str, float]] = field(default_factory=list)
    lines: dict[str, float] = field(default_factory=dict)
    junk: dict[str, float | None] = field(default_factory=dict)
    scale: float = 1.0

    def loss(self, text: str) -> float | None:  # noqa: C901 - one branch for each shape of response
        """Return the true loss of `text` above the best; None if it breaks."""
        values, lines = _values(text)
        total, distances = 0.0, {}
        for name, valley in self.valleys.items():
            value = ast.literal_eval(values[name])
            if value <= 0 or (valley.start < 1 and isinstance(value, float) and value >= 10):
                return None
            distance = _place(value, name) - valley.start_place(name)
            if valley.wall and distance * math.copysign(1, valley.wall) > abs(valley.wall):
                return None
            distances[name] = distance
            total += valley.loss(distance)
        for name, worth in self.options.items():
            if values[name] not in worth:
                return None
            total += worth[values[name]]
        for one, other, weight in self.pairs:
            total += weight * math.tanh(distances[one]) * math.tanh(distances[other])
        for line, worth in self.lines.items():
            total += worth if line in lines else 0.0
        for line, worth in self.junk.items():  # harmless, harmful or fatal to change
            if line not in lines:
                if worth is None:
                    return None
                total += worth
        if "STEP" not in lines:
            return None
        return total * self.scale


def _place(value: float, name: str) -> float:
    fraction = isinstance(value, float) and 0 < value < 1 and "LR" not in name and "STD" not in name
    return math.log(value / (1 - value)) if fraction else math.log(value)


@lru_cache(maxsize=256)
def _values(text: str) -> tuple[dict[str, str], set[str]]:
    values: dict[str, str] = {}
    lines: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = ast.unparse(node.value)
        elif isinstance(node, ast.FunctionDef):
            lines |= {ast.unparse(inner) for inner in node.body}
    return values, {("STEP" if line == "model.step(x)" else line) for line in lines}


def make_problem(rng: random.Random) -> Problem:
    """Return a random problem of 10 to 30 numbers."""
    problem = Problem("")
    names = rng.sample(STRONG, rng.randint(4, 7)) + rng.sample(PLAIN, rng.randint(4, 14))
    names += rng.sample(FEEBLE, rng.randint(1, 4))
    rng.shuffle(names)
    out = ['"""A made genome."""', ""]
    for name in names:
        start = _start(name, rng)
        live = rng.random() < (0.85 if name in STRONG else 0.25 if name in FEEBLE else 0.6)
        depth = math.exp(rng.gauss(0.5 if name in STRONG else 0.0, 0.8)) if live else 0.0
        wall = rng.choice((-1, 1)) * rng.uniform(1.5, 3) if rng.random() < 0.2 else 0.0
        best = rng.gauss(0, 0.7)
        if wall and best * wall > 0:
            best = math.copysign(min(abs(best), abs(wall) - 0.3), wall)
        steep = math.exp(rng.uniform(0, math.log(6)))
        problem.valleys[name] = Valley(start, best, depth, wall, steep)
        out += [f"# What {name.lower()} does.", f"{name} = {start!r}"]
    for i in range(rng.randint(1, 3)):
        worth = {"'plain'": 0.0} | {
            f"'kind{k}'": rng.gauss(0.5, 1.5) for k in range(rng.randint(1, 3))
        }
        problem.options[f"KIND{i}"] = worth
        listed = ", ".join(w.strip("'") for w in worth)
        out += ["# Which kind.", f'KIND{i} = "plain"  # one of: {listed}']
    for i in range(rng.randint(1, 4)):
        problem.options[f"FLAG{i}"] = {"True": 0.0, "False": rng.gauss(0.5, 1.5)}
        out += ["# Whether.", f"FLAG{i} = True"]
    if rng.random() < 0.5:  # fixed by the harness
        problem.options["CONTEXT"] = {"26": 0.0}
        out += ["# What must be.", "CONTEXT = 26"]
    out += ["", "", "def train(model, x):", '    """Train."""', "    model.step(x)"]
    for i in range(rng.randint(3, 6)):
        line = f"x = x + model.part{i}(x)"
        problem.lines[line] = rng.gauss(-0.5, 0.8)
        out.append(f"    {line}")
    for i in range(rng.randint(4, 12)):
        line = f"y{i} = bend(x, {rng.choice((0.001, 0.5, 1.0, 1.5, 8, 120))})"
        problem.junk[line] = rng.choice((0.0, 0.0, 0.0, 0.3, 1.0, 5.0, None))
        out.append(f"    {line}")
    out += ["    return x", ""]
    live_names = [n for n in names if problem.valleys[n].depth]
    for _ in range(len(live_names) // 2):
        one, other = rng.sample(live_names, 2)
        weight = 0.5 * math.sqrt(problem.valleys[one].depth * problem.valleys[other].depth)
        problem.pairs.append((one, other, rng.choice((-1, 1)) * weight * rng.random()))
    problem.text = "\n".join(out)
    attainable = sum(v.loss(0.0) for v in problem.valleys.values())
    attainable += sum(max(0.0, -min(w.values())) for w in problem.options.values())
    attainable += sum(max(0.0, worth) for worth in problem.lines.values())
    problem.scale = ATTAINABLE / attainable
    return problem


def _start(name: str, rng: random.Random) -> float | int:
    if name in {"BATCH_SIZE", "WIDTH", "WINDOW", "HEAD_WIDTH", "GROUPS"}:
        return int(2 ** rng.randint(3, 8))
    if name in {"LOG_EVERY", "ORTHO"}:
        return rng.randint(3, 60)
    if "LR" in name or name in {"INIT_STD", "EPS", "TOLERANCE"}:
        return float(f"{10 ** rng.uniform(-3, -0.5):.1g}")
    if name in {"ROTARY_BASE", "SOFTCAP", "MLP_RATIO", "CLIP", "SKIP", "GAMMA"}:
        return float(f"{10 ** rng.uniform(0.1, 3):.2g}")
    return round(rng.uniform(0.05, 0.95), 2)


class Blind:
    """Search that learns nothing: a random site and value (or always a factor of two)."""

    def __init__(self, fixed: bool) -> None:
        self.fixed = fixed

    def propose_now(self, brief: Brief) -> Proposal:
        rng = random.Random(brief.seed)
        source = parse_source(PATH, brief.genome[PATH])
        assert source is not None
        sites = find_sites(source)
        for _ in range(100):
            site = rng.choice(sites)
            to = self._value(site, rng)
            text = splice(source, (site.edit(to),)) if to else None
            if text:
                return Proposal(site.name, {PATH: Entry(text)})
        raise AgentError("unapplied", "nothing to change")

    def _value(self, site: Site, rng: random.Random) -> str | None:
        if site.number is None:
            return rng.choice(site.options) if site.options else None
        step = math.log(2) * rng.choice((-1, 1)) if self.fixed else rng.uniform(-2.3, 2.3)
        return site.number.at(site.number.place + step, step)

    def learn(self, attempt: Attempt) -> None:
        pass


@dataclass
class Arm:
    """One island of a campaign: its head and the head's scores by seed, and its next candidate."""

    agent: Mutator | Blind
    text: str
    loss: float
    scores: dict[int, float]
    kept: list[Change] = field(default_factory=list)
    waiting: Candidate | None = None


@dataclass(frozen=True)
class Candidate:
    """A proposal and the genome that it makes."""

    number: int
    proposal: Proposal
    text: str

    @property
    def pending(self) -> Pending:
        return Pending(self.number, self.proposal.hypothesis, self.proposal.notes)


class Campaign:
    """Two islands on one problem, as the coordinator would run them."""

    def __init__(
        self,
        problem: Problem,
        agents: Sequence[Mutator | Blind],
        seed: int,
        told: bool = True,
        rule: AcceptanceRule = LfsrRule(),
    ) -> None:
        self.problem, self.rule, self.told = problem, rule, told
        self.random = random.Random(seed)
        self.seeds: dict[int, float] = {}
        self.spent = 0
        self.experiments = self.proposed = 0
        self.residual, self.freedom = 0.0, 0
        self.screens, self.kept = ScreenedGains(), KeepTally()
        loss = problem.loss(problem.text)
        assert loss is not None
        scores = {s: self._score(loss, s) for s in range(5)}
        self.spent = 0
        self.sigma = statistics.stdev(scores.values())
        self.arms = [Arm(a, problem.text, loss, dict(scores)) for a in agents]
        self.start = loss

    def _score(self, loss: float, seed: int) -> float:
        self.spent += 1
        shared = self.seeds.setdefault(seed, self.random.gauss(0, SHARED))
        return 2.0 + loss + shared + self.random.gauss(0, OWN)

    def gain(self) -> float:
        return max(self.start - arm.loss for arm in self.arms) / ATTAINABLE

    def run(self, marks: Sequence[int]) -> list[float]:
        """Return the better island's true gain at each of `marks` trials."""
        found = []
        for mark in marks:
            while self.spent < mark:
                arm = self.arms[self.experiments % len(self.arms)]
                if not self.step(arm):
                    self.spent += 1
            found.append(self.gain())
        return found

    def noise(self) -> Noise:
        return Noise(self.sigma, 5, self.residual, self.freedom)

    def decide(self, screened: float, pairs: Sequence[float]) -> Decision:
        noise = self.noise()
        prior = self.screens.prior(noise, Earned(self.kept.gain_sum, self.spent))
        return self.rule.decide(CandidateEvidence(screened, pairs, noise, prior, self.kept))

    def step(self, arm: Arm) -> bool:
        """Try an island's next candidate, and ask for the one after it before that has ended."""
        self.experiments += 1
        candidate = arm.waiting or self.ask(arm, None)
        arm.waiting = self.ask(arm, candidate)
        if candidate is None:
            return False
        loss = self.problem.loss(candidate.text)
        attempt, fresh = self.attempt(arm, candidate, loss)
        if attempt.ending == "kept":
            assert attempt.gain is not None
            assert loss is not None
            self.kept = self.kept.plus(attempt.gain)
            arm.kept.append(self.change(arm, candidate, attempt.gain))
            waiting = arm.waiting and self.change(arm, arm.waiting, Gain(0.0, 0.0, 0))
            arm.text, arm.loss, arm.scores = candidate.text, loss, fresh
            arm.waiting = waiting and self.rebased(arm, waiting)
        arm.agent.learn(attempt)
        return True

    def ask(self, arm: Arm, running: Candidate | None) -> Candidate | None:
        """Return the agent's next candidate; it knows what is under way on both islands."""
        elsewhere = [other.waiting for other in self.arms if other is not arm]
        brief = replace(
            self.brief(arm),
            pending=(running.pending,) if running else (),
            claims=tuple(other.pending for other in elsewhere if other),
        )
        try:
            proposal = arm.agent.propose_now(brief)
        except AgentError:
            return None
        entry = proposal.files[PATH]
        assert entry is not None
        return Candidate(brief.experiment, proposal, entry.data.decode())

    def brief(self, arm: Arm) -> Brief:
        self.proposed += 1
        return Brief(
            self.proposed,
            str(self.arms.index(arm)),
            "val_bpb",
            "minimize",
            "",
            {PATH: arm.text},
            statistics.fmean(arm.scores.values()),
            self.sigma,
            (),
            tuple(c for other in self.arms if other is not arm for c in other.kept[-4:]),
            self.random.getrandbits(31),
        )

    def change(self, arm: Arm, candidate: Candidate, gain: Gain) -> Change:
        return Change(
            candidate.number,
            str(self.arms.index(arm)),
            candidate.proposal.hypothesis,
            gain,
            {PATH: arm.text},
            {PATH: candidate.text},
        )

    def rebased(self, arm: Arm, change: Change) -> Candidate | None:
        """Return the candidate that waits, on the island's new head; None if it does not apply.

        `change`: it on the head before.
        """
        if arm.waiting is None or isinstance(arm.agent, Blind):
            return None
        try:
            made = arm.agent.propose_now(replace(self.brief(arm), port=change)).files[PATH]
        except AgentError:
            return None
        assert made is not None
        return replace(arm.waiting, text=made.data.decode())

    def attempt(
        self, arm: Arm, candidate: Candidate, loss: float | None
    ) -> tuple[Attempt, dict[int, float]]:
        """Return how a candidate of this true `loss` ended, and its scores by seed."""
        number, proposal = candidate.number, candidate.proposal
        island = str(self.arms.index(arm))
        attempt = Attempt(number, island, proposal.hypothesis, proposal.notes, "failed", "crash")
        if loss is None:
            self.spent += 1
            return attempt, {}
        seeds = list(arm.scores)
        seed = seeds[number % len(seeds)]
        screened = arm.scores[seed] - self._score(loss, seed)
        self.screens.add(number, screened)
        pairs: list[float] = []
        fresh: dict[int, float] = {}
        decision = self.decide(screened, pairs)
        while decision.verdict == "confirm":
            seed = 1000 * number + len(pairs)
            arm.scores[seed] = self._score(arm.loss, seed)
            fresh[seed] = self._score(loss, seed)
            pairs.append(arm.scores[seed] - fresh[seed])
            decision = self.decide(screened, pairs)
        self.screens.confirm(number, pairs)
        if len(pairs) > 1:
            mean = statistics.fmean(pairs)
            self.residual += sum((p - mean) ** 2 for p in pairs)
            self.freedom += len(pairs) - 1
        gain = decision.gain
        if gain is None and self.told:
            gain = Gain(screened, self.noise().pair, 1)
        ending = "kept" if decision.verdict == "keep" else "discarded"
        return replace(attempt, ending=ending, reason=decision.reason, gain=gain), fresh


AgentFactory = Callable[[], Sequence[Mutator | Blind]]


def together() -> list[Mutator | Blind]:
    """Return the mutators of two islands of one run."""
    history = MoveHistory()
    return [Mutator(history=history), Mutator(history=history)]


def compare(
    agents: dict[str, AgentFactory],
    campaigns: int,
    marks: Sequence[int],
    told: bool = True,
    first: int = 0,
) -> dict[str, list[tuple[float, float]]]:
    """Return mean and standard error of the share gained by each agent at each mark."""
    table = {}
    for name, make_agents in agents.items():
        rows = []
        for seed in range(first, first + campaigns):
            problem = make_problem(random.Random(seed))
            campaign = Campaign(problem, make_agents(), seed, told)
            rows.append(campaign.run(marks))
        columns = list(zip(*rows, strict=True))
        table[name] = [
            (statistics.fmean(c), statistics.stdev(c) / math.sqrt(len(c))) for c in columns
        ]
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=40)
    parser.add_argument("--trials", default="40,80,160")
    options = parser.parse_args()
    marks = [int(mark) for mark in options.trials.split(",")]
    agents: dict[str, AgentFactory] = {
        "mutator": together,
        "mutators that share nothing": lambda: [Mutator(), Mutator()],
        "any site, any value": lambda: [Blind(fixed=False)] * 2,
        "any site, factor of two": lambda: [Blind(fixed=True)] * 2,
    }
    print(f"share of the attainable gain, better of two islands, {options.campaigns} campaigns")
    print(f"{'trials':28}" + "".join(f"{mark:>14}" for mark in marks))
    for name, row in compare(agents, options.campaigns, marks).items():
        print(f"{name:28}" + "".join(f"  {mean:5.2f} ± {error:.2f}" for mean, error in row))


if __name__ == "__main__":
    main()
