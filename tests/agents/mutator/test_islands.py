"""What the mutators of several islands know of each other's attempts."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from islands.records import Pending
from swarm.agents.mutator import MoveHistory, Mutator
from swarm.coordinator.agent_factory import make_teams
from swarm.project.schema.agents import MutatorSection
from tests.support.mutator import GENOME, attempt, brief, kept_elsewhere, text_of


def taught_by_another(told):
    """Return the mutators of two islands, the first of which is told of an attempt."""
    history = MoveHistory()
    first, second = Mutator(history=history), Mutator(history=history)
    first.learn(told)
    return first, second


def launched(islands, agents):
    """Return the teams of a launch whose islands have these agents, by name."""
    launch = SimpleNamespace(islands=[SimpleNamespace(name=n, agents=agents) for n in islands])
    program = SimpleNamespace(agents={name: MutatorSection() for name in agents})
    return asyncio.run(make_teams(program, launch, None, None))


def test_what_one_island_measured_is_known_on_all():
    """A lost step is an observation of its site there, too, and no trial repeats it."""
    lost = Mutator().propose_now(brief(seed=3))
    first, second = taught_by_another(attempt(lost, gain=-0.05))
    assert second.propose_now(brief(seed=4)) == first.propose_now(brief(seed=4))
    forecasts = {p.propose_now(brief(seed=4)).notes["hope"] for p in (second, Mutator())}
    assert len(forecasts) == 2
    for seed in range(40):
        assert second.propose_now(brief(seed=seed)).notes["edit"] != lost.notes["edit"]


def test_mutators_of_one_name_share_what_they_know():
    """Each name of a team is told of an island's attempts once, and so knows them once."""
    teams = launched("abc", ("mutator", "bold"))
    known = {name: {id(teams[i][name]._history) for i in "abc"} for name in ("mutator", "bold")}
    assert [len(histories) for histories in known.values()] == [1, 1]
    assert known["mutator"].isdisjoint(known["bold"])


@pytest.mark.parametrize("where", ["pending", "claims"])
def test_a_site_under_way_is_left_to_others(where):
    """Until its trial has ended, another value of it is rarely proposed, on whatever island."""
    chosen = Mutator().propose_now(brief(seed=0))
    under_way = (Pending(1, chosen.hypothesis, chosen.notes),)

    def of_same_site(**known):
        briefs = (replace(brief(seed=seed), **known) for seed in range(200))
        sites = [Mutator().propose_now(one).notes["site"] for one in briefs]
        return sites.count(chosen.notes["site"])

    free, crowded = of_same_site(), of_same_site(**{where: under_way})
    assert free > 20
    assert crowded < free / 4


@pytest.mark.parametrize("site", ["BATCH", "ACTIVATION"])
def test_a_keep_elsewhere_counts_once(site):
    """Where its own mutator has told of it, the change itself adds no second observation."""
    drawn = (Mutator().propose_now(brief(seed=n)) for n in range(500))
    kept = next(one for one in drawn if one.notes["edit"].startswith(f"train.py:{site}="))
    told = attempt(kept, ending="kept", gain=0.03, noise=0.003)
    _, second = taught_by_another(told)
    elsewhere = kept_elsewhere(GENOME, text_of(kept))

    def forecasts(**shown):
        head = GENOME.replace("NESTEROV = True", "NESTEROV = False")
        briefs = (brief(head, seed=seed, **shown) for seed in range(100))
        notes = (second.propose_now(one).notes for one in briefs)
        return {one["edit"]: one["mean"] for one in notes if one["site"] == kept.notes["site"]}

    alone, with_change = forecasts(), forecasts(elsewhere=elsewhere)
    both = alone.keys() & with_change.keys()
    assert both
    assert all(alone[edit] == with_change[edit] for edit in both)
