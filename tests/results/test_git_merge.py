"""A merge is one merge commit, or a refusal that changes nothing."""

import os

import pytest

from harness.contract import SetupError
from islands.git.plumbing import Plumbing
from islands.records import Entry
from swarm.results.commit_policy import CommitPolicy
from swarm.results.git_merge import check_conflicts, merge_commit
from tests.support.merging import (
    FILES,
    GENOME,
    MESSAGE,
    assert_merged,
    assert_refused,
    commit_candidate,
    make_target,
    merge_head,
)
from tests.support.repository import git, set_traps, write


@pytest.fixture
def repo(tmp_path):
    """Make the repository to merge into."""
    return make_target(tmp_path / "repo")


def test_a_head_is_merged_with_two_parents(repo):
    """Where a fast-forward is possible, too, the user makes a commit with two parents."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    commit = merge_head(repo, head)
    assert_merged(repo, commit, head, old)
    assert git(repo, "show", "-s", "--format=%an %ce%n%B").splitlines()[:4] == [
        "Uwe uwe@example.org",
        "Merge island north",
        "",
        "val_bpb 1.0",
    ]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert git(repo, "log", "-1", "--format=%gs", "-g", "main") == "swarm merge"


def test_main_may_have_new_commits(repo):
    """Changes made on main since the run began stay, in other files and in other lines."""
    head = commit_candidate(repo)
    write(repo, {"gen/train.py": "a = 1\n\nb = 2\n\nc = 4\n", "harness.py": "thawed\n"})
    git(repo, "commit", "-qam", "two")
    merge_head(repo, head)
    assert (repo / "gen/train.py").read_text() == "a = 9\n\nb = 2\n\nc = 4\n"
    assert (repo / "harness.py").read_text() == "thawed\n"
    assert git(repo, "status", "--porcelain").splitlines() == ["?? notes.txt"]


def test_without_a_git_user_the_author_is_the_swarm(repo, monkeypatch):
    """A machine whose git has no user.name can merge; GIT_AUTHOR_NAME and its like win."""
    for name in ("user.name", "user.email"):
        git(repo, "config", "--unset", name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.delenv("EMAIL", raising=False)
    merge_head(repo, commit_candidate(repo))
    assert git(repo, "show", "-s", "--format=%an %ae %cn") == "swarm swarm@localhost swarm"
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Ada")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "ada@example.org")
    merge_head(repo, commit_candidate(repo, {"gen/train.py": Entry(b"a = 8\n\nb = 2\n\nc = 3\n")}))
    assert git(repo, "show", "-s", "--format=%an %ae %cn") == "Ada ada@example.org Ada"


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("path", ["harness.py", "gen/train.py"])
def test_a_dirty_tree_is_refused(repo, path, staged):
    """Changes of tracked files stop the merge: staged or not, in its files or in others."""
    head = commit_candidate(repo)
    write(repo, {path: "edited\n"})
    if staged:
        git(repo, "add", path)
    assert_refused(repo, head, rf"uncommitted changes \({path}\): commit or stash")


@pytest.mark.parametrize(
    "path", ["gen/deep/er/new.py", "gen/deep", "gen/deep/er/new.py/below", "gen/deep/er/link"]
)
def test_untracked_files_are_not_overwritten(repo, path):
    """A file or link where the merge would put a file or a folder stops the merge."""
    head = commit_candidate(repo)
    if path.endswith("link"):
        (repo / "elsewhere").mkdir()
        (repo / "gen/deep").mkdir()
        (repo / "gen/deep/er").symlink_to(repo / "elsewhere")
    else:
        write(repo, {path: "mine\n"})
    assert_refused(repo, head, "would overwrite .*: move it away")
    assert not (repo / "elsewhere/new.py").exists()


def test_ignored_files_are_not_overwritten_either(repo):
    """Git's own merge overwrites what .gitignore names; this one refuses."""
    head = commit_candidate(repo, {"gen/run.log": Entry(b"theirs\n")})
    assert_refused(repo, head, r"would overwrite .*run\.log")


