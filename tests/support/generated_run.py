"""A generated run of any size: a legal ledger with realistic rates, written in seconds."""

import hashlib
import random

from analysis.ledger import NAME
from harness.contract import Failure, Outcome, Rung, Slice
from islands import events as ev
from islands.records import NULL, Gain, Migrant, Usage
from tests.support.chain import chained

HARNESS = "generated"
NOISE = 0.004


class _Writer:
    """The events of a run in which most proposals are discarded and some are kept."""

    def __init__(self, islands, seed):
        self.random = random.Random(seed)
        self.now = 1_700_000_000.0
        self.bodies, self.trials, self.checks, self.latest = [], 0, 0, None
        self.names = [f"i{k:02d}" for k in range(islands)]
        self.head = dict.fromkeys(self.names, sha("base"))
        self.worth = {sha("base"): 2.0}

    def say(self, kind, *fields, **named):
        self.now += self.random.expovariate(8.0)
        self.bodies.append(ev.encode(kind(*fields, recorded=round(self.now, 6), **named)))

    def open(self):
        base, rungs = sha("base"), (Rung(2, 20.0, 4096), Rung(4, 60.0, 8192))
        run = ("large", base, "main", "gpt", "kjv", "val_bpb", "minimize", ("genome/train.py",))
        self.say(ev.RunOpened, *run, rungs, HARNESS, 0, 4, lines=474)
        for k, name in enumerate(self.names):
            slice_ = Slice(f"cpu{k}", "cpu", (k,))
            self.say(ev.IslandOpened, name, f"swarm/large/{name}", base, "mutator", slice_)
            self.trial(0, name, base, "baseline")

    def trial(self, experiment, island, commit, purpose, **named):
        """Run a trial; one in 200 fails."""
        self.trials += 1
        name, where = f"t{self.trials}", f"cpu{self.names.index(island)}"
        seed = self.random.getrandbits(31)
        started = (name, experiment, island, commit, purpose, seed, 0, where)
        self.say(ev.TrialStarted, *started, **named)
        begun = ev.TrialStarted(*started, recorded=round(self.now, 6), **named)
        facts = {"parameters": 1_234_567.0, "tokens": 262_144.0}
        rest = {"seconds": {"budget": 20.0, "lost": 0.1}, "peak_mib": 801.5, "facts": facts}
        rest |= {"claims": {"steps": 211.0, "loss": 2.4}, "tail": "claim steps 211\n" * 16}
        failed = purpose == "screen" and self.random.random() < 0.005
        how = {"failure": Failure("crash", "ValueError: bad width")}
        if not failed:
            how = {"score": self.random.gauss(self.worth[commit], NOISE)}
        self.say(ev.TrialEnded, begun, Outcome(name, HARNESS, "namespaces", **how, **rest))
        return not failed

    def experiment(self, number, island):
        """Tell one experiment's whole life."""
        parent, draw = self.head[island], self.random.random()
        null = number % 50 == 0
        agent = NULL if null else "mutator"
        knob = f"KNOB_{self.random.randrange(40)}"
        words = f"Raise {knob} from {number % 97} to {number % 89}, as the warm-down is short"
        if self.latest and number % 400 == 1 and self.latest[1] != island:
            first, *where = self.latest
            migrant = Migrant(first, first, *where, "Lower KNOB", Gain(0.01, NOISE / 2, 5))
            self.say(ev.MigrantOffered, number, island, parent, migrant)
        else:
            self.say(ev.AgentCallStarted, number, island, agent)
            usage = Usage(1, 2000, 300, 0.004)
            notes = {"knob": knob, "kind": "scale"}
            self.say(ev.ProposalReceived, number, island, agent, parent, words, notes, usage)
        if draw < 0.08 and not null:
            self.say(ev.ProposalRefused, number, island, "comments", "changes only comments")
            return
        commit, better = sha(f"c{number}"), draw > 0.99 and not null
        self.worth[commit] = self.worth[parent] - (0.01 if better else 0.0)
        change = sha(f"{knob}{number % 3000}")[:16]
        self.say(ev.CandidateAdmitted, number, island, commit, parent, 1, 1, 0, change)
        if not self.trial(number, island, commit, "screen"):
            del self.worth[commit]
            return
        pairs = 4 if better else 2 if draw > 0.9 else 0
        for _ in range(pairs):
            self.trial(number, island, commit, "confirm")
            self.trial(number, island, parent, "confirm")
        gain = Gain(self.random.gauss(0.01 if better else 0, 0.002), 0.002, pairs or 1, 0.3)
        verdict, why = ("keep", "better") if better else ("discard", "screened below +0.01")
        facts = (number, island, commit, parent, verdict, why, gain)
        self.say(ev.VerdictReached, *facts, null=null)
        if better:
            self.head[island], self.latest = commit, (number, island, parent, commit)
        else:
            del self.worth[commit]


def sha(text):
    """Return a commit id for a name."""
    return hashlib.sha1(text.encode()).hexdigest()


def generate(folder, experiments, islands=16, seed=17):
    """Write the ledger of a run of so many experiments into `folder`, the run's own."""
    writer = _Writer(islands, seed)
    writer.open()
    for number in range(1, experiments + 1):
        writer.experiment(number, writer.random.choice(writer.names))
    writer.say(ev.RunStopped, "minutes", "minutes")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_bytes(chained(writer.bodies))
