"""`swarm ablation --measure`: a head against itself without each change, on fresh seeds."""

import asyncio
from dataclasses import replace

import pytest

from harness.contract import Outcome, SetupError, Slice
from islands import events as ev
from islands.git.branches import Branches
from islands.records import Entry, Gain
from islands.rng import seed_of
from swarm.project.runs import RunFolder
from swarm.results.measured_ablation import measure_ablation
from swarm.results.pair_bench import Pair
from swarm.results.remeasure import BenchRun
from tests.support.laboratory import opening
from tests.support.record import write
from tests.support.repository import git, make

BASE = "".join(f"x{n} = 0.0\n\n" for n in range(5))

STEPS = (("x1 = 0", "x1 = 1"), ("x3 = 0", "x3 = 4"), ("x1 = 1", "x1 = 3"))
"""The third change is made of the first one's line, and does not apply without it."""


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    """Return a run folder whose island kept three changes, and its head."""
    repo = make(tmp_path_factory.mktemp("home") / "repo", {"genome/a.py": BASE})
    folder = RunFolder(repo, "lab")
    folder.path.mkdir(parents=True)
    branches = Branches(repo, "lab", ("genome",))
    base = head = branches.base("main")
    island = ev.IslandOpened("i0", "swarm/lab/i0", base, "lab", Slice("s0", "cpu"))
    history = [replace(opening(), base=base, genome=("genome",)), island]
    seeds = [seed_of(7, "baseline", k) for k in range(4)]
    for n, seed in enumerate(seeds):
        history += trial(f"t{n}", 0, base, "baseline", seed, 2.0 + n % 2 / 10)
    text = BASE
    for number, step in enumerate(STEPS, 1):
        text = text.replace(*step)
        files = {"genome/a.py": Entry(text.encode())}
        commit = branches.commit(head, files, f"change {number}", number, 1_700_000_000)
        history.append(ev.ProposalReceived(number, "i0", "lab", head, f"change {number}"))
        history.append(ev.CandidateAdmitted(number, "i0", commit, head, 1, 1))
        screened_on = seeds[0] if number == 1 else 40 + number - 1
        history += trial(f"s{number}", number, commit, "screen", screened_on, 1.0)
        history += trial(f"h{number}", number, head, "confirm", 40 + number, 2.0)
        history += trial(f"c{number}", number, commit, "confirm", 40 + number, 1.0)
        gain = Gain(1.0, 0.1, 2)
        history.append(ev.VerdictReached(number, "i0", commit, head, "keep", "", gain))
        head = commit
    branches.sync_branches({"i0": head})
    write(folder.path, history)
    return folder, head


def trial(name, number, commit, purpose, seed, score):  # noqa: PLR0913, PLR0917
    """Return the two events of a scored trial."""
    began = ev.TrialStarted(name, number, "i0", commit, purpose, seed, 0, "s0")
    return [began, ev.TrialEnded(began, Outcome(name, "lab", "namespaces", score=score))]


@pytest.fixture
def bench(monkeypatch):
    """Score a commit by the sum of all that its file assigns, and fail one without x3."""

    async def pairs(self, commits, log):
        del log
        branches = Branches(self.folder.repo, "lab", ("genome",))

        def total(commit):
            text = branches.files(commit)["genome/a.py"].data.decode()
            return sum(float(line.split("=")[1]) for line in text.splitlines() if line)

        found = {}
        for old, new in commits:
            sums = [total(one) for one in (old, new)]
            gains = [sums[1] - sums[0] + off for off in (-0.1, 0.0, 0.1)]
            found[old, new] = [Pair(n, sums[0], sums[1], gain) for n, gain in enumerate(gains)]
            if self.seeds == 2 and sums[0] == 3.0:
                found[old, new][1] = SetupError("abc has no score on seed 1: it crashed")
        return found

    monkeypatch.setattr(BenchRun, "pairs", pairs)


def measured(climbed, seeds=3):
    """Return the measured ablation of the head."""
    folder, head = climbed
    return asyncio.run(measure_ablation(folder, head[:10], seeds, print))


def test_each_change_is_worth_what_the_head_loses_without_it(climbed, bench):
    """With what does not apply without it; the whole is that over the base."""
    found = measured(climbed).found
    worths = {part.experiment: (round(part.worth.mean, 6), part.takes) for part in found.parts}
    assert worths == {1: (3.0, (3,)), 2: (4.0, ()), 3: (2.0, ())}
    assert round(found.whole.mean, 6) == 7.0
    assert {part.basis for part in found.parts} == {"fresh"}
    assert [part.experiment for part in found.parts] == [2, 1, 3]
    assert all(part.claimed == Gain(1.0, 0.1, 2) for part in found.parts)


def test_a_head_that_does_not_run_without_a_change_is_told(climbed, bench):
    """Its old worth stays, marked as what it is."""
    result = measured(climbed, seeds=2)
    assert result.failures == {2: "abc has no score on seed 1: it crashed"}
    bases = {part.experiment: part.basis for part in result.found.parts}
    assert bases == {1: "fresh", 2: "estimated", 3: "fresh"}


def test_it_records_nothing_and_holds_its_commits_by_refs(climbed, bench):
    """A second call makes the same commits."""
    folder, head = climbed
    before = folder.ledger.read_bytes()
    measured(climbed)
    refs = git(folder.repo, "for-each-ref", f"refs/swarm/lab/ablations/{head[:12]}")
    measured(climbed)
    assert git(folder.repo, "for-each-ref", f"refs/swarm/lab/ablations/{head[:12]}") == refs
    assert len(refs.splitlines()) == 5
    assert folder.ledger.read_bytes() == before
