"""Keeps are scored on fresh data first: in the coordinator, on virtual time, across a resume."""

import random
from dataclasses import dataclass, replace

import pytest

from islands import events as ev
from islands.records import Entry, Proposal
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands
from swarm.executors.base import VoidError
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import (
    GENOME,
    LabAgent,
    LabExecutor,
    MemoryBranches,
    MemoryLedger,
    make_run,
    value,
)

BOUGHT = 10.0
"""An X from here on is a memoriser's: it scores by it on dev, and as X = 0 on fresh data."""


@dataclass
class FreshExecutor(LabExecutor):
    """Scores on fresh data, too, where a trial asks for it."""

    async def run(self, trial):
        outcome = await super().run(trial)
        x = value(self.branches, trial.commit)
        dev, fresh = (2.0 - gain for gain in (x, x if x < BOUGHT else 0.0))
        return replace(
            outcome, parts={"dev": _parts(dev, "dev"), "fresh": _parts(fresh, trial.fresh)}
        )


def _parts(score, of):
    noise = random.Random(str(of))
    return tuple(score + noise.gauss(0, 0.002) for _ in range(16))


def agents(count=2, **script):
    """Agents of whom each proposes what memorises at its third call."""
    bought = Proposal("Remember", {GENOME: Entry(f"X = {BOUGHT}\n".encode())})
    return {f"i{k}": LabAgent(script={3: bought, **script}) for k in range(count)}


def lived(tmp_path, trials=60, ledger=None, branches=None, **changes):
    """Return a run's events and state."""
    branches = branches or MemoryBranches()
    executor = FreshExecutor(branches, faults=changes.pop("faults", {}))

    async def main():
        run = make_run(
            tmp_path,
            ledger=ledger,
            branches=branches,
            agents=agents(),
            executor=executor,
            limits=RunLimits(trials=trials),
            **changes,
        )
        await run_islands(run)
        return run

    return run_virtual(main())


def of(run, kind):
    """Return a run's events of a kind."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


def pieces(run):
    """Return what was asked about each piece: the commits, in order."""
    asked = {}
    for started in of(run, ev.TrialStarted):
        if started.fresh:
            asked.setdefault(started.fresh, []).append(started.commit)
    return asked


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with more than enough fresh data."""
    return lived(tmp_path_factory.mktemp("fresh"), trials=120, fresh=50)


ALONE = {"trials": 60, "fresh": 50, "islands": 1}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of a single island."""
    return lived(tmp_path_factory.mktemp("alone"), **ALONE)


def test_no_change_is_kept_without_a_check(run):
    """Each keep of an agent's own comes after a check that held."""
    passed = {event.commit for event in of(run, ev.FreshChecked) if event.ok}
    keeps = [event for event in of(run, ev.VerdictReached) if event.verdict == "keep"]
    assert len(keeps) >= 2
    assert {event.commit for event in keeps if not event.null and not event.origin} <= passed


def test_a_memoriser_is_quarantined_before_it_is_kept(run):
    """Its gain on dev is the largest of all; no head is ever built on it; agents hear one line."""
    refuted = [event for event in of(run, ev.FreshChecked) if not event.ok]
    assert refuted
    assert all(event.dev.mean > BOUGHT / 2 > abs(event.fresh.mean) for event in refuted)
    quarantined = of(run, ev.CommitQuarantined)
    assert [event.commit for event in quarantined] == [event.commit for event in refuted]
    assert all(not event.heads for event in quarantined)
    assert not {event.commit for event in refuted} & {
        event.commit for event in of(run, ev.VerdictReached)
    }
    learned = [a for agent in run.agents.values() for a in agent.learned]
    told = [a for a in learned if a.experiment in {event.experiment for event in refuted}]
    assert told
    for attempt in told:
        assert (attempt.ending, attempt.gain) == ("failed", None)
        assert "fresh" not in attempt.reason


def test_each_piece_is_asked_about_by_one_pair(run):
    """First by the candidate, then by its head; no piece is asked about again."""
    asked = pieces(run)
    assert [*asked] == [*range(1, len(asked) + 1)]
    parents = {event.commit: event.parent for event in of(run, ev.FreshChecked)}
    assert all(commits == [commits[0], parents[commits[0]]] for commits in asked.values())


def test_a_resumed_run_uses_no_piece_again(tmp_path, alone):
    """Stopped in the candidate's trial it goes on to the next piece; in the head's, to the same."""
    events = alone.ledger.kept
    starts = [n for n, event in enumerate(events) if getattr(event, "fresh", 0) and n]
    for number, at in enumerate([starts[0], starts[1]]):
        cut = [*events[: at + 1]]
        scratch = tmp_path / str(number)
        scratch.mkdir()
        again = lived(scratch, ledger=MemoryLedger(cut), branches=alone.branches, **ALONE)
        seen = [event for event in of(again, ev.TrialStarted) if event.fresh]
        first = events[at].fresh
        later = [event.fresh for event in seen[number + 1 :]]
        assert later[0] == (first if number else first + 1)


def test_a_void_trial_of_the_candidate_spends_its_piece(tmp_path, alone):
    """A sandbox may have held it: the next trial is on the next piece."""
    first = next(event for event in of(alone, ev.TrialStarted) if event.fresh)
    number = int(first.trial.removeprefix("t"))
    void = lived(tmp_path, faults={number: VoidError("x", "still")}, **ALONE)
    asked = pieces(void)
    assert sorted(asked) == [*range(1, len(asked) + 1)]
    assert asked[1] == [asked[2][0]]


def test_without_fresh_data_left_keeps_rest_on_dev(tmp_path):
    """One piece checks one candidate; others are kept, and no event says that they were checked."""
    short = lived(tmp_path, trials=120, fresh=1)
    (checked,) = of(short, ev.FreshChecked)
    keeps = {e.commit for e in of(short, ev.VerdictReached) if e.verdict == "keep"}
    assert keeps - {checked.commit}
