"""Promotion on virtual time, against known truths: verdicts, tau, time to target."""

import math
import random
from dataclasses import dataclass, replace

import numpy as np
import pytest

from harness.contract import FULL_AUDIT, Failure, Outcome, Rung, SetupError, Slice
from islands import events as ev
from islands.genome.categories import categories
from islands.promotion.attempt import PromotionPolicy, PromotionRequest
from islands.promotion.transfer import agreement, kendall, tail
from islands.records import Entry, Gain, Measured
from islands.scheduling.run_steps import next_run_step
from islands.state.run_state import State
from swarm.coordinator import run_actions
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands, run_steps_only
from swarm.results.selection import select
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import (
    GENOME,
    LabExecutor,
    MemoryBranches,
    MemoryLedger,
    make_run,
    value,
)

RUNGS = (Rung(1, 20.0), Rung(2, 60.0))
STEPS = {1: 0.3, 2: 0.2, 3: 0.1}
"""Experiments of the stack, and how much each adds to X."""


@dataclass
class TwoRungs(LabExecutor):
    """X is worth `factor` of itself at depth 2; training on a share of the seconds costs score."""

    factor: float = 1.0
    slope: float = 0.5

    async def run(self, trial):
        outcome = await super().run(trial)
        if outcome.score is None:
            return outcome
        deep = trial.rung.depth > 1
        x = value(self.branches, trial.commit)
        late = math.log2(60.0 / trial.rung.seconds) if deep else 0.0
        score = outcome.score + (x - self.factor * x if deep else 0.0) + self.slope * late
        return replace(outcome, score=score, split=trial.split)


NEAR = {4: 0.04, 5: 0.02}
"""Near misses: experiments, and what they add to X."""


def stacked(branches, seed):
    """Return a history: islands that each kept a step on the base, near misses, and the stack."""
    events, commits = [], {}
    for number, step in (NEAR | STEPS).items():  # heads move last
        files = {GENOME: Entry(f"X = {step!r}\n".encode())}
        commits[number] = branches.commit("base", files, f"step {number}", number, number)
        island, gain = f"i{number % 3}", Gain(step, 0.01, 4, 0.001)
        events += [
            ev.ProposalReceived(number, island, "lab", "base", f"lr to {step}"),
            ev.CandidateAdmitted(number, island, commits[number], "base", 1, 1),
        ]
        for purpose, trial_seed in (("screen", seed), ("confirm", 2)):
            start = ev.TrialStarted(
                f"p{number}{purpose}", number, island, commits[number], purpose, trial_seed, 0, "s0"
            )
            events += [
                start,
                ev.TrialEnded(start, Outcome(start.trial, "lab", "namespaces", 2 - step)),
            ]
        verdict = "keep" if number in STEPS else "discard"
        events.append(
            ev.VerdictReached(number, island, commits[number], "base", verdict, "near miss", gain)
        )
    total = {GENOME: Entry(f"X = {sum(STEPS.values())!r}\n".encode())}
    return events, branches.commit_under_ref("stack/1", "base", total, "stack", 1)


def seeded(tmp_path, branches, executor, trials=4):
    """Run the baseline alone, and return the ledger."""

    async def main():
        run = make_run(
            tmp_path,
            branches=branches,
            executor=executor,
            rungs=RUNGS,
            limits=RunLimits(trials=trials),
            islands=3,
        )
        await run_islands(run)
        return run.ledger

    return run_virtual(main())


def promote(  # noqa: PLR0913, PLR0917 - parts of a promotion
    tmp_path, branches, executor, ledger, request, policy=PromotionPolicy(), **changes
):
    """Promote `request` on a stopped run, launched with `changes`; return the run."""

    async def main():
        run = make_run(
            tmp_path, ledger=ledger, branches=branches, executor=executor, rungs=RUNGS,
            checks=ledger.kept[0].checks, **{"islands": 3, "limits": RunLimits(), **changes},
        )  # fmt: skip
        run.launch = replace(run.launch, promotion=policy, splits=("dev", "hidden"))

        async def begin():
            promotions = run.state.promotions
            if promotions.open is None and not promotions.ended:
                await run_actions.start_promotion(run, request)

        await run_steps_only(run, lambda state, name: next_run_step(state, name, policy), begin)
        return run

    return run_virtual(main())


