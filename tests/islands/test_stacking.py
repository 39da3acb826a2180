"""Stack checks: design, verdict, fold, and arms in git."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from analysis.database.refresh import reading
from analysis.ledger import Ledger
from harness.contract import Failure, Outcome, Slice
from islands import events as ev
from islands.git.branches import Branches
from islands.ratchet.policy import RatchetPolicy
from islands.records import Entry, Gain
from islands.rng import seed_of
from islands.scheduling.run_steps import next_of_stack
from islands.stacking.design import Arm, budget, design, hadamard
from islands.stacking.inference import Evidence, StackPart
from islands.stacking.state import StackPolicy
from islands.stacking.verdict import judge, next_arm, survivors
from islands.state.run_state import State
from swarm.cli.stack import summary, table
from swarm.coordinator import run_actions
from swarm.coordinator.launch_plan import RunLimits
from swarm.coordinator.task_tree import run_islands, run_steps_only
from swarm.project.runs import RunFolder
from swarm.results.verify import verify
from swarm.simulation.metrics import reported_result
from swarm.simulation.mixtures import MIXTURES
from swarm.simulation.simulated_run import RunPlan, simulate_run
from swarm.simulation.stack_study import StackCase, check_stack, draw, study_stacks
from swarm.simulation.virtual_time import run_virtual
from swarm.simulation.world import INTERACTIONS, Conditions
from tests.support.histories import clock
from tests.support.laboratory import LabExecutor, MemoryBranches, MemoryLedger, make_run, opening
from tests.support.repository import git, make

# design and judgement


@pytest.mark.parametrize("least", range(2, 25))
def test_a_design_is_orthogonal_and_as_small_as_can_be(least):
    """Every two columns of a Hadamard matrix agree as often as not, up to 24 rows."""
    found = hadamard(least)
    assert len(found) == max(4, -(-least // 4) * 4)
    assert (found @ found.T == len(found) * np.eye(len(found))).all()
    assert (found[0] == 1).all()
    assert (found[:, 0] == 1).all()


@pytest.mark.parametrize("count", range(2, 21))
def test_a_design_leaves_trials_for_what_it_finds(count):
    """The design has whole and base, distinguishes all parts, and costs less than the budget."""
    numbers = [10 * number for number in range(1, count + 1)]
    arms = design(numbers)
    assert arms[0] == frozenset(numbers)
    assert arms[1] == frozenset()
    assert len(set(arms)) == len(arms) < max(budget(count), 5)
    columns = [tuple(number in arm for arm in arms) for number in numbers]
    assert len(set(columns)) == count


def exact(pairs, effects=(2.0, 3.0, 2.5, 4.0, 3.0), beside=None):
    """Return evidence without noise of parts 1 to 5 whose `pairs` interact, and what is whole."""
    worth = dict(enumerate(effects, 1))
    whole = frozenset(worth)

    def value(parts):
        extra = sum(size for pair, size in pairs.items() if parts.issuperset(pair))
        return sum(worth[number] for number in parts) + extra

    beside = beside or {}
    parts = [
        StackPart(n, Gain(value(own | {n}) - value(own), 0.5, 4), own)
        for n in worth
        for own in [frozenset(beside.get(n, ()))]
    ]
    scores = {Arm(each): value(each) for each in design(list(worth))}
    evidence = Evidence(parts, scores)
    while len(scores) < budget(len(parts)):
        arm = next_arm(evidence, whole, 0)
        if arm is None:
            break
        scores[arm] = value(arm.parts)
        evidence = Evidence(parts, scores)
    return evidence, whole


@pytest.mark.parametrize(
    ("pairs", "verdict", "dropped"),
    [
        ({}, "additive", set()),
        ({(1, 2): -2.0}, "redundant", {1}),
        ({(2, 4): -7.0}, "antagonistic", {2}),
        ({(4, 5): -1.8}, "short", set()),
        ({(1, 2): 4.0}, "additive", set()),
    ],
)
def test_a_verdict_says_what_the_truth_is(pairs, verdict, dropped):
    """Without noise the verdict is exact: additive, redundant, antagonistic or short."""
    evidence, whole = exact(pairs)
    found = judge(evidence, whole)
    assert found.verdict == verdict
    assert found.culprits == tuple(pairs)
    assert whole - found.stay == dropped
    assert found.interaction.mean == pytest.approx(sum(pairs.values()), abs=0.6)
    assert all(
        gain.mean == pytest.approx(pairs[pair], abs=0.6)
        for pair, gain in zip(found.culprits, found.blame, strict=True)
    )


def test_what_an_island_measured_together_is_no_interaction_of_the_stack():
    """The claim of a part measured beside another includes their interaction."""
    evidence, whole = exact({(1, 2): -1.9}, beside={2: (1,)})
    found = judge(evidence, whole)
    assert found.expected.mean == pytest.approx(14.5 - 1.9)
    assert found.interaction.mean == pytest.approx(0.0, abs=0.6)


def test_a_claim_that_does_not_hold_is_the_culprit_alone():
    """A part that is worth nothing on the base is reported and dropped."""
    whole = frozenset({1, 2, 3, 4})
    parts = [StackPart(n, Gain(3.0, 0.4, 6, 0.02)) for n in sorted(whole)]
    arms = [*design(sorted(whole)), *(whole - {n} for n in whole)]
    scores = {Arm(each): 3.0 * len(each - {3}) for each in arms}
    found = judge(Evidence(parts, scores), whole)
    assert found.verdict == "short"
    assert found.culprits == ((3,),)
    assert found.stay == {1, 2, 4}
    assert found.blame[0].mean < -2


def test_a_part_that_another_stands_on_goes_with_it_or_stays():
    """If 2 does not apply without 1, dropping 1 costs what 2 is worth: both stay."""
    evidence, whole = exact({}, effects=(0.0, 3.0, 2.5, 4.0, 3.0))
    assert survivors(evidence, whole) == whole - {1}

    def fit(parts):
        return parts if 1 in parts else parts - {2}

    assert survivors(evidence, whole, fit) == whole


def test_the_study_meets_its_targets_on_a_few_stacks():
    """Some stacks a kind, as `swarm simulate stacks` draws them: right, found, in budget."""
    kinds = [StackCase(5, "none"), StackCase(8, "sparse"), StackCase(8, "strong")]
    rows = study_stacks(kinds, 8, 1, 1, lambda: None)
    for row in rows:
        assert row.right.share >= 7 / 8
        assert row.trials <= row.max_trials == budget(row.case.parts)
        assert row.lost < 0.5
        if row.culprits_found.whole:
            assert row.culprits_found.share >= 0.9
    (again,) = study_stacks(kinds[:1], 8, 1, 1, lambda: None)
    assert repr(again) == repr(rows[0])  # nan is not equal to itself


def test_one_seed_gives_one_check():
    """The same evidence leads to the same arms and the same verdict."""
    case = StackCase(8, "strong")
    found = []
    for _ in range(2):
        dice = random.Random(5)
        found.append(check_stack(*draw(case, dice), dice))
    assert found[0] == found[1]


# the fold, on virtual time


CONDITIONS = Conditions(MIXTURES["published"], 1.0)


def test_a_nights_stack_is_worth_several_heads():
    """Eight islands' keeps, stacked, are truly worth more than any island's head."""
    plan = RunPlan(RatchetPolicy(), islands=8, trials=300, stacking=StackPolicy(8))
    found = simulate_run(CONDITIONS, plan, 1)
    base = found.state.run.base
    heads = [found.gain(base, island.head) for island in found.state.islands.values()]
    (judged,) = found.state.stacks.judged
    assert found.gain(base, judged.commit) > 1.5 * max(heads)
    assert reported_result(found.state).commit == judged.commit
    assert judged.gain.mean == pytest.approx(found.gain(base, judged.commit), abs=0.002)
    assert found.state.trials <= 300
    spent = [
        e
        for e in found.events
        if isinstance(e, ev.TrialStarted) and e.purpose in {"stack", "ablation"}
    ]
    assert 0 < len(spent) <= budget(len(judged.parts) + len(judged.dropped))
    assert len({each.slice for each in spent}) == len({each.seed for each in spent}) == 1
    assert all(each.check_number == 1 and each.experiment == 0 for each in spent)


def test_the_same_run_has_the_same_checks():
    """One seed gives one ledger, to the last event."""
    plan = RunPlan(RatchetPolicy(), islands=4, trials=120, stacking=StackPolicy(4))
    conditions = replace(CONDITIONS, interactions=INTERACTIONS["strong"])
    first, second = (simulate_run(conditions, plan, 3) for _ in range(2))
    assert first.events == second.events
    assert first.state.stacks.judged


def test_checks_take_no_more_than_their_share():
    """A run too short for a check has none, and `share` bounds all checks together."""
    short = simulate_run(
        CONDITIONS, RunPlan(RatchetPolicy(), 8, trials=40, stacking=StackPolicy(2)), 1
    )
    assert short.state.stacks.count == 0
    bound = StackPolicy(2, share=0.1)
    long = simulate_run(CONDITIONS, RunPlan(RatchetPolicy(), 8, trials=200, stacking=bound), 1)
    assert 0 < long.state.stacks.spent <= 0.1 * 200


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Run a laboratory whose agents climb until its islands have kept something; its ledger."""
    branches = MemoryBranches()

    async def main():
        run = make_run(
            tmp_path_factory.mktemp("lived"),
            branches=branches,
            executor=LabExecutor(branches),
            limits=RunLimits(trials=130),
            islands=3,
        )
        await run_islands(run)
        return run.ledger.kept

    return branches, tuple(run_virtual(main()))


