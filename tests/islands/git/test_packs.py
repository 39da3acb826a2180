"""Candidates are packed: git keeps each for good, and no ref shows them."""

import pytest

from islands.git.branches import Branches
from islands.git.packs import CandidatePacks, packed_runs
from islands.git.plumbing import Plumbing
from islands.records import Entry
from tests.islands.git.genome import GENOME
from tests.support.repository import git

TEXT = "Try it\n"


def commit(run, parent, number, text):
    """Commit a candidate with `text` in its file."""
    path = f"{GENOME[0]}/train.py"
    return run.commit(parent, {path: Entry(text.encode())}, TEXT, number, 100 + number)


@pytest.fixture
def tried(repo, run):
    """Twenty candidates, the last on one before it, and a stack."""
    base = run.base("HEAD")
    commits = [commit(run, base, number, f"x = {number}\n") for number in range(1, 20)]
    commits.append(commit(run, commits[-1], 20, "x = 20\ny = 1\n"))
    files = {f"{GENOME[0]}/train.py": Entry(b"z = 1\n")}
    commits.append(run.commit_under_ref("stacks/1/1-2", base, files, TEXT, 1))
    return base, commits


def test_no_ref_shows_them_and_no_collection_takes_them(repo, run, tried):
    """After every way of git's to throw away what no ref holds, each is there, whole."""
    base, commits = tried
    shown = git(repo, "log", "--all", "--format=%H").split()
    assert {*shown} > {*commits}
    run.pack_candidates(base)
    assert git(repo, "log", "--all", "--format=%H") == git(repo, "log", "--format=%H", "HEAD")
    git(repo, "reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    git(repo, "repack", "-adFq", "--pack-kept-objects")
    git(repo, "gc", "-q", "--prune=now", "--aggressive")
    again = Branches(repo, "r1", GENOME)
    assert [again.tried(number) for number in range(1, 21)] == commits[:20]
    assert all(again.files(each) for each in commits)
    git(repo, "fsck", "--strict", "--no-dangling")
    assert "size-garbage: 0\n" in git(repo, "count-objects", "-v") + "\n"


def test_packing_goes_on(repo, run, tried):
    """Later candidates join, a repeated stack is the same commit, and nothing is packed twice."""
    base, commits = tried
    packs = CandidatePacks(Plumbing(repo), "r1")
    assert packs.take_in(base) == 21
    assert packs.take_in(base) == 0
    later = commit(run, commits[4], 21, "x = 21\n")
    files = {f"{GENOME[0]}/train.py": Entry(b"z = 1\n")}
    assert run.commit_under_ref("stacks/1/1-2", base, files, TEXT, 1) == commits[-1]
    assert packs.take_in(base) == 2
    assert packs.refs()["refs/swarm/r1/tried/21"] == later
    assert len(packs.refs()) == 22


def test_a_number_is_taken_by_a_packed_candidate(repo, run, tried):
    """A run whose ledger is gone is not continued over the candidates that it left."""
    base, _ = tried
    run.pack_candidates(base)
    again = Branches(repo, "r1", GENOME)
    assert commit(again, base, 1, "x = 1\n") == tried[1][0]
    with pytest.raises(Exception, match="from a ledger that is gone: launch with --new"):
        commit(Branches(repo, "r1", GENOME), base, 2, "other = 1\n")


def test_a_released_run_is_gone_with_the_next_collection(repo, run, tried):
    """What is held otherwise stays: a candidate that was merged."""
    base, commits = tried
    run.pack_candidates(base)
    git(repo, "branch", "merged", commits[19])
    assert list(packed_runs(Plumbing(repo).common_dir)) == ["r1"]
    CandidatePacks(Plumbing(repo), "r1").release()
    assert list(packed_runs(Plumbing(repo).common_dir)) == []
    git(repo, "gc", "-q", "--prune=now")
    git(repo, "fsck", "--strict")
    left = [each for each in commits if Plumbing(repo).commit_id(each)]
    assert left == commits[18:20]


def test_where_git_refuses_the_refs_stay(repo, run, tried):
    """A base that is not there."""
    before = git(repo, "for-each-ref")
    run.pack_candidates("1" * 40)
    assert git(repo, "for-each-ref") == before
