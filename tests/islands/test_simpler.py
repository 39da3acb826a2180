"""Equal and simpler is a win: which shorter candidates are kept, at what cost, and when it ends."""

import pytest

from islands import events as ev
from islands.ratchet.acceptance import CandidateEvidence, Decision, KeepTally
from islands.ratchet.learnt_prior import learn
from islands.ratchet.noise import Noise
from islands.ratchet.policy import RatchetPolicy
from islands.ratchet.simpler import SimplerRule
from islands.records import Entry, Proposal
from islands.state.run_state import State
from swarm.agents.base import AgentError
from swarm.coordinator.launch_plan import RunLimits
from tests.benchmarks.bench_simpler import loop, study
from tests.coordinator.test_task_tree import kinds, simulate
from tests.support.laboratory import GENOME, LabAgent, LabExecutor, MemoryBranches

USUAL = Decision("discard", "no gain: 40% chance")
RULE = SimplerRule(margin=1.0)


def decide(pairs, rule=RULE, lines=-3, lost=0.0, **given):
    """Return what becomes of a discard with this evidence, where a pair varies by one."""
    known = {"screened": 0.0, "noise": Noise(0.5**0.5, 7), "kept": KeepTally(), **given}
    evidence = CandidateEvidence(pairs=pairs, prior=learn((), 6), **known)
    return rule.decide(USUAL, evidence, lines, lost)


def test_what_is_no_shorter_or_switched_off_is_judged_as_usual():
    """Nor does the rule touch a keep, or a candidate that is still measured."""
    assert decide([0.1] * 4, lines=0) is USUAL
    assert decide([0.1] * 4, lines=2) is USUAL
    assert decide([0.1] * 4, rule=SimplerRule(0.0)) is USUAL
    keep = Decision("keep", "better")
    evidence = CandidateEvidence(0.0, [0.0], Noise(1.0, 7), learn((), 6), KeepTally())
    assert RULE.decide(keep, evidence, -3, 0.0) is keep


def test_an_equal_shorter_candidate_is_kept_with_its_doubt():
    """Its reason gives lines and gain; its doubt takes the place of an lfsr."""
    decision = decide([0.1, -0.1, 0.05, 0.0, -0.05, 0.0])
    assert (decision.verdict, decision.simpler) == ("keep", True)
    assert decision.reason.startswith("simpler: -3 lines, gain +0.00 ± 0.")
    assert 0 < decision.gain.lfsr < 0.05


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [([], "confirm"), ([0.0], "confirm"), ([-0.9], "discard"), ([-2.0, -1.5], "discard")],
)
def test_what_is_not_sure_is_measured_on_and_what_loses_is_not(pairs, verdict):
    """One pair near zero says little; half the margin lost is enough to stop."""
    assert decide(pairs).verdict == verdict


def test_a_screen_below_the_margin_ends_it():
    """It costs one trial, as any discard."""
    assert decide([], screened=-1.5) is USUAL


def test_the_margin_is_spent_once():
    """What earlier simplifications may have lost is taken off; in the end nothing is left."""
    even = [0.0] * 4
    assert decide(even).verdict == "keep"
    assert decide(even, lost=0.6).verdict == "confirm"
    assert decide(even, lost=0.95) is USUAL


def test_the_runs_error_control_counts_the_doubt():
    """A run that has spent its share on other keeps waits for more pairs."""
    spent = KeepTally(count=3, lfsr_sum=0.2)
    assert decide([0.0] * 4).verdict == "keep"
    assert decide([0.0] * 4, kept=spent).verdict == "confirm"


def test_without_noise_equal_is_equal():
    """A metric that does not vary: one pair, and no loss at all is allowed."""
    still = Noise(0.0, 4)
    assert decide([], noise=still).verdict == "confirm"
    assert decide([0.0], noise=still).verdict == "keep"
    assert decide([-1e-6], noise=still) is USUAL


def test_false_ones_are_rare_little_is_lost_and_loops_end():
    """By simulation, at the default margin."""
    found = study(0.5, 30)
    assert found["false"] < 0.05
    assert found["kept of 60"] > 4
    assert found["worth"] > -0.5
    assert found["trials each"] < 4
    assert max(loop(SimplerRule(0.5), seed) for seed in range(10)) < 20


class Shortener(LabAgent):
    """Removes one of the lines below X, another one each time."""

    async def propose(self, brief):
        self.calls += 1
        first, *rest = brief.genome[GENOME].splitlines()
        if not rest:
            raise AgentError("exhausted", "no line is left")
        rest.pop(self.calls % len(rest))
        return Proposal("Remove a line", {GENOME: Entry("\n".join([first, *rest, ""]).encode())})


class Branches(MemoryBranches):
    """A genome whose lines below the first do nothing."""

    def numstat(self, old, new):
        return (0, 1)


def first_line(branches, commit):
    """Return X."""
    return float(branches.files(commit)[GENOME].data.decode().splitlines()[0].split("=")[1])


def test_a_run_gets_shorter_and_no_worse(tmp_path, monkeypatch):
    """Lines without effect go, and the record says why; a resumed state knows what was spent."""
    monkeypatch.setattr("tests.support.laboratory.value", first_line)
    without_effect = "".join(f"f({n})\n" for n in range(12))
    branches = Branches(f"X = 0.5\n{without_effect}")
    run = simulate(
        tmp_path,
        branches=branches,
        executor=LabExecutor(branches),
        agents={"i0": Shortener()},
        islands=1,
        ratchet=RatchetPolicy(simpler=SimplerRule(1.0)),
        limits=RunLimits(trials=60),
    )
    island = run.state.islands["i0"]
    assert first_line(branches, island.head) == 0.5
    kept = [event for event in kinds(run, ev.VerdictReached) if event.verdict == "keep"]
    assert kept
    assert all(
        event.simpler and event.reason.startswith("simpler: -1 line, gain") for event in kept
    )
    assert len(branches.files(island.head)[GENOME].data.splitlines()) == 13 - len(kept)
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.islands["i0"].lost_to_simplicity == island.lost_to_simplicity > 0