def test_a_touched_file_is_not_a_changed_one(repo):
    """A file whose time changed and whose content did not stops nothing."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    os.utime(repo / "gen/train.py", (1, 1))
    assert_merged(repo, merge_head(repo, head), head, old)


def test_another_branch_is_refused(repo):
    """The target must be checked out: another branch, a detached HEAD, no commit are refused."""
    head = commit_candidate(repo)
    git(repo, "switch", "-qc", "side")
    assert_refused(repo, head, "is on side: `git switch main` first")
    git(repo, "switch", "-q", "--detach", "main")
    assert_refused(repo, head, "a detached HEAD")
    git(repo, "switch", "-q", "--orphan", "empty")
    assert_refused(repo, head, "has no commits", target="empty")


@pytest.mark.parametrize(
    ("marker", "operation"),
    [
        ("MERGE_HEAD", "merge"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
        ("rebase-merge", "rebase"),
        ("rebase-apply", "rebase"),
    ],
)
def test_an_unfinished_operation_is_refused(repo, marker, operation):
    """The user must first finish a merge, rebase, cherry-pick or revert of their own."""
    head = commit_candidate(repo)
    (repo / ".git" / marker).write_text(head)
    assert_refused(repo, head, f"a {operation} is in progress")


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_lock_is_respected(repo, lock):
    """A lock of another git on index or branch is refused, with the fix."""
    head = commit_candidate(repo)
    (repo / ".git" / lock).write_text("")
    assert_refused(repo, head, "delete it if none runs")


def test_a_bare_repository_is_refused(repo, tmp_path):
    """A bare repository has no working tree; a folder without git is refused with the fix."""
    head, bare = commit_candidate(repo), tmp_path / "bare"
    git(tmp_path, "clone", "-q", "--bare", str(repo), str(bare))
    with pytest.raises(SetupError, match="is a bare repository"):
        merge_head(bare, head)
    with pytest.raises(SetupError, match="git init"):
        merge_head(tmp_path, head)


def test_a_conflict_is_found_beforehand(repo):
    """Conflicting files are named, and no file is touched."""
    head = commit_candidate(repo)
    write(repo, {"gen/train.py": "a = 7\n\nb = 2\n\nc = 3\n", "gen/old.py": "changed\n"})
    git(repo, "commit", "-qam", "two")
    assert_refused(repo, head, r"conflict in gen/old\.py, gen/train\.py: .*merge by hand")


def test_a_pull_request_with_a_conflict_is_refused(repo):
    """The branch need not be checked out or clean for that."""
    head = commit_candidate(repo)
    plumbing = Plumbing(repo, worktree=True)
    check_conflicts(plumbing, "main", head, GENOME)
    write(repo, {"gen/train.py": "a = 5\n\nb = 2\n\nc = 3\n"})
    git(repo, "commit", "-qam", "mine")
    git(repo, "switch", "-q", "-c", "other")
    write(repo, {"gen/train.py": "dirty\n"})
    with pytest.raises(SetupError, match=r"^conflict in gen/train\.py: main has changed"):
        check_conflicts(plumbing, "main", head, GENOME)
    with pytest.raises(SetupError, match="branch gone is gone: make it again"):
        check_conflicts(plumbing, "gone", head, GENOME)


def test_a_merge_without_changes_is_refused(repo):
    """Refused: a head that main has already, by merge or by hand, and a name of no commit."""
    head = commit_candidate(repo)
    assert_refused(repo, git(repo, "rev-parse", "main"), "already: nothing to merge")
    assert_refused(repo, "1" * 40, "is no commit")
    assert_refused(repo, "main", "is no commit")
    git(repo, "cherry-pick", head)
    assert_refused(repo, head, "has all changes of .* already")
    git(repo, "reset", "-q", "--hard", "HEAD^")
    merge_head(repo, head)
    assert_refused(repo, head, "already: nothing to merge")


def test_unrelated_histories_are_refused(repo):
    """A head without a common commit is refused."""
    tree = git(repo, "rev-parse", "main^{tree}")
    assert_refused(repo, git(repo, "commit-tree", tree, "-m", "alone"), "no common commit")


def test_a_change_outside_the_genome_is_not_merged(repo):
    """A head that was moved by hand to a commit that changes other files is refused."""
    head = commit_candidate(repo, {"harness.py": Entry(b"mine\n")}, ("harness.py",))
    assert_refused(repo, head, "'harness.py', outside the genome")


@pytest.mark.parametrize("kind", ["link", "module", "executable", "attributes"])
def test_files_that_admission_refuses_are_not_merged(repo, kind):
    """Links, submodules, new executables and attributes are refused here as well."""
    old = git(repo, "rev-parse", "main")
    blob = git(repo, "hash-object", "-w", "--stdin", stdin=b"/etc/passwd")
    row = {
        "link": f"120000,{blob},gen/new",
        "module": f"160000,{old},gen/new",
        "executable": f"100755,{blob},gen/new",
        "attributes": f"100644,{blob},gen/.gitattributes",
    }[kind]
    git(repo, "update-index", "--add", "--cacheinfo", row)
    tree = git(repo, "write-tree")
    git(repo, "reset", "-q")
    head = git(repo, "commit-tree", tree, "-p", old, "-m", "by hand")
    assert_refused(repo, head, "refused$")


def test_programs_of_the_git_configuration_do_not_run(repo):
    """A merge runs no hook, fsmonitor, filter or merge driver."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    write(repo, {".git/info/attributes": "harness.py filter=evil\n* diff=evil merge=evil\n"})
    harmless = (repo / ".git/config").read_text()
    fired = set_traps(repo)
    os.utime(repo / "harness.py", (1, 1))
    commit = merge_head(repo, head)
    assert not fired.exists()
    git(repo, "status")
    assert fired.exists(), "plain git runs none of them either: this test shows nothing"
    (repo / ".git/config").write_text(harmless)
    assert_merged(repo, commit, head, old)


