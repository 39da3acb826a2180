"""Null proposals (A/A tests) have no effect, no agent is told of them, and no head moves."""

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


def recorded(run, kind):
    """Return the events of one class that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


def test_a_null_edit_changes_the_text_and_not_the_syntax():
    """Wherever the comment stands, the bytes differ and the syntax trees are the same."""
    genome = {"a.py": Entry(SOURCE), "b.txt": Entry(b"1\n")}
    proposals = [null_proposal(7, experiment, genome) for experiment in range(40)]
    nulls = [proposal.files for proposal in proposals if proposal is not None]
    assert len(nulls) > 20
    for files in nulls:
        assert list(files) == ["a.py"]
        assert files["a.py"].data != SOURCE
        assert compare("a.py", SOURCE, files["a.py"].data) == "same"


@given(st.binary(max_size=80) | st.text("ab=1\n'\";\\ \r\f", max_size=60).map(str.encode))
def test_a_null_edit_of_any_bytes_has_no_effect(data):
    """Either there is no proposal, or its syntax tree is the same."""
    null = null_proposal(1, 1, {"a.py": Entry(data)})
    assert null is None or compare("a.py", data, null.files["a.py"].data) == "same"


def test_a_genome_without_statements_gets_no_null_proposal():
    """Nor does one whose Python does not parse."""
    assert null_proposal(1, 1, {"a.txt": Entry(b"x = 1\n")}) is None
    assert null_proposal(1, 1, {"a.py": Entry(b"x = = 1\n")}) is None
    assert null_proposal(1, 1, {"a.py": Entry(b"# nothing\n")}) is None


def test_the_run_s_seed_decides_which_experiments_are_null():
    """As many as the rate says, none at rate 0, others for another seed."""
    chosen = [n for n in range(20_000) if is_null(5, n, 0.02)]
    assert 300 < len(chosen) < 500
    assert chosen == [n for n in range(20_000) if is_null(5, n, 0.02)]
    assert chosen != [n for n in range(20_000) if is_null(6, n, 0.02)]
    assert not any(is_null(5, n, 0.0) for n in range(1000))


def test_no_agent_is_told_of_a_null_proposal(tmp_path):
    """No agent is asked for one, learns of one or sees one in a brief; the record has them."""
    briefs = []

    class Curious(LabAgent):
        async def propose(self, brief):
            briefs.append(brief)
            return await super().propose(brief)

    agents = {f"i{k}": Curious() for k in range(2)}
    run = simulate(
        tmp_path, agents=agents, ratchet=RatchetPolicy(null_rate=0.3), limits=RunLimits(trials=120)
    )
    nulls = {e.experiment for e in recorded(run, ev.ProposalReceived) if e.agent == NULL}
    assert len(nulls) > 10
    assert not nulls & {brief.experiment for brief in briefs}
    reported = {attempt.experiment for brief in briefs for attempt in brief.recent}
    reported |= {change.experiment for brief in briefs for change in brief.elsewhere}
    reported |= {attempt.experiment for agent in agents.values() for attempt in agent.learned}
    assert reported
    assert not nulls & reported
    assert run.state.nulls.tried == sum(
        i.endings.get("null", 0) for i in run.state.islands.values()
    )
    assert 0 <= len(nulls) - run.state.nulls.tried <= 2


def test_a_kept_null_proposal_moves_no_head(tmp_path):
    """Under a rule that keeps by luck, heads, branches, gains and lineage stay as they were."""
    branches = MemoryBranches()
    run = simulate(
        tmp_path,
        branches=branches,
        executor=LabExecutor(branches, sigma=0.05),
        ratchet=RatchetPolicy(RULES["keep-if-better"], null_rate=0.5),
        limits=RunLimits(trials=240),
    )
    nulls = {e.experiment for e in recorded(run, ev.ProposalReceived) if e.agent == NULL}
    kept = {e.experiment for e in recorded(run, ev.VerdictReached) if e.verdict == "keep"}
    assert run.state.nulls.kept == len(nulls & kept) > 0
    for name, island in run.state.islands.items():
        assert branches.heads[name] == island.head
        assert not nulls & {change.experiment for change in island.kept}
        assert "#" not in branches.files(island.head)[GENOME].data.decode()
    graph = fold(run.ledger.kept)
    nodes = [facts for _, facts in graph.nodes(data=True) if facts.get("agent") == NULL]
    assert nodes
    assert not any("step" in facts for facts in nodes)
    assert {facts.get("ending") for facts in nodes} <= {"null", None}
    assert [facts.get("ending") for facts in nodes].count("null") == run.state.nulls.tried


def test_metrics_count_the_run_s_own_nulls_apart():
    """They count neither as the mixture's proposals nor as keeps or discards."""
    for mixture in (HARSH, NOTHING):
        run = simulate_run(Conditions(mixture), RunPlan(RatchetPolicy(null_rate=0.2), 4, 300), 1)
        metrics = tally(run)
        received = [e for e in run.events if isinstance(e, ev.ProposalReceived) and e.agent != NULL]
        assert metrics.own_nulls > 20
        assert metrics.own_null_keeps <= metrics.own_nulls
        assert metrics.discards + metrics.keeps <= metrics.proposals <= len(received)
