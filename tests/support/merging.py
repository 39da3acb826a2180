"""A repository to merge into, a candidate to merge, and checks of the result."""

import hashlib

import pytest

from harness.contract import SetupError
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.records import Entry
from swarm.results.git_merge import merge_commit
from tests.support.repository import git, make, write

GENOME = ("gen", "with space.py")
FILES = {
    "gen/train.py": "a = 1\n\nb = 2\n\nc = 3\n",
    "gen/old.py": "old\n",
    "with space.py": "x = 1\n",
    "harness.py": "frozen\n",
    ".gitignore": "*.log\n",
}
CHANGE = {
    "gen/train.py": Entry(b"a = 9\n\nb = 2\n\nc = 3\n"),
    "gen/old.py": None,
    "gen/deep/er/new.py": Entry(b"new\n"),
    "with space.py": Entry(b"x = 2\n"),
}
MESSAGE = "Merge island north\n\nval_bpb 1.0\n"


def make_target(repo):
    """Make a repository that also holds untracked and ignored files of the user."""
    make(repo, FILES)
    git(repo, "config", "user.name", "Uwe")
    git(repo, "config", "user.email", "uwe@example.org")
    write(repo, {"notes.txt": "mine\n", "gen/run.log": "mine\n"})
    return repo


def commit_candidate(repo, change=None, genome=GENOME):
    """Commit `change` on main's commit as the swarm does; return the commit."""
    branches = Branches(repo, "r1", genome)
    number = len(git(repo, "for-each-ref", "refs/swarm").splitlines())
    return branches.commit(branches.base("main"), change or CHANGE, "Try it", number, 1_700_000_000)


def snapshot(repo):
    """Return all that a refused merge must leave as it was: refs, index, files, git's markers."""
    files = {
        str(at.relative_to(repo)): hashlib.sha256(at.read_bytes()).hexdigest()
        for at in sorted(repo.rglob("*"))
        if at.is_file() and not at.is_symlink() and ".git" not in at.relative_to(repo).parts
    }
    refs = git(repo, "for-each-ref", "--format=%(refname) %(objectname)")
    state = {name: (repo / ".git" / name).exists() for name in ("MERGE_HEAD", "index.lock")}
    return files, refs, git(repo, "ls-files", "-s"), state, (repo / ".git/HEAD").read_text()


def merge_head(repo, head, target="main"):
    """Merge `head` into `target`; return the merge commit."""
    return merge_commit(Plumbing(repo, worktree=True), target, head, MESSAGE, GENOME)


def assert_merged(repo, commit, head, old):
    """Check that the merge is complete: parents, branch, index and working tree agree."""
    assert git(repo, "rev-parse", "main", "main^1", "main^2").split() == [commit, old, head]
    assert git(repo, "status", "--porcelain").splitlines() == ["?? notes.txt"]
    assert (repo / "gen/train.py").read_bytes() == CHANGE["gen/train.py"].data
    assert (repo / "gen/deep/er/new.py").read_text() == "new\n"
    assert not (repo / "gen/old.py").exists()
    assert (repo / "notes.txt").read_text() == (repo / "gen/run.log").read_text() == "mine\n"


def assert_refused(repo, head, match, target="main"):
    """Check that the merge refuses with one line and changes nothing."""
    before = snapshot(repo)
    with pytest.raises(SetupError, match=match) as error:
        merge_head(repo, head, target)
    assert "\n" not in str(error.value)
    assert snapshot(repo) == before
