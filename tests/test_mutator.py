"""The built-in mutator: every answer is a small, real change, and nothing is asked twice."""

import ast
import asyncio
import math
from pathlib import Path

import pytest

from islands.admit import Admitted, Limits, admit
from islands.records import Attempt, Brief, Change, Entry, Gain
from swarm.agents.base import AgentError
from swarm.agents.mutator import Mutator

ROOT = Path(__file__).parent.parent
GENOME = "genome/x.py"
SOURCE = '''"""A genome."""

# How fast.
LEARNING_RATE = 0.02
# How many.
STEPS = 100
# Which way.
ACTIVATION = "relu"  # one of: relu, gelu, silu
# Whether.
NESTEROV = True
# Not ours to change.
SEED = 7


def train(x):
    """Train for 3 steps."""
    return x * LEARNING_RATE + STEPS
'''


def brief(source=SOURCE, seed=1, **more):
    """Return a brief on a genome of one file."""
    facts = {
        "experiment": seed,
        "island": "a",
        "metric": "loss",
        "direction": "minimize",
        "program": "",
        "genome": {GENOME: source},
        "score": 1.0,
        "sigma": 0.01,
        "recent": (),
        "elsewhere": (),
        "seed": seed,
    }
    return Brief(**{**facts, **more})


def ask(agent, **facts):
    """Return the agent's proposal and the text it makes of the genome."""
    proposal = asyncio.run(agent.propose(brief(**facts)))
    return proposal, proposal.files[GENOME].data.decode()


def attempt(proposal, number, ending="discarded", gain=-0.01):
    """Return how an experiment on `proposal` ended."""
    weighed = None if gain is None else Gain(gain, 0.01, 1)
    return Attempt(number, "a", proposal.hypothesis, proposal.notes, ending, "", weighed)


def test_answers_follow_from_the_brief_and_what_was_learnt():
    """Two agents of one history give the same answers."""
    one, two = Mutator(), Mutator()
    for seed in range(1, 15):
        first, text = ask(one, seed=seed)
        second, same = ask(two, seed=seed)
        assert (first.hypothesis, text) == (second.hypothesis, same)
        for agent in (one, two):
            agent.learn(attempt(first, seed))


def test_no_edit_is_made_twice_on_one_head_until_there_is_none():
    """Each answer on an unchanged head is new, and the end of ideas is said."""
    agent, seen = Mutator(), set()
    source = 'FLAG = True\nKIND = "a"  # one of: a, b, c\n'
    for seed in range(1, 50):
        try:
            proposal, text = ask(agent, source=source, seed=seed)
        except AgentError as error:
            assert error.trouble == "unapplied"  # noqa: PT017 - an answer would do as well
            break
        assert text not in seen
        seen.add(text)
        agent.learn(attempt(proposal, seed))
    else:
        pytest.fail("it never ran out of changes to two knobs")
    assert 'FLAG = False\nKIND = "a"  # one of: a, b, c\n' in seen
    assert any('KIND = "b"' in text for text in seen)


def test_every_answer_is_admitted_and_no_seed_is_touched():
    """What it proposes parses, changes behaviour, and stays within the genome."""
    agent = Mutator()
    head = {GENOME: Entry(SOURCE.encode())}
    for seed in range(1, 60):
        proposal, text = ask(agent, seed=seed)
        assert isinstance(admit(proposal, head, ("genome",), Limits(), GENOME), Admitted)
        assert "SEED = 7" in text
        assert '"""Train for 3 steps."""' in text
        agent.learn(attempt(proposal, seed))


def test_a_change_kept_elsewhere_is_taken_over():
    """The other island's knob comes to this head, whatever else differs."""
    after = SOURCE.replace("STEPS = 100", "STEPS = 250")
    change = Change(9, "b", "more", Gain(0.1, 0.01, 3), {GENOME: SOURCE}, {GENOME: after})
    ours = SOURCE.replace("LEARNING_RATE = 0.02", "LEARNING_RATE = 0.05")
    agent, found = Mutator(), []
    for seed in range(1, 30):
        proposal, text = ask(agent, source=ours, seed=seed, elsewhere=(change,))
        found.append("STEPS = 250" in text and "LEARNING_RATE = 0.05" in text)
        agent.learn(attempt(proposal, seed))
    assert any(found)


def test_it_climbs_a_known_hill_faster_than_chance_would():
    """From a tenth of the best learning rate to within a factor of two in 60 noiseless tries."""
    agent, source = Mutator(), SOURCE.replace("= 0.02", "= 0.002")

    def loss(text):
        space = {}
        exec(text, space)
        return math.log(space["LEARNING_RATE"] / 0.02) ** 2

    best = loss(source)
    for seed in range(1, 61):
        proposal, text = ask(agent, source=source, seed=seed)
        gain = best - loss(text)
        ending = "kept" if gain > 0 else "discarded"
        agent.learn(attempt(proposal, seed, ending, gain))
        if gain > 0:
            source, best = text, loss(text)
    assert best < 0.5


@pytest.mark.parametrize("path", sorted((ROOT / "islands").rglob("*.py")), ids=lambda p: p.name)
def test_any_python_file_gives_a_change_that_parses_or_none(path):
    """On real code the answer parses and differs, or there is nothing to change."""
    source = path.read_text()
    for seed in range(1, 6):
        try:
            _, text = ask(Mutator(), source=source, seed=seed)
        except AgentError as error:
            assert error.trouble == "unapplied"  # noqa: PT017 - an answer would do as well
            return
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(source))
