"""A genome for the mutator, briefs on it, and what comes of its proposals."""

import math
from difflib import unified_diff

from islands.records import Attempt, Brief, Change, Gain
from swarm.agents.mutator import Mutator

GENOME = '''\
"""Train. 3 is a number, True a flag; neither is a site."""
import random
SEED = 7
# how fast
LEARNING_RATE = 3e-4
# how many at once
BATCH = 64
# what is remembered
BETAS = (0.9, 0.95)
# how it bends
ACTIVATION = "gelu"  # one of: gelu, relu, silu
# look ahead
NESTEROV = True
# shrink
DECAY = 0.0


def train(model, steps=100, seed=3):
    """Take 5 steps."""
    random.seed(11)
    x = model.start(seed, 12)
    for _ in range(steps):
        x = x + 0.5 * model.step(x)
        x.clip(3.0)
    return x
'''


def brief(genome=GENOME, seed=0, experiment=1, elsewhere=(), recent=()):
    """Return a brief on `genome`, one file's text or several by path."""
    files = genome if isinstance(genome, dict) else {"train.py": genome}
    return Brief(experiment, "a", "loss", "minimize", "", files, 2.0, 0.01, recent, elsewhere, seed)


def attempt(proposal, ending="discarded", gain=None, noise=0.01, experiment=1):
    """Return how a trial of `proposal` ended."""
    measured = None if gain is None else Gain(gain, noise, 1)
    return Attempt(experiment, "a", proposal.hypothesis, proposal.notes, ending, "", measured)


def text_of(proposal, path="train.py"):
    """Return a proposal's text of one file."""
    return proposal.files[path].data.decode()


def changed_lines(before, after):
    """Return the lines that differ, as a diff shows them."""
    lines = unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def taught(site, start, end, **outcome):
    """Return an agent that has learned one move of a number of GENOME."""
    notes = {
        "kind": "number", "head": "h", "edit": f"{site}={end}", "unit": 0.01, "hope": 0.0,
        "site": f"train.py:{site}", "from": str(start), "to": str(end),
        "mean": 0.0, "variance": 0.0, "start": math.log(start), "end": math.log(end),
    }  # fmt: skip
    agent = Mutator()
    ending, gain = outcome.get("ending", "discarded"), outcome.get("gain")
    measured = None if gain is None else Gain(gain, 0.004, 3)
    agent.learn(Attempt(1, "a", "", notes, ending, "", measured))
    return agent


def kept_elsewhere(before, after, gain=0.03):
    """Return the brief's `elsewhere` with one change of train.py, kept on island b."""
    change = Change(
        9, "b", "It helps.", Gain(gain, 0.003, 3), {"train.py": before}, {"train.py": after}
    )
    return (change,)
