"""Stack checks in a real repository: conflicts, refs left by a kill, the record."""

import random
from dataclasses import replace

import pytest

from analysis.database.refresh import reading
from analysis.ledger import Ledger
from harness.contract import Outcome, Slice
from islands import events as ev
from islands.git.branches import Branches
from islands.records import Entry, Gain
from islands.rng import seed_of
from swarm.cli.stack import summary, table
from swarm.project.runs import RunFolder
from swarm.results.verify import verify
from tests.support.histories import clock
from tests.support.laboratory import LabExecutor, MemoryLedger, opening
from tests.support.repository import git, make
from tests.support.stack_checks import events_of, run_stack_check

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
    for index in range(2):
        slice_ = Slice(f"s{index}", "cpu")
        history.append(ev.IslandOpened(f"i{index}", f"swarm/lab/i{index}", base, "lab", slice_))

    def trial(name, number, island, commit, purpose, seed, score):  # noqa: PLR0913, PLR0917
        began = ev.TrialStarted(name, number, island, commit, purpose, seed, 0, "s0")
        return [began, ev.TrialEnded(began, Outcome(name, "lab", "namespaces", score=score))]

    seeds = [seed_of(7, "baseline", k) for k in range(4)]
    for index, seed in enumerate(seeds):
        history += trial(f"t{index}", 0, "i0", base, "baseline", seed, 2.0 + (index % 2) * 0.1)
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
    for index in range(2):
        branches.sync_branches({f"i{index}": history_head(history, f"i{index}")})
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
    launch_options = {"islands": 2, "base": base, "genome": ("genome",)}
    run = run_stack_check(
        tmp_path, branches, MemoryLedger(history), Sums(branches), **launch_options
    )
    (judged,) = events_of(run, ev.StackCheckEnded)
    assert judged.verdict == verdict
    assert sorted(judged.parts + judged.dropped) == [1, 2]
    assert len(judged.parts) == (2 if verdict == "additive" else 1)
    for made in events_of(run, ev.StackCheckAssembled):
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
    launch_options = {"islands": 2, "base": base, "genome": ("genome",)}
    whole = run_stack_check(
        tmp_path, branches, MemoryLedger(history), Sums(branches), **launch_options
    )
    made = {event.parts: event.commit for event in events_of(whole, ev.StackCheckAssembled)}
    for cut in (len(history) + 2, len(history) + 3):
        again = MemoryLedger(whole.ledger.kept[:cut])
        run = run_stack_check(tmp_path, branches, again, Sums(branches), **launch_options)
        assert {
            event.parts: event.commit for event in events_of(run, ev.StackCheckAssembled)
        } == made
        assert (
            events_of(run, ev.StackCheckEnded)[0].commit
            == events_of(whole, ev.StackCheckEnded)[0].commit
        )
    assert not git(repo, "fsck", "--connectivity-only", "--no-dangling")


def test_the_record_of_a_check_is_reported_drawn_and_verified(tmp_path):
    """Refs, tables and edges agree with the events; a moved ref is found."""
    one, other, _ = SITUATIONS["the same line alike"]
    repo, branches, history, base = two_islands(tmp_path, (one, other))
    folder = RunFolder(repo, "lab")
    folder.path.mkdir(parents=True)
    launch_options = {"islands": 2, "base": base, "genome": ("genome",)}
    with Ledger.open(folder.path, clock()) as ledger:
        ledger.extend(history)
        run = run_stack_check(tmp_path, branches, ledger, Sums(branches), **launch_options)
    (judged,) = run.state.stacks.judged
    wrong_by_check = {check.name: check.violations for check in verify(folder).checks}
    assert wrong_by_check["stacks"] == wrong_by_check["projection"] == ()
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