def prepared(tmp_path, factor=1.0, sigma=0.01, **more):
    """Return a run with a stack of three changes that keep `factor` of their gain at rung 1."""
    branches = MemoryBranches()
    executor = TwoRungs(branches, sigma=sigma, factor=factor, **more)
    ledger = seeded(tmp_path, branches, executor)
    seed = next(event.seed for event in ledger.kept if isinstance(event, ev.TrialStarted))
    events, stack = stacked(branches, seed)
    ledger.kept += events
    before = Gain(sum(STEPS.values()), 0.01, 4)
    request = PromotionRequest(1, "base", stack, tuple(STEPS), before, 1)
    return branches, executor, ledger, request


def events_of(run, kind):
    """Return the events of one kind that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "transfers"), (0.0, "fades"), (-1.0, "reverses")]
)
def test_the_verdict_agrees_with_the_true_gain(tmp_path, factor, verdict):
    """A gain that holds transfers, one that vanishes fades, one that flips its sign reverses."""
    run = promote(tmp_path, *prepared(tmp_path, factor))
    (promoted,) = events_of(run, ev.PromotionEnded)
    assert promoted.verdict == verdict
    assert promoted.after.mean == pytest.approx(factor * 0.6, abs=0.05)
    moved = events_of(run, ev.ConsensusMoved)
    assert len(moved) == (verdict == "transfers")
    if moved:
        assert run.branches.heads["consensus"] == moved[0].commit
        assert value(run.branches, moved[0].commit) == pytest.approx(0.6)
        assert len(moved[0].changes) == 3


def test_trials_are_paired_fully_audited_and_query_the_hidden_split_once(tmp_path):
    """Each seed runs on one slice; audits are full; two hidden pairs give one bit."""
    branches, executor, ledger, request = prepared(tmp_path)
    run = promote(tmp_path, branches, executor, ledger, request)
    started = [t for t in events_of(run, ev.TrialStarted) if t.purpose == "promotion" and t.rung]
    assert {t.rung for t in started} == {1} and {t.check_number for t in started} == {1}
    slices = {}
    for trial in started:
        assert slices.setdefault(trial.seed, trial.slice) == trial.slice
    assert {t.audit for t in executor.trials if t.rung.depth == 2} == {FULL_AUDIT}
    hidden = [t for t in started if t.split == "hidden"]
    assert len(hidden) == 4
    (promoted,) = events_of(run, ev.PromotionEnded)
    assert promoted.hidden is True
    assert run.state.promotions.hidden_queries == {1}
    assert len(started) <= PromotionPolicy().trials
    again = promote(tmp_path, branches, executor, run.ledger, request)
    assert len(events_of(again, ev.PromotionEnded)) == 1


def test_no_hidden_query_is_made_beyond_the_budget(tmp_path):
    """With a budget of 0 there is no hidden trial, and the verdict rests on the dev split."""
    run = promote(tmp_path, *prepared(tmp_path), policy=PromotionPolicy(hidden=0))
    (promoted,) = events_of(run, ev.PromotionEnded)
    assert promoted.hidden is None and promoted.verdict == "transfers"
    assert {t.split for t in events_of(run, ev.TrialStarted)} == {"dev"}


def test_better_on_dev_alone_does_not_transfer(tmp_path):
    """A stack that is worse on the hidden split fades, whatever its gain on dev."""

    @dataclass
    class Overfit(TwoRungs):
        async def run(self, trial):
            outcome = await super().run(trial)
            worse = 2 * value(self.branches, trial.commit) if trial.split == "hidden" else 0.0
            return replace(outcome, score=outcome.score + worse)

    branches, _, ledger, request = prepared(tmp_path)
    run = promote(tmp_path, branches, Overfit(branches), ledger, request)
    (promoted,) = events_of(run, ev.PromotionEnded)
    assert promoted.hidden is False and promoted.verdict == "fades"
    assert not events_of(run, ev.ConsensusMoved)


def test_contenders_are_halved_within_the_budget(tmp_path):
    """With many near misses the best get more seeds, and the budget holds."""
    branches, executor, ledger, request = prepared(tmp_path)
    run = promote(
        tmp_path, branches, executor, ledger, request, PromotionPolicy(seeds=4, trials=24)
    )
    started = [t for t in events_of(run, ev.TrialStarted) if t.purpose == "promotion" and t.rung]
    assert len(started) <= 24
    (promoted,) = events_of(run, ev.PromotionEnded)
    pairs = {part.experiment: part.after.pairs for part in promoted.contenders}
    assert pairs == {1: 2, 2: 2, 3: 2, 4: 2}, "eight trials are left: four contenders on two seeds"
    run = promote(tmp_path, *prepared(tmp_path), PromotionPolicy(seeds=4, trials=32))
    (promoted,) = events_of(run, ev.PromotionEnded)
    pairs = {part.experiment: part.after.pairs for part in promoted.contenders}
    assert pairs == {1: 4, 2: 4, 3: 4, 4: 2, 5: 2}, "the better half runs on more seeds"
    assert promoted.agreement.tau == 1.0
    assert all(part.kinds for part in promoted.contenders)


def test_time_to_target_is_found_between_two_budgets(tmp_path):
    """A lead of 0.6 at half a point for each halving is worth a factor of 2 ** 1.2 in time."""
    run = promote(tmp_path, *prepared(tmp_path, sigma=0.001, slope=0.5))
    (promoted,) = events_of(run, ev.PromotionEnded)
    assert promoted.reached == pytest.approx(60 / 2**1.2, rel=0.05)
    assert promoted.low <= promoted.reached <= promoted.high
    assert promoted.high / promoted.low == pytest.approx(2.0)
    shares = {
        t.share for t in events_of(run, ev.TrialStarted) if t.purpose == "promotion" and t.rung
    }
    assert shares == {1.0, 0.5, 0.25}


def test_no_time_to_target_is_bought_where_trials_end_before_their_seconds_do(tmp_path):
    """A benchmark of a second that may take twenty does no less in ten: it is not asked to."""
    run = promote(tmp_path, *prepared(tmp_path, seconds=1.0))
    (promoted,) = events_of(run, ev.PromotionEnded)
    assert (promoted.verdict, promoted.reached, promoted.target) == ("transfers", 0.0, 0.0)
    assert {t.share for t in events_of(run, ev.TrialStarted)} == {1.0}


def test_a_stack_that_breaks_at_the_next_rung_does_not_transfer(tmp_path):
    """Out of memory at depth 2 is a failure of the stack, not of the run."""

    @dataclass
    class Breaks(TwoRungs):
        async def run(self, trial):
            outcome = await super().run(trial)
            if trial.rung.depth > 1 and value(self.branches, trial.commit) > 0.5:
                broke = Failure("memory", "held more than 4096 MiB")
                return Outcome(
                    trial.id, "lab", "namespaces", failure=broke, seconds=outcome.seconds
                )
            return outcome

    branches, _, ledger, request = prepared(tmp_path)
    run = promote(tmp_path, branches, Breaks(branches), ledger, request)
    (promoted,) = events_of(run, ev.PromotionEnded)
    assert promoted.verdict == "reverses"
    assert promoted.reason == "the stack has no score at this rung"


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_cut_between_any_two_events_it_ends_the_same(tmp_path, step):
    """A promotion that was killed anywhere resumes: same verdict, and the branch agrees."""
    branches, executor, ledger, request = prepared(tmp_path)
    before = len(ledger.kept)
    whole = promote(tmp_path, branches, executor, MemoryLedger(ledger.kept), request)
    (end,) = events_of(whole, ev.PromotionEnded)
    (moved,) = events_of(whole, ev.ConsensusMoved)
    assert len(whole.ledger.kept) > before + 1
    for cut in range(before + 1, len(whole.ledger.kept), step):
        head = branches.heads.get("consensus", "")
        branches.heads.pop("consensus", None)
        if any(isinstance(event, ev.ConsensusMoved) for event in whole.ledger.kept[:cut]):
            branches.heads["consensus"] = random.Random(cut).choice(["", head])
        run = promote(
            tmp_path, branches, TwoRungs(branches), MemoryLedger(whole.ledger.kept[:cut]), request
        )
        (again,) = events_of(run, ev.PromotionEnded)
        assert again.verdict == end.verdict
        assert again.after.mean == pytest.approx(end.after.mean, abs=0.02)
        last = events_of(run, ev.ConsensusMoved)
        assert [event.parts for event in last] == [moved.parts]
        assert branches.heads["consensus"] == last[0].commit
        trials = [t for t in events_of(run, ev.TrialStarted) if t.purpose == "promotion" and t.rung]
        ended = {e.started.trial for e in events_of(run, ev.TrialEnded)}
        scored = [(t.commit, t.seed, t.split, t.share) for t in trials if t.trial in ended]
        assert len(scored) == len(set(scored)), "a trial that was scored is not run again"


PLACES = {
    "fewer slices": {"slices": [Slice("s2", "cpu")]},
    "other slices": {"slices": [Slice("x", "cpu"), Slice("y", "cpu")]},
    "an island less": {"islands": 2},
    "exchanged slices": {"slices": [Slice(f"s{k}", "cpu") for k in (2, 0, 1)]},
}
"""What a run may have when it is resumed; it was opened with three islands on s0, s1 and s2."""


@pytest.mark.parametrize("place", PLACES)
def test_a_promotion_ends_wherever_its_run_is_resumed(tmp_path, place):
    """All trials of one seed are on one slice."""
    branches, executor, ledger, request = prepared(tmp_path)
    run = promote(tmp_path, branches, executor, ledger, request, **PLACES[place])
    assert [event.verdict for event in events_of(run, ev.PromotionEnded)] == ["transfers"]
    assert events_of(run, ev.ConsensusMoved)
    trials = [t for t in events_of(run, ev.TrialStarted) if t.purpose == "promotion" and t.rung]
    assert len({(t.seed, t.slice) for t in trials}) == len({t.seed for t in trials})


def test_an_open_promotion_at_a_longer_rung_ends_no_launch(tmp_path):
    """While its trials do not fit, experiments go on; a longer launch finishes it."""
    branches, executor, ledger, request = prepared(tmp_path)
    whole = promote(tmp_path, branches, executor, ledger, request)
    cut = next(n for n, e in enumerate(whole.ledger.kept) if isinstance(e, ev.PromotionStarted))
    begun = MemoryLedger(whole.ledger.kept[: cut + 1])
    del branches.heads["consensus"]
    for minutes, ended in ((0.9, 0), (10, 1)):

        async def main(ledger=begun, minutes=minutes):
            run = make_run(
                tmp_path, ledger=ledger, branches=branches, executor=executor, rungs=RUNGS,
                limits=RunLimits(minutes=minutes), islands=3,
            )  # fmt: skip
            before = run.ledger.kept[-1].recorded
            await run_islands(run)
            return run, before

        run, before = run_virtual(main())
        started = [t for t in events_of(run, ev.TrialStarted) if not t.rung]
        assert started[-1].recorded > before
        assert run.limit == "minutes"
        assert len(events_of(run, ev.PromotionEnded)) == ended


def test_every_commit_of_the_consensus_runs(tmp_path):
    """A part after which the genome does not run is committed with the next."""

    @dataclass
    class Halfway(TwoRungs):
        async def run(self, trial):
            outcome = await super().run(trial)
            if value(self.branches, trial.commit) != pytest.approx(0.5):
                return outcome
            broke = Failure("crash", "exit status 1: NameError")
            return Outcome(trial.id, "lab", "namespaces", failure=broke, seconds=outcome.seconds)

    branches, _, ledger, request = prepared(tmp_path)
    run = promote(tmp_path, branches, Halfway(branches), ledger, request)
    (drafted,), (moved,) = events_of(run, ev.ConsensusDrafted), events_of(run, ev.ConsensusMoved)
    assert len(drafted.changes) == 3 and len(moved.changes) == 2
    worth = [value(branches, commit) for commit in moved.changes]
    assert worth == [pytest.approx(0.3), pytest.approx(0.6)]
    ran = {t.commit for t in events_of(run, ev.TrialStarted) if t.rung == 0 and t.check_number}
    assert ran == set(drafted.changes[:-1])


def test_a_promoted_stack_that_fails_the_checks_is_no_consensus(tmp_path):
    """Each part passed alone; together they are checked once, and the reason is kept."""
    branches, executor, ledger, request = prepared(tmp_path)
    ledger.kept[0] = replace(ledger.kept[0], checks=("pytest",))
    executor.unsound = lambda x: x > max(STEPS.values())
    run = promote(tmp_path, branches, executor, ledger, request)
    (ended,) = events_of(run, ev.PromotionEnded)
    assert ended.verdict == "transfers"
    (checked,) = events_of(run, ev.CommitChecked)
    assert (checked.commit, checked.promotion, checked.ok) == (request.commit, 1, False)
    assert not events_of(run, ev.ConsensusMoved)
    with pytest.raises(SetupError, match="fails check `pytest` exited with 1"):
        select(run.state, "", force=False)


def test_a_judged_stack_is_promoted_automatically_within_the_limits(tmp_path):
    """During a launch; a limit that cannot fit a whole promotion postpones it."""
    for bound, count in ((RunLimits(trials=100), 1), (RunLimits(trials=30), 0)):
        branches, executor, ledger, request = prepared(tmp_path)
        judged = ev.StackCheckEnded(
            1,
            "additive",
            request.commit,
            request.parts,
            (),
            (),
            request.before,
            request.before,
            Gain(0, 0.1, 4),
        )
        ledger.kept += [ev.StackCheckStarted(1, "base", request.parts), judged]

        async def main(ledger=ledger, branches=branches, executor=executor, bound=bound):
            run = make_run(
                tmp_path, ledger=ledger, branches=branches, executor=executor, rungs=RUNGS,
                limits=bound, islands=3,
            )  # fmt: skip
            await run_islands(run)
            return run

        run = run_virtual(main())
        assert len(events_of(run, ev.PromotionEnded)) == count
        assert run.state.trials == bound.trials


def test_the_fold_of_a_promotion_equals_the_live_state(tmp_path):
    """A fresh fold has the same consensus, results and near misses."""
    run = promote(tmp_path, *prepared(tmp_path))
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.promotions.consensus == run.state.promotions.consensus
    assert fresh.promotions.ended == run.state.promotions.ended
    assert fresh.promotions.near_misses == run.state.promotions.near_misses


def test_kendalls_tau_counts_pairs_that_agree():
    """Of six pairs five agree: (5 - 1) / 6; the interval holds it and widens with the noise."""
    assert kendall(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(4 / 6)
    sharp = [_measured(n, n / 10, 0.001) for n in range(1, 6)]
    vague = [_measured(n, n / 10, 1.0) for n in range(1, 6)]
    assert agreement(sharp, 1).low == agreement(sharp, 1).tau == 1.0
    wide = agreement(vague, 1)
    assert wide.low < 0 < wide.high
    assert agreement(sharp[:2], 1) is None


def _measured(number, gain, noise):
    same = Gain(gain, noise, 4)
    return Measured(number, ("other",), same, same, "transfers")


@pytest.mark.parametrize(
    ("t", "freedom", "chance"), [(2.3534, 3, 0.05), (1.8125, 10, 0.05), (0, 4, 0.5)]
)
def test_the_tail_is_students_t(t, freedom, chance):
    """The values of printed tables of Student's t."""
    assert tail(t, freedom) == pytest.approx(chance, abs=1e-4)
    assert tail(-t, freedom) == pytest.approx(1 - chance, abs=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("LR = 0.05", "LR = 0.1", "optimiser"),
        ("WARMUP = 10", "WARMUP = 20", "schedule"),
        ("self.n_head = 4", "self.n_head = 8", "architecture"),
        ("nn.init.zeros_(w)", "nn.init.normal_(w, std=0.1)", "initialisation"),
        ("batch = tokens[:8]", "batch = tokens[:16]", "data"),
        ("model = model", "model = torch.compile(model)", "efficiency"),
        ("x = y", "x = y + 1", "other"),
        ("learningRate = (", "learningRate = ((", "optimiser"),
    ],
)
def test_a_change_is_categorised_by_the_names_it_touches(old, new, first):
    """Unchanged code beside it does not count; text that does not parse is read as words."""
    beside = "batchTokens = 3\n\n\ndef attention():\n    return 1\n\n\n"
    touched = categories({"train.py": beside + old + "\n"}, {"train.py": beside + new + "\n"})
    assert touched[0] == first
