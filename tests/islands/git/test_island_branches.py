"""Island branches: compare-and-swap, agreement with the ledger, kills, on real git."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.contract import SetupError
from islands.git import refs
from islands.git.refs import ABSENT, HeadMovedError
from tests.islands.git.genome import T, edit, fsck
from tests.support.children import kill_session
from tests.support.repository import git, write


def test_the_ratchet_is_a_compare_and_swap(run):
    """`advance` moves a branch that is at the old head and refuses any other."""
    base = run.base("main")
    run.advance("a", base, ABSENT)
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    two = run.commit(base, edit("a = 8\n"), "m", 2, T)
    run.advance("a", one, base)
    assert run.head("a") == one
    with pytest.raises(HeadMovedError, match=one):
        run.advance("a", two, base)
    with pytest.raises(HeadMovedError, match="gone"):
        run.advance("b", two, base)
    with pytest.raises(HeadMovedError, match=one):
        run.advance("a", two, ABSENT)
    assert run.head("a") == one


def test_branches_are_ordinary_ones(repo, run):
    """`git log` takes an island's branch as any other."""
    base = run.base("main")
    run.sync_branches({"north": base})
    one = run.commit(base, edit("a = 9\n"), "Try", 1, T)
    run.advance("north", one, base)
    assert git(repo, "log", "--format=%s", "swarm/r1/north").split() == ["Try", "one"]
    assert run.branch("north") == "swarm/r1/north"


def test_sync_sets_branches_to_the_ledgers_heads(repo, run):
    """Branches are created, moved forward and moved back, packed or not."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    two = run.commit(one, edit("a = 8\n"), "m", 2, T)
    run.sync_branches({"a": base, "b": two, "c": one})
    git(repo, "pack-refs", "--all")
    run.sync_branches({"a": one, "b": one, "c": one})
    assert [run.head(name) for name in "abc"] == [one] * 3


def test_sync_never_moves_a_checked_out_branch(repo, run):
    """A checked-out branch at its head is left alone; at another commit it is an error."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    run.sync_branches({"a": base, "b": base})
    git(repo, "switch", "-q", "swarm/r1/a")
    run.sync_branches({"a": base, "b": base})
    with pytest.raises(SetupError, match=r"swarm/r1/a is checked out in .*repo"):
        run.sync_branches({"a": one, "b": one})
    assert run.head("a") == run.head("b") == base


def test_sync_never_drops_a_users_commits(repo, run):
    """A branch with commits that the swarm did not make is not moved back."""
    base = run.base("main")
    run.sync_branches({"a": base})
    git(repo, "switch", "-q", "swarm/r1/a")
    write(repo, {"gen/train.py": "mine\n"})
    git(repo, "commit", "-qam", "mine")
    mine = git(repo, "rev-parse", "HEAD")
    git(repo, "switch", "-q", "main")
    with pytest.raises(SetupError, match=r"git branch -m swarm/r1/a"):
        run.sync_branches({"a": base})
    assert run.head("a") == mine


def test_sync_names_what_blocks_it(repo, run):
    """A branch named swarm, or a lost commit, is an error that the user can fix."""
    base = run.base("main")
    with pytest.raises(SetupError, match="not in the repository"):
        run.sync_branches({"a": "1" * 40})
    git(repo, "branch", "swarm")
    with pytest.raises(SetupError, match="git branch -m swarm OTHER"):
        run.sync_branches({"a": base})


def test_sync_replaces_a_symbolic_ref(repo, run):
    """An island's branch that points to main is replaced; main is never moved through it."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    git(repo, "symbolic-ref", "refs/heads/swarm/r1/a", "refs/heads/main")
    run.sync_branches({"a": one})
    assert run.head("a") == one
    assert run.base("main") == base


def test_eight_threads_commit_at_once(repo, run):
    """Islands that commit at the same time do not interfere: every candidate is sound."""
    base = run.base("main")
    run.sync_branches({str(n): base for n in range(8)})

    def work(island):
        head = base
        for step in range(5):
            new = run.commit(head, edit(f"v = {island}.{step}\n"), "m", island * 10 + step, T)
            run.advance(str(island), new, head)
            head = new
        return head

    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(work, range(8)))
    assert [run.head(str(n)) for n in range(8)] == heads
    assert len(git(repo, "for-each-ref", "refs/swarm/r1/tried").splitlines()) == 40
    assert fsck(repo) == ""


def test_one_of_many_concurrent_moves_succeeds(run):
    """Of eight moves from one head exactly one succeeds."""
    base = run.base("main")
    run.advance("a", base, ABSENT)
    new = [run.commit(base, edit(f"v = {n}\n"), "m", n, T) for n in range(8)]

    def swap(commit):
        try:
            run.advance("a", commit, base)
        except HeadMovedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        moved = list(pool.map(swap, new))
    assert sum(moved) == 1
    assert run.head("a") == new[moved.index(True)]


def test_kill_9_leaves_a_sound_repository(repo, run, monkeypatch):
    """After kills during commits and moves `git fsck` is clean and the run continues."""
    monkeypatch.setattr(refs, "STALE_LOCK_S", 0.0)
    base = run.base("main")
    run.advance("a", base, ABSENT)
    draw = random.Random(4)
    for attempt in range(8):
        run.sync_branches({"a": run.head("a")})  # as every launch does
        started, start = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            _advance_forever(run, attempt, start)
        os.close(start)
        assert os.read(started, 1)
        os.close(started)
        time.sleep(draw.uniform(0.0, 0.1))  # the moment is the test's subject
        kill_session(child)
    head = git(repo, "rev-parse", "refs/heads/swarm/r1/a")
    assert fsck(repo) == ""
    tried = git(repo, "for-each-ref", "--format=%(objectname)", "refs/swarm").split()
    assert len(tried) >= 8
    assert head in [base, *tried]
    run.sync_branches({"a": head, "b": base})
    run.advance("a", run.commit(head, edit("after\n"), "m", 10_000, T), head)


def _advance_forever(run, attempt, start):
    try:
        head = run.head("a")
        for step in range(1000):
            new = run.commit(head, edit(f"v = {attempt}.{step}\n"), "m", attempt * 1000 + step, T)
            run.advance("a", new, head)
            head = new
            os.write(start, b"!")
    finally:
        os._exit(1)  # a forked child must never return into pytest


def test_a_lock_that_a_kill_left_is_cleared_at_start(repo, run, monkeypatch):
    """A stale lock on one of the run's refs does not block the run."""
    monkeypatch.setattr(refs, "STALE_LOCK_S", 0.0)
    base = run.base("main")
    run.sync_branches({"a": base})
    lock = repo / ".git/refs/heads/swarm/r1/a.lock"
    lock.write_text("")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    run.sync_branches({"a": one})
    assert run.head("a") == one
    assert not lock.exists()