def checked(tmp_path, branches, ledger, executor=None, **changes):
    """Check all that was kept, as `swarm stack` does; return the run."""

    async def main():
        run = make_run(
            tmp_path,
            ledger=ledger,
            branches=branches,
            executor=executor or LabExecutor(branches),
            **{"islands": 3, "limits": RunLimits(), **changes},
        )

        async def begin():
            known = run.state.stacks
            if known.open is None and not known.judged:
                run_actions.start_stack_check(run, known.parts())

        await run_steps_only(run, next_of_stack, begin)
        return run

    return run_virtual(main())


def kinds_of(run, kind):
    """Return the events of one kind that a run recorded."""
    return [event for event in run.ledger.kept if isinstance(event, kind)]


def test_cut_between_any_two_events_a_check_comes_to_the_same_end(tmp_path, lived):
    """A killed check resumes: same parts, no arm measured twice on a seed, within budget."""
    branches, before = lived
    whole = checked(tmp_path, branches, MemoryLedger(before))
    (end,) = kinds_of(whole, ev.StackCheckEnded)
    assert end.verdict == "additive"
    assert len(end.parts) > 2
    events = whole.ledger.kept
    for cut in range(len(before) + 1, len(events), 5):
        run = checked(tmp_path, branches, MemoryLedger(events[:cut]))
        (again,) = kinds_of(run, ev.StackCheckEnded)
        assert (again.verdict, again.parts) == (end.verdict, end.parts)
        made = Counter(each.parts for each in kinds_of(run, ev.StackCheckAssembled))
        assert set(made.values()) == {1}
        ended = {e.started.trial for e in kinds_of(run, ev.TrialEnded)}
        arms = [
            (t.commit, t.seed)
            for t in kinds_of(run, ev.TrialStarted)
            if t.purpose in {"stack", "ablation"} and t.trial in ended
        ]
        assert len(arms) == len(set(arms)) <= budget(len(end.parts)) + 2


