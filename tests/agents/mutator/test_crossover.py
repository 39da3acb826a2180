"""Crossover: changes that another island kept, applied to this head."""

from swarm.agents.mutator import Mutator
from swarm.agents.mutator.crossover import find_crossover
from swarm.agents.mutator.parsed_file import parse_file
from tests.support.mutator import GENOME, brief, kept_elsewhere, taught, text_of

TAKEN_OVER = "It helps.\n\nIsland b kept this change."


def test_a_knob_kept_elsewhere_gets_the_same_value_here():
    """The value is taken over whatever the value here, and the island is named."""
    after = GENOME.replace("BATCH = 64", "BATCH = 32")
    head = GENOME.replace("BATCH = 64", "BATCH = 128")
    proposals = [
        Mutator().propose_now(brief(head, seed=n, elsewhere=kept_elsewhere(GENOME, after)))
        for n in range(20)
    ]
    crossovers = [p for p in proposals if p.hypothesis == TAKEN_OVER]
    assert len(crossovers) > 5
    assert {text_of(p) for p in crossovers} == {head.replace("BATCH = 128", "BATCH = 32")}


def test_a_change_of_structure_kept_elsewhere_is_merged():
    """The lines change here as they did there, although other lines differ."""
    after = GENOME.replace("        x.clip(3.0)\n", "        x.clip(3.0)\n        x.scale()\n")
    head = GENOME.replace("BATCH = 64", "BATCH = 128")
    agent = Mutator()
    texts = [
        text_of(agent.propose_now(brief(head, seed=n, elsewhere=kept_elsewhere(GENOME, after))))
        for n in range(20)
    ]
    assert after.replace("BATCH = 64", "BATCH = 128") in texts


def test_a_change_already_here_or_in_conflict_is_skipped():
    """Nothing is taken over twice, and a conflict gives no proposal."""
    after = GENOME.replace("x.clip(3.0)", "x.clip(3.0).scale()")
    (change,) = kept_elsewhere(GENOME, after)
    conflicting = GENOME.replace("x.clip(3.0)", "x.fold(3.0)")
    assert find_crossover(change, {"train.py": parse_file("train.py", conflicting)}) is None
    for head in (after, conflicting):
        for n in range(20):
            proposal = Mutator().propose_now(brief(head, seed=n, elsewhere=(change,)))
            assert proposal.hypothesis != TAKEN_OVER


def test_several_values_kept_elsewhere_are_taken_over_together():
    """A joint change is taken over as one, and only what differs here is edited."""
    after = GENOME.replace("BATCH = 64", "BATCH = 32").replace(
        "NESTEROV = True", "NESTEROV = False"
    )
    head = GENOME.replace("NESTEROV = True", "NESTEROV = False")
    elsewhere = kept_elsewhere(GENOME, after)
    proposals = [Mutator().propose_now(brief(head, seed=n, elsewhere=elsewhere)) for n in range(20)]
    crossovers = {text_of(p) for p in proposals if p.notes["kind"] == "cross"}
    assert crossovers == {head.replace("BATCH = 64", "BATCH = 32")}


def test_a_crossover_that_lost_here_is_rarely_repeated():
    """The island's own measurement outweighs the other island's."""
    after = GENOME.replace("BATCH = 64", "BATCH = 32")
    elsewhere = kept_elsewhere(GENOME, after)
    agent = taught("BATCH", 64, 32, gain=-0.03)
    other_head = GENOME + "# more\n"
    tried = [agent.propose_now(brief(other_head, seed=n, elsewhere=elsewhere)) for n in range(30)]
    assert sum(proposal.hypothesis == TAKEN_OVER for proposal in tried) < 10