def test_a_custom_merge_driver_is_a_conflict(repo):
    """Where a merge driver of the user is configured, changes of both sides are a conflict."""
    head = commit_candidate(repo)
    write(repo, {"gen/train.py": "a = 1\n\nb = 2\n\nc = 4\n"})
    git(repo, "commit", "-qam", "two")
    fired = set_traps(repo)
    git(repo, "config", "core.fsmonitor", "false")
    write(repo, {".git/info/attributes": "* merge=evil\n"})
    with pytest.raises(SetupError, match=r"conflict in gen/train\.py"):
        merge_head(repo, head)
    assert not fired.exists()


def test_a_file_with_a_filter_is_refused(repo):
    """git-lfs and its like do not run here, and without them the working tree would be wrong."""
    head = commit_candidate(repo)
    write(repo, {".git/info/attributes": "*.py filter=lfs\n"})
    git(repo, "config", "filter.lfs.smudge", "false")
    with pytest.raises(SetupError, match="passes through the git filter lfs"):
        merge_head(repo, head)
    git(repo, "config", "--remove-section", "filter.lfs")
    merge_head(repo, head)


def test_line_endings_are_the_users(repo):
    """The working tree keeps the line endings that the user's configuration asks for."""
    head = commit_candidate(repo)
    git(repo, "config", "core.autocrlf", "true")
    for path in FILES:
        (repo / path).unlink()
    git(repo, "checkout", "-q", "-f", "HEAD", "--", ".")
    merge_head(repo, head)
    assert (repo / "gen/train.py").read_bytes() == b"a = 9\r\n\r\nb = 2\r\n\r\nc = 3\r\n"
    assert git(repo, "status", "--porcelain").splitlines() == ["?? notes.txt"]


def test_a_linked_worktree_is_merged_into(repo, tmp_path):
    """The target may be checked out in a linked worktree; the path may be a folder inside it."""
    head, linked = commit_candidate(repo), tmp_path / "linked"
    git(repo, "worktree", "add", "-q", "-b", "side", str(linked))
    merge_head(linked / "gen", head, target="side")
    assert (linked / "gen/deep/er/new.py").exists()
    assert git(linked, "status", "--porcelain") == ""
    assert git(repo, "status", "--porcelain").splitlines() == ["?? notes.txt"]


def test_a_squashed_merge_has_one_parent(repo):
    """The tree is the same; the changes' own commits stay out of main's history."""
    head, old = commit_candidate(repo), git(repo, "rev-parse", "main")
    commit = merge_commit(
        Plumbing(repo, worktree=True),
        "main",
        head,
        MESSAGE,
        GENOME,
        policy=CommitPolicy(squash=True),
    )
    assert git(repo, "rev-list", "--parents", "-1", "main").split() == [commit, old]
    assert git(repo, "diff", "--stat", head, "main") == ""