def test_the_fold_of_a_check_is_what_was_lived(tmp_path, lived):
    """A second fold of the ledger has the same checks and the same new claims."""
    branches, before = lived
    run = checked(tmp_path, branches, MemoryLedger(before))
    fresh = State()
    fresh.apply_all(run.ledger.kept)
    assert fresh.stacks.judged == run.state.stacks.judged
    assert fresh.stacks.claimed == []
    assert fresh.stacks.open is None
    assert fresh.stacks.spent == run.state.stacks.spent


def test_what_was_set_apart_is_not_stacked(lived):
    """A quarantined commit's change is no longer claimed."""
    state = State()
    state.apply_all(list(lived[1]))
    stacks, (first, *rest) = state.stacks, state.stacks.parts()
    commit = stacks.kept[first].commit
    stacks.apply(ev.CommitQuarantined("t1", commit, (commit,), (), "no reason"))
    assert stacks.parts() == tuple(rest)
    assert first not in {claim.experiment for claim in stacks.claimed}


def test_an_arm_that_breaks_names_those_who_broke_it(tmp_path, lived):
    """Two islands' parts that crash together are among the culprits, and do not both stay."""
    branches, before = lived
    state, ledger = State(), MemoryLedger(before)
    state.apply_all(list(before))
    kept = state.stacks.kept
    first, *rest = sorted(state.stacks.parts(), key=lambda part: -kept[part].gain.mean)
    other = next(part for part in rest if kept[part].island != kept[first].island)
    bad, run_now = {first, other}, []

    class Breaks(LabExecutor):
        async def run(self, trial):
            outcome = await super().run(trial)
            made = run_now[0].state.stacks.open.made
            parts = next((p for p, commit in made.items() if commit == trial.commit), frozenset())
            if bad <= parts:
                return replace(outcome, score=None, failure=Failure("crash", "boom"))
            return outcome

    async def main():
        run = make_run(
            tmp_path, ledger=ledger, branches=branches, executor=Breaks(branches), islands=3,
            limits=RunLimits(),
        )  # fmt: skip
        run_now.append(run)

        async def begin():
            run_actions.start_stack_check(run, run.state.stacks.parts())

        await run_steps_only(run, next_of_stack, begin)
        return run

    run = run_virtual(main())
    (judged,) = kinds_of(run, ev.StackCheckEnded)
    assert judged.verdict == "antagonistic"
    assert tuple(sorted(bad)) in judged.culprits
    assert not bad <= set(judged.parts)
    assert judged.parts


