"""Null proposals: what they are, that nobody is told of them, and what comes of them."""

from hypothesis import given
from hypothesis import strategies as st

from analysis.lineage import fold
from islands import events as ev
from islands.genome.null_edits import is_null, null_proposal
from islands.genome.syntax_diff import compare
from islands.ratchet.policy import RatchetPolicy
from islands.records import NULL, Entry
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.simulation.metrics import tally
from swarm.simulation.mixtures import HARSH
from swarm.simulation.mixtures import NULL as NOTHING
from swarm.simulation.rules import RULES
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.virtual_time import run_virtual
from swarm.simulation.world import Conditions
from tests.support.laboratory import GENOME, LabAgent, LabExecutor, MemoryBranches, make_run

SOURCE = b"""\
#!/usr/bin/env python
# -*- coding: utf-8 -*-
'''What it is.'''
from __future__ import annotations
X = '''
one''' ; Y = 2
@max
def f(): return \\
    3
"""


def simulate(tmp_path, **parts):
    """Conduct one laboratory run on virtual time and return it."""

    async def main():
        run = make_run(tmp_path, **parts)
        await run_islands(run)
        return run

    return run_virtual(main())


def kinds(run, kind):
    """Return the events of one kind that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


def test_a_null_differs_and_does_the_same():
    """Whatever the place: the text differs, the syntax tree does not."""
    for experiment in range(40):
        null = null_proposal(7, experiment, {"a.py": Entry(SOURCE), "b.txt": Entry(b"1\n")})
        if null is not None:
            assert list(null.files) == ["a.py"]
            assert null.files["a.py"].data != SOURCE
            assert compare("a.py", SOURCE, null.files["a.py"].data) == "same"
    assert sum(null_proposal(7, n, {"a.py": Entry(SOURCE)}) is not None for n in range(40)) > 20


@given(st.binary(max_size=80) | st.text("ab=1\n'\";\\ \r\f", max_size=60).map(str.encode))
def test_a_null_is_certain_or_none(data):
    """Of any bytes: either nothing is proposed, or what runs is the same."""
    null = null_proposal(1, 1, {"a.py": Entry(data)})
    if null is not None:
        assert compare("a.py", data, null.files["a.py"].data) == "same"


def test_a_genome_without_python_gets_none():
    """Nothing is certain to do nothing there; nor where the file does not parse."""
    assert null_proposal(1, 1, {"a.txt": Entry(b"x = 1\n")}) is None
    assert null_proposal(1, 1, {"a.py": Entry(b"x = = 1\n")}) is None
    assert null_proposal(1, 1, {"a.py": Entry(b"# nothing\n")}) is None


def test_which_is_null_follows_from_the_run_s_seed():
    """As many as asked for, and none at 0."""
    chosen = [n for n in range(20_000) if is_null(5, n, 0.02)]
    assert 300 < len(chosen) < 500
    assert chosen == [n for n in range(20_000) if is_null(5, n, 0.02)]
    assert chosen != [n for n in range(20_000) if is_null(6, n, 0.02)]
    assert not any(is_null(5, n, 0.0) for n in range(1000))


def test_nobody_is_told_of_a_null(tmp_path):
    """No agent is asked for it, learns of it or sees it in a brief; the record knows."""
    briefs = []

    class Curious(LabAgent):
        async def propose(self, brief):
            briefs.append(brief)
            return await super().propose(brief)

    agents = {f"i{k}": Curious() for k in range(2)}
    run = simulate(
        tmp_path, agents=agents, ratchet=RatchetPolicy(null_rate=0.3), limits=RunLimits(trials=120)
    )
    nulls = {e.experiment for e in kinds(run, ev.ProposalReceived) if e.agent == NULL}
    assert len(nulls) > 10
    assert not nulls & {brief.experiment for brief in briefs}
    told = {attempt.experiment for brief in briefs for attempt in brief.recent}
    told |= {change.experiment for brief in briefs for change in brief.elsewhere}
    told |= {attempt.experiment for agent in agents.values() for attempt in agent.learned}
    assert told
    assert not nulls & told
    assert run.state.nulls.tried == sum(
        i.endings.get("null", 0) for i in run.state.islands.values()
    )
    assert 0 <= len(nulls) - run.state.nulls.tried <= 2


def test_a_null_that_is_kept_moves_no_head_and_claims_nothing(tmp_path):
    """By a rule that keeps what luck offers: head, branch, gain and chain stay as they were."""
    branches = MemoryBranches()
    run = simulate(
        tmp_path,
        branches=branches,
        executor=LabExecutor(branches, sigma=0.05),
        ratchet=RatchetPolicy(RULES["keep-if-better"], null_rate=0.5),
        limits=RunLimits(trials=240),
    )
    nulls = {e.experiment for e in kinds(run, ev.ProposalReceived) if e.agent == NULL}
    kept = {e.experiment for e in kinds(run, ev.VerdictReached) if e.verdict == "keep"}
    assert run.state.nulls.kept == len(nulls & kept) > 0
    for name, island in run.state.islands.items():
        assert branches.heads[name] == island.head
        assert not nulls & {change.experiment for change in island.kept}
        assert "#" not in branches.files(island.head)[GENOME].data.decode()
    graph = fold(run.ledger.kept)
    for _, known in graph.nodes(data=True):
        if known.get("agent") == NULL:
            assert "step" not in known
            assert known.get("ending") in {"null", None}
    tallied = sum(known.get("ending") == "null" for _, known in graph.nodes(data=True))
    assert tallied == run.state.nulls.tried


def test_the_tally_counts_the_run_s_own_nulls_apart():
    """They are no proposals of the mixture's, no keeps and no discards."""
    for mixture in (HARSH, NOTHING):
        one = simulate_run(Conditions(mixture), RunPlan(RatchetPolicy(null_rate=0.2), 4, 300), 1)
        told = tally(one)
        asked = [e for e in one.events if isinstance(e, ev.ProposalReceived) and e.agent != NULL]
        assert told.own_nulls > 20
        assert told.own_null_keeps <= told.own_nulls
        assert told.discards + told.keeps <= told.proposals <= len(asked)
