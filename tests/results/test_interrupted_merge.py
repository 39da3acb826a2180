"""A merge that fails or is killed halfway is undone, or completed by the next one."""

import json
import os
import random
import resource
import signal
import time

import pytest

from harness.contract import SetupError
from islands.git.plumbing import Plumbing
from islands.records import Entry
from swarm.results import git_merge as merge
from tests.support.children import kill_session
from tests.support.merging import (
    CHANGE,
    FILES,
    GENOME,
    assert_merged,
    assert_refused,
    commit_candidate,
    make_target,
    merge_head,
    snapshot,
)
from tests.support.repository import git, write


@pytest.fixture
def repo(tmp_path):
    """Make the repository to merge into."""
    return make_target(tmp_path / "repo")


@pytest.mark.parametrize("step", ["read-tree", "update-ref"])
def test_a_failure_halfway_is_undone(repo, monkeypatch, step):
    """When git fails after it has begun to write, everything is restored."""
    head = commit_candidate(repo)
    run = merge.Plumbing.run

    def broken(self, *args, **more):
        out = run(self, *args, **more) if args[0] != "update-ref" else b""
        if args[0] == step:
            raise merge.GitError(f"git {step}: disk full")
        return out

    monkeypatch.setattr(merge.Plumbing, "run", broken)
    assert_refused(repo, head, "main is unchanged.*disk full")
    assert not (repo / "gen/deep").exists()


def test_a_git_that_dies_while_it_writes_is_undone(repo):
    """A half-written working tree (a limit on file size kills git) is restored."""
    big = {"gen/a.py": Entry(b"small\n"), "gen/big.py": Entry(b"x" * 400_000), **CHANGE}
    head = commit_candidate(repo, big)
    before, limits = snapshot(repo), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(SetupError, match=r"main is unchanged.*exit -25"):
            merge_head(repo, head)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(SetupError, match=r"index\.lock exists: .*delete it"):
        merge_head(repo, head)
    (repo / ".git/index.lock").unlink()
    assert snapshot(repo) == before
    merge_head(repo, head)
    assert (repo / "gen/big.py").stat().st_size == 400_000


def test_ctrl_c_waits_until_the_merge_is_done(repo, monkeypatch):
    """An interrupt during the merge is raised once the merge is complete."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    run = merge.Plumbing.run

    def interrupted(self, *args, **more):
        if args[0] == "read-tree":
            os.kill(os.getpid(), signal.SIGINT)
        return run(self, *args, **more)

    monkeypatch.setattr(merge.Plumbing, "run", interrupted)
    # a shell starts what it runs in the background with interrupts ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            merge_head(repo, head)
    finally:
        signal.signal(signal.SIGINT, before)
    assert_merged(repo, git(repo, "rev-parse", "main"), head, old)


@pytest.mark.parametrize("share", ["none", "half", "files", "all"])
def test_a_killed_merge_is_completed_by_the_next(repo, share):
    """A merge that was killed before the branch moved is undone and repeated by the next one."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    if share == "all":
        git(repo, "read-tree", "-m", "-u", old, head)
    if share in {"half", "files"}:
        write(repo, {"gen/deep/er/new.py": "new\n", "gen/train.py": "a = 9\n\nb = 2\n\nc = 3\n"})
    if share == "files":
        (repo / "gen/old.py").unlink()
        write(repo, {"with space.py": "x = 2\n"})
    assert_merged(repo, merge_head(repo, head), head, old)


def test_other_changes_beside_a_killed_merge_are_not_undone(repo):
    """Leftovers of a merge are only undone where nothing else differs."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    git(repo, "read-tree", "-m", "-u", old, head)
    write(repo, {"gen/train.py": "mine\n"})
    assert_refused(repo, head, "uncommitted changes")
    write(repo, {"gen/train.py": CHANGE["gen/train.py"].data.decode(), "harness.py": "mine\n"})
    assert_refused(repo, head, "uncommitted changes")


def test_kill_9_at_any_moment_leaves_old_or_new(repo):
    """After a kill the branch is at the old commit or the merge; the next merge completes it."""
    old, dice = git(repo, "rev-parse", "main"), random.Random(5)
    head = commit_candidate(repo)
    for step in ["commit-tree", "update-index", "read-tree", "update-ref"] * 3:
        begun, begin = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            _merge_in_child(repo, head, step, begin)
        os.close(begin)
        assert os.read(begun, 1)
        os.close(begun)
        time.sleep(dice.uniform(0, 0.01))  # the moment is the test's subject
        kill_session(child)
        for lock in (repo / ".git").rglob("*.lock"):  # as the refusal asks for
            lock.unlink()
        now = git(repo, "rev-parse", "main")
        assert_merged(repo, merge_head(repo, head) if now == old else now, head, old)
        git(repo, "reset", "-q", "--hard", old)
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("remainder", ["none", "empty", "cut", "whole"])
@pytest.mark.parametrize("path", ["gen/train.py", "gen/deep/er/new.py", "gen/old.py"])
def test_each_file_may_be_cut_short_by_a_kill(repo, path, remainder):
    """With the note of the killed merge, a missing or half-written file is restored."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    tree = git(repo, "rev-parse", f"{head}^{{tree}}")
    (repo / ".git" / merge.NOTE).write_text(json.dumps({"old": old, "tree": tree}))
    new = (CHANGE[path].data if CHANGE[path] else b"old\n").decode()
    at = repo / path
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text({"none": "", "empty": "", "cut": new[:2], "whole": new}[remainder])
    if remainder == "none":
        at.unlink()
    merge.check_mergeable(Plumbing(repo, worktree=True), "main", head, GENOME)
    assert_merged(repo, merge_head(repo, head), head, old)
    assert not (repo / ".git" / merge.NOTE).exists()


def test_a_note_does_not_excuse_other_changes(repo):
    """A file that is neither version of the merge, nor the beginning of one, is refused."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    tree = git(repo, "rev-parse", f"{head}^{{tree}}")
    (repo / ".git" / merge.NOTE).write_text(json.dumps({"old": old, "tree": tree}))
    write(repo, {"gen/train.py": "mine\n"})
    assert_refused(repo, head, "uncommitted changes")
    write(repo, {"gen/train.py": FILES["gen/train.py"], "harness.py": "mine\n"})
    assert_refused(repo, head, "uncommitted changes")
    (repo / ".git" / merge.NOTE).write_text("{")
    git(repo, "checkout", "-q", "--", ".")
    assert_merged(repo, merge_head(repo, head), head, old)


def _merge_in_child(repo, head, step, begin):
    """Merge in a forked child that writes to `begin` when it comes to `step`."""
    answer = merge.Plumbing.try_run

    def announced(self, *args, **more):
        if args[0] == step:
            os.write(begin, b"!")
        return answer(self, *args, **more)

    merge.Plumbing.try_run = announced
    try:
        merge_head(repo, head)
    finally:
        os._exit(0)  # a forked child must never return into pytest