# real git


LINES = "".join(f"x{n} = 0.0\n\n" for n in range(6))
BASE = {"genome/a.py": LINES, "genome/c.py": "y = 0.0\nz = 0.0\n"}

A, B, C = "genome/a.py", "genome/b.py", "genome/c.py"
ONE, FOUR = {A: ("x1 = 0", "x1 = 1")}, {A: ("x4 = 0", "x4 = 1")}
FIRST, TWICE, NEXT = (
    {C: edit} for edit in (("y = 0", "y = 1"), ("y = 0", "y = 2"), ("z = 0", "z = 1"))
)

SITUATIONS = {
    "lines apart": (ONE, FOUR, "additive"),
    "adjacent lines": (FIRST, NEXT, "conflict"),
    "the same line": (FIRST, TWICE, "conflict"),
    "the same line alike": (ONE, ONE, "redundant"),
    "a rename of what the other edits": ({A: B, **FIRST}, FOUR, "additive"),
    "a deletion of what the other edits": ({C: None, **ONE}, NEXT, "conflict"),
}


def proposed(edits):
    """Return the files of a proposal: replacements, a new name, or None, by path."""
    files = {}
    for path, edit in edits.items():
        if isinstance(edit, tuple):
            files[path] = Entry(BASE[path].replace(*edit).encode())
        elif edit is None:
            files[path] = None
        else:
            files |= {path: None, edit: Entry(BASE[path].encode())}
    return files


class Sums(LabExecutor):
    """Scores a commit by the sum of all that its files assign."""

    async def run(self, trial):
        texts = [entry.data.decode() for entry in self.branches.files(trial.commit).values()]
        total = sum(
            float(line.split("=")[1]) for text in texts for line in text.splitlines() if line
        )
        noise = random.Random(f"{trial.seed}/{trial.commit}").gauss(0, 0.04)
        return Outcome(
            trial.id, "lab", "namespaces", score=2.0 - total + noise, seconds={"budget": 1.0}
        )


def two_islands(tmp_path, edits):
    """Return real branches, and the ledger of a run whose two islands kept one change each."""
    repo = make(tmp_path / "repo", BASE)
    branches = Branches(repo, "lab", ("genome",))
    base = branches.base("main")
    history = [replace(opening(), base=base, genome=("genome",))]
    for at in range(2):
        slice_ = Slice(f"s{at}", "cpu")
        history.append(ev.IslandOpened(f"i{at}", f"swarm/lab/i{at}", base, "lab", slice_))

    def trial(name, number, island, commit, purpose, seed, score):  # noqa: PLR0913, PLR0917
        began = ev.TrialStarted(name, number, island, commit, purpose, seed, 0, "s0")
        return [began, ev.TrialEnded(began, Outcome(name, "lab", "namespaces", score=score))]

    seeds = [seed_of(7, "baseline", k) for k in range(4)]
    for at, seed in enumerate(seeds):
        history += trial(f"t{at}", 0, "i0", base, "baseline", seed, 2.0 + (at % 2) * 0.1)
    for number, edit in enumerate(edits, 1):
        island = f"i{number - 1}"
        commit = branches.commit(base, proposed(edit), f"change {number}", number, 1_700_000_000)
        history.append(ev.ProposalReceived(number, island, "lab", base, f"change {number}"))
        history.append(ev.CandidateAdmitted(number, island, commit, base, 1, 1))
        history += trial(f"s{number}", number, island, commit, "screen", seeds[0], 1.0)
        history += trial(f"h{number}", number, island, base, "confirm", 5, 2.0)
        history += trial(f"c{number}", number, island, commit, "confirm", 5, 1.0)
        gain = Gain(1.0, 0.1, 2)
        history.append(ev.VerdictReached(number, island, commit, base, "keep", "", gain))
    for at in range(2):
        branches.sync_branches({f"i{at}": history_head(history, f"i{at}")})
    return repo, branches, history, base


