"""A stand-in model that repeats itself and herds, and a world of knobs in which it searches.

A genome is a list of knobs, an idea sets one of them. All models prefer the same few ideas, forget
what came of them, and word each one anew: other layout, comments and local names.
"""

import asyncio
import random
import re
from dataclasses import dataclass

from islands.records import Entry, Proposal, Usage
from tests.support.laboratory import GENOME, LabExecutor, MemoryBranches

KNOBS, VALUES = 30, 3

IDEAS = random.Random(1).sample([(n, v) for n in range(KNOBS) for v in range(1, VALUES)], 60)
"""Knobs and values, the most popular first."""

POPULARITY = [1 / (place + 1) for place in range(len(IDEAS))]


FIRST = (
    "def knobs():\n    found = {}\n"
    + "".join(f'    found["k{n}"] = 0\n' for n in range(KNOBS))
    + "    return found\n"
)


def block_of(text, knob):
    """Return the match of the lines that set a knob."""
    return re.search(rf'(    v\d+ = .*\n)?    found\["k{knob}"\] *= .*\n', text)


def with_block(text, knob, block):
    """Return a genome with the lines that set a knob replaced."""
    old = block_of(text, knob)
    return text[: old.start()] + block + text[old.end() :]


def knobs_of(text):
    """Return the values of the knobs of a genome."""
    space = {}
    exec(text, space)
    return tuple(space["knobs"]().values())


class KnobBranches(MemoryBranches):
    """Commits of such genomes; the change of one applies to another where its knob is as it was."""

    def __init__(self):
        super().__init__(FIRST)

    def knobs(self, commit):
        return knobs_of(self.files(commit)[GENOME].data.decode())

    def idea(self, parent, commit):
        """Return the knobs that differ, with their values."""
        pairs = enumerate(zip(self.knobs(parent), self.knobs(commit), strict=True))
        return tuple((n, new) for n, (old, new) in pairs if old != new)

    def apply_change(self, parent, commit, onto):
        texts = [self.files(each)[GENOME].data.decode() for each in (commit, onto)]
        text = texts[1]
        for n, _ in self.idea(parent, commit):
            text = with_block(text, n, block_of(texts[0], n)[0])
        return {} if text == texts[1] else {GENOME: Entry(text.encode())}

    def diff(self, old, new):
        return repr(self.idea(old, new))


@dataclass
class KnobExecutor(LabExecutor):
    """Scores a genome by its knobs: one idea in 24 helps, the others do harm or nothing."""

    def worth(self, commit):
        knobs = self.branches.knobs(commit)
        return sum(worth(n, value) for n, value in enumerate(knobs))


def worth(knob, value):
    """Return what a value of a knob is truly worth beside 0."""
    draw = random.Random(f"{knob}/{value}")
    helps = value and draw.random() < 1 / 24
    return 0.05 if helps else -abs(draw.gauss(0, 0.03)) * bool(value)


@dataclass
class HerdingModel:
    """Proposes one of few ideas, the popular ones most of the time."""

    name: str = "herd"
    think: float = 2.0

    async def propose(self, brief):
        await asyncio.sleep(self.think)
        draw = random.Random(brief.seed)
        n, value = draw.choices(IDEAS, POPULARITY)[0]
        text = brief.genome[GENOME]
        value = 0 if knobs_of(text)[n] == value else value
        local, space = f"v{draw.randrange(10**6)}", draw.choice(["", " "])
        remark = draw.choice(["", "  # tuned", "  # as in the paper"])
        block = f'    {local} = {value}{remark}\n    found["k{n}"]{space}={space} {local}\n'
        text = with_block(text, n, block)
        hypothesis = draw.choice(["Set", "Try", "Use"]) + f" {value} for k{n}"
        return Proposal(hypothesis, {GENOME: Entry(text.encode())}, usage=Usage(1, 900, 100, 0.01))

    def learn(self, attempt):
        """Learn nothing."""
