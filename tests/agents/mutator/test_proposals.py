"""Proposals of the mutator: a function of the brief, none made twice on one head."""

import asyncio
from dataclasses import replace

import pytest

from islands.records import Pending
from swarm.agents.base import AgentError
from swarm.agents.mutator import Mutator
from tests.support.mutator import GENOME, attempt, brief, changed_lines, text_of


def test_a_proposal_changes_one_line_and_records_it():
    """The diff is one line and the notes name the site and its values."""
    proposal = Mutator().propose_now(brief(seed=3))
    lines = changed_lines(GENOME, text_of(proposal))
    assert len(lines) == 2
    assert proposal.notes["from"] in lines[0]
    assert proposal.notes["to"] in lines[1]
    assert proposal.notes["to"] in proposal.hypothesis
    assert all(isinstance(value, (str, float, int)) for value in proposal.notes.values())


def test_propose_answers_as_an_agent_does():
    """The coroutine `propose` returns what `propose_now` returns."""
    assert asyncio.run(Mutator().propose(brief(seed=5))) == Mutator().propose_now(brief(seed=5))


def test_it_is_a_function_of_the_brief_and_what_was_learned():
    """Two agents with the same past propose the same; another seed gives another proposal."""
    one, other = Mutator("one"), Mutator("other")
    texts = []
    for n in range(30):
        own_brief = brief(seed=n, experiment=n)
        first, second = one.propose_now(own_brief), other.propose_now(own_brief)
        assert first == second
        texts.append(text_of(first))
        for agent in (one, other):
            agent.learn(attempt(first, gain=-0.01 + 0.001 * (n % 7)))
    assert len(set(texts)) == 30


def test_a_genome_that_it_cannot_edit_is_told_as_one():
    """It has a number and statements; only the mutator does nothing with them."""
    genome = "def f(n):\n    s = 0\n    for i in range(n):\n        pass\n    return s\n"
    with pytest.raises(AgentError) as caught:
        Mutator().propose_now(brief(genome))
    assert caught.value.error_kind == "exhausted"
    assert str(caught.value).startswith("the mutator knows no edit of this genome: it sets numbers")


def test_proposing_changes_no_state():
    """A brief gets the same proposal again after others were answered."""
    agent = Mutator()
    first = agent.propose_now(brief(seed=1))
    for n in range(5):
        agent.propose_now(brief(seed=10 + n))
    assert agent.propose_now(brief(seed=1)) == first


def test_nothing_is_tried_twice_on_one_head_and_in_the_end_nothing_is_left():
    """Every edit of a small genome is proposed once, then there is nothing to change."""
    genome = "A = True\n# b\nB = 'x'  # one of: x, y, z\n# c\nC = 64\n"
    agent, seen = Mutator(), []

    def propose_until_exhausted():
        for n in range(100):
            proposal = agent.propose_now(brief(genome, seed=n))
            seen.append(text_of(proposal))
            agent.learn(attempt(proposal, gain=-0.03))

    with pytest.raises(AgentError) as caught:
        propose_until_exhausted()
    assert len(seen) == len(set(seen)) >= 9
    assert caught.value.error_kind == "exhausted"
    assert str(caught.value).startswith("all edits of this head are tried or known to break it")


@pytest.mark.parametrize("genome", ["ROUNDS = 3\n", "rounds = 200\nrate = 0.25\n"])
def test_an_agent_that_has_nothing_left_has_nothing_left_when_it_is_asked_again(genome):
    """Numbers have more values than a few draws find: a run that stops has drawn them all."""
    agent = Mutator()

    def propose_until_exhausted(first):
        for seed in range(first, 100_000):
            agent.learn(attempt(agent.propose_now(brief(genome, seed=seed)), gain=-0.03))

    with pytest.raises(AgentError, match="all edits of this head"):
        propose_until_exhausted(0)
    for seed in range(100_000, 100_050):
        with pytest.raises(AgentError, match="all edits of this head"):
            agent.propose_now(brief(genome, seed=seed))


def test_what_the_brief_remembers_is_not_tried_again_either():
    """Attempts in `recent` count as tried by an agent that never learned them."""
    genome = "A = True\n"
    proposal = Mutator().propose_now(brief(genome))
    with pytest.raises(AgentError):
        Mutator().propose_now(brief(genome, recent=(attempt(proposal),)))


def test_what_is_under_way_is_not_proposed_again():
    """Two proposals that are drawn on one head before either ends are two."""
    genome = "A = True\n"
    proposal = Mutator().propose_now(brief(genome))
    under_way = (Pending(1, proposal.hypothesis, proposal.notes),)
    with pytest.raises(AgentError):
        Mutator().propose_now(replace(brief(genome), pending=under_way))


def test_an_outdated_candidate_teaches_nothing():
    """It never ran, so nothing is known of it."""
    agent = Mutator()
    agent.learn(attempt(agent.propose_now(brief()), ending="outdated"))
    assert agent.propose_now(brief(seed=1)) == Mutator().propose_now(brief(seed=1))


def test_a_new_head_makes_old_edits_new():
    """What failed on one head may be tried on the next."""
    agent = Mutator()
    agent.learn(attempt(agent.propose_now(brief("A = True\n")), gain=-0.001))
    assert text_of(agent.propose_now(brief("A = True\nB = 'b'\n"))).startswith("A = False")


@pytest.mark.parametrize("genome", ["", "x = 'a'\n", "def (:\n", "A = '\ud800'\n"])
def test_a_genome_without_sites_raises(genome):
    """No site, no Python and no bytes: AgentError says that it has no edit."""
    with pytest.raises(AgentError, match="knows no edit of this genome"):
        Mutator().propose_now(brief(genome))


def test_a_byte_order_mark_stays():
    """A file that begins with one is edited like any other, and keeps it."""
    proposal = Mutator().propose_now(brief("\ufeffA = 3 # é\nB = 'é'\n"))
    assert text_of(proposal).startswith("\ufeffA = ")
    assert text_of(proposal).endswith(" # é\nB = 'é'\n")


def test_numbers_of_a_text_beside_code_are_left_alone():
    """Notes beside a program hold no parameters."""
    proposal = Mutator().propose_now(brief({"notes.md": "A = 3\n", "b/c.py": "A = 3\n"}))
    assert list(proposal.files) == ["b/c.py"]


@pytest.mark.parametrize(("device", "touched"), [("cpu", {"cpu"}), ("", {"cpu", "mps", "cuda"})])
def test_values_for_another_kind_of_device_are_not_tried(device, touched):
    """In a table by device, what stands under another one's name cannot change this run's score."""
    genome = 'ROWS = {\n    "cpu": (8, 4.0),\n    "mps": (16, 5.0),\n    "cuda": (32, 6.0),\n}\n'
    agent, seen = Mutator(), set()
    for n in range(60):
        proposal = agent.propose_now(replace(brief(genome, seed=n), device=device))
        for line in changed_lines(genome, text_of(proposal)):
            seen |= {name for name in ("cpu", "mps", "cuda") if f'"{name}"' in line}
        agent.learn(attempt(proposal, gain=-0.03))
    assert seen == touched