def history_head(history, island):
    """Return the commit that an island's one keep is."""
    return next(
        e.commit for e in history if isinstance(e, ev.CandidateAdmitted) and e.island == island
    )


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_meeting_of_two_changes_ends_in_the_right_verdict(tmp_path, name):
    """In a real repository, parts that apply together get a verdict, others a conflict."""
    one, other, verdict = SITUATIONS[name]
    repo, branches, history, base = two_islands(tmp_path, (one, other))
    asked = {"islands": 2, "base": base, "genome": ("genome",)}
    run = checked(tmp_path, branches, MemoryLedger(history), Sums(branches), **asked)
    (judged,) = kinds_of(run, ev.StackCheckEnded)
    assert judged.verdict == verdict
    assert sorted(judged.parts + judged.dropped) == [1, 2]
    assert len(judged.parts) == (2 if verdict == "additive" else 1)
    for made in kinds_of(run, ev.StackCheckAssembled):
        if made.commit:
            ref = f"refs/swarm/lab/stacks/1/{'-'.join(map(str, made.parts))}"
            assert git(repo, "rev-parse", ref) == made.commit
        else:
            assert made.stuck == made.parts[-1]
            assert made.conflict in {"genome/c.py", "genome/a.py"}
    if verdict == "additive":
        assert judged.observed.mean == pytest.approx(2.0, abs=0.4)
        assert git(repo, "rev-list", "--count", f"{base}..{judged.commit}") == "2"
    assert (judged.expected.pairs == 0) == (verdict == "conflict")


def test_killed_between_a_ref_and_its_event_the_same_commit_is_found_again(tmp_path):
    """Refs left by a killed coordinator are reused, and rebuilt arms are identical."""
    one, other, _ = SITUATIONS["lines apart"]
    repo, branches, history, base = two_islands(tmp_path, (one, other))
    asked = {"islands": 2, "base": base, "genome": ("genome",)}
    whole = checked(tmp_path, branches, MemoryLedger(history), Sums(branches), **asked)
    made = {each.parts: each.commit for each in kinds_of(whole, ev.StackCheckAssembled)}
    for cut in (len(history) + 2, len(history) + 3):
        again = MemoryLedger(whole.ledger.kept[:cut])
        run = checked(tmp_path, branches, again, Sums(branches), **asked)
        assert {each.parts: each.commit for each in kinds_of(run, ev.StackCheckAssembled)} == made
        assert (
            kinds_of(run, ev.StackCheckEnded)[0].commit
            == kinds_of(whole, ev.StackCheckEnded)[0].commit
        )
    assert not git(repo, "fsck", "--connectivity-only", "--no-dangling")


def test_the_record_of_a_check_is_told_drawn_and_verified(tmp_path):
    """Refs, tables and edges agree with the events; a moved ref is found."""
    one, other, _ = SITUATIONS["the same line alike"]
    repo, branches, history, base = two_islands(tmp_path, (one, other))
    folder = RunFolder(repo, "lab")
    folder.path.mkdir(parents=True)
    asked = {"islands": 2, "base": base, "genome": ("genome",)}
    with Ledger.open(folder.path, clock()) as ledger:
        ledger.extend(history)
        run = checked(tmp_path, branches, ledger, Sums(branches), **asked)
    (judged,) = run.state.stacks.judged
    found = {check.name: check.violations for check in verify(folder).checks}
    assert found["stacks"] == found["projection"] == ()
    with reading(folder.path) as con:
        row = con.execute("SELECT verdict, parts, dropped, gain, observed FROM stacks").fetchone()
        assert row[:3] == (judged.verdict, list(judged.parts), list(judged.dropped))
        assert row[3:] == pytest.approx((judged.gain.mean, judged.observed.mean))
        edges = con.execute("SELECT kind, gain FROM edges WHERE kind = 'interacts/1'").fetchall()
        assert edges == [("interacts/1", pytest.approx(judged.blame[0].mean))]
        count = con.execute("SELECT count(*) FROM trials WHERE check_number = 1").fetchone()
        assert count == (judged.observed.pairs,)
    git(repo, "update-ref", "refs/swarm/lab/stacks/1/1-2", base)
    git(repo, "update-ref", "refs/swarm/lab/stacks/9/1", base)
    wrong = {check.name: check.violations for check in verify(folder).checks}["stacks"]
    assert len(wrong) == 2
    assert "1/1-2 holds" in wrong[0]
    assert "stacks/9/1" in wrong[1]
    lines = summary(judged)
    assert "redundant: sum of parts +2.00 ± 0.14" in lines
    assert "1 of 2 changes stay" in lines
    assert table(run.state, judged).row_count == 2
