"""Merging home: one merge commit, or a refusal that changes nothing."""

import contextlib
import hashlib
import json
import os
import random
import resource
import signal
import time

import psutil
import pytest

from harness.contract import SetupError
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.records import Entry
from swarm.results import git_merge as merge
from swarm.results.git_merge import merge_commit
from tests.support.repository import git, make, set_traps, write

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


@pytest.fixture
def repo(tmp_path):
    """Make a repository with somebody's unrelated, untracked and ignored files in it."""
    repo = make(tmp_path / "repo", FILES)
    git(repo, "config", "user.name", "Uwe")
    git(repo, "config", "user.email", "uwe@example.org")
    write(repo, {"notes.txt": "mine\n", "gen/run.log": "mine\n"})
    return repo


def candidate(repo, change=None, genome=GENOME):
    """Commit a change on main's commit as the swarm does and return it."""
    branches = Branches(repo, "r1", genome)
    number = len(git(repo, "for-each-ref", "refs/swarm").splitlines())
    return branches.commit(branches.base("main"), change or CHANGE, "Try it", number, 1_700_000_000)


def picture(repo):
    """Return all that a merge may not change when it refuses: refs, index, files, git's notes."""
    files = {
        str(at.relative_to(repo)): hashlib.sha256(at.read_bytes()).hexdigest()
        for at in sorted(repo.rglob("*"))
        if at.is_file() and not at.is_symlink() and ".git" not in at.relative_to(repo).parts
    }
    refs = git(repo, "for-each-ref", "--format=%(refname) %(objectname)")
    state = {name: (repo / ".git" / name).exists() for name in ("MERGE_HEAD", "index.lock")}
    return files, refs, git(repo, "ls-files", "-s"), state, (repo / ".git/HEAD").read_text()


def home(repo, head, target="main"):
    """Merge home."""
    return merge_commit(Plumbing(repo, worktree=True), target, head, MESSAGE, GENOME)


def assert_merged(repo, commit, head, old):
    """Check that the merge is whole: parents, branch, index and working tree agree."""
    assert git(repo, "rev-parse", "main", "main^1", "main^2").split() == [commit, old, head]
    assert git(repo, "status", "--porcelain").splitlines() == ["?? notes.txt"]
    assert (repo / "gen/train.py").read_bytes() == CHANGE["gen/train.py"].data
    assert (repo / "gen/deep/er/new.py").read_text() == "new\n"
    assert not (repo / "gen/old.py").exists()
    assert (repo / "notes.txt").read_text() == (repo / "gen/run.log").read_text() == "mine\n"


def assert_refused(repo, head, match, target="main"):
    """Check that merging home refuses with one line and changes nothing."""
    before = picture(repo)
    with pytest.raises(SetupError, match=match) as caught:
        home(repo, head, target)
    assert "\n" not in str(caught.value)
    assert picture(repo) == before


def test_a_head_comes_home_as_a_merge_commit(repo):
    """A merge that could be fast is still a commit with two parents, made by the user."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
    commit = home(repo, head)
    assert_merged(repo, commit, head, old)
    assert git(repo, "show", "-s", "--format=%an %ce%n%B").splitlines()[:4] == [
        "Uwe uwe@example.org",
        "Merge island north",
        "",
        "val_bpb 1.0",
    ]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert git(repo, "log", "-1", "--format=%gs", "-g", "main") == "swarm merge"


def test_main_may_have_moved_on(repo):
    """Changes made on main since the run began stay, in other files and in other lines."""
    head = candidate(repo)
    write(repo, {"gen/train.py": "a = 1\n\nb = 2\n\nc = 4\n", "harness.py": "thawed\n"})
    git(repo, "commit", "-qam", "two")
    home(repo, head)
    assert (repo / "gen/train.py").read_text() == "a = 9\n\nb = 2\n\nc = 4\n"
    assert (repo / "harness.py").read_text() == "thawed\n"
    assert git(repo, "status", "--porcelain").splitlines() == ["?? notes.txt"]


def test_who_git_does_not_know_is_the_swarm(repo, monkeypatch):
    """A fresh machine, where git has no name and address, can merge."""
    for name in ("user.name", "user.email"):
        git(repo, "config", "--unset", name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.delenv("EMAIL", raising=False)
    home(repo, candidate(repo))
    assert git(repo, "show", "-s", "--format=%an %ae %cn") == "swarm swarm@localhost swarm"
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Ada")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "ada@example.org")
    home(repo, candidate(repo, {"gen/train.py": Entry(b"a = 8\n\nb = 2\n\nc = 3\n")}))
    assert git(repo, "show", "-s", "--format=%an %ae %cn") == "Ada ada@example.org Ada"


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("path", ["harness.py", "gen/train.py"])
def test_a_dirty_tree_is_refused(repo, path, staged):
    """Changes of tracked files, staged or not, in the merge's files or others, are in the way."""
    head = candidate(repo)
    write(repo, {path: "edited\n"})
    if staged:
        git(repo, "add", path)
    assert_refused(repo, head, rf"uncommitted changes \({path}\): commit or stash")


@pytest.mark.parametrize(
    "path", ["gen/deep/er/new.py", "gen/deep", "gen/deep/er/new.py/below", "gen/deep/er/link"]
)
def test_untracked_files_are_not_overwritten(repo, path):
    """A file or link where the merge would put one, or a folder of one, is in the way."""
    head = candidate(repo)
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
    head = candidate(repo, {"gen/run.log": Entry(b"theirs\n")})
    assert_refused(repo, head, r"would overwrite .*run\.log")


def test_a_touched_file_is_not_a_changed_one(repo):
    """A file whose time changed and whose content did not is no obstacle."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
    os.utime(repo / "gen/train.py", (1, 1))
    assert_merged(repo, home(repo, head), head, old)


def test_another_branch_is_refused(repo):
    """The target must be checked out: not another branch, not a detached HEAD, not nothing."""
    head = candidate(repo)
    git(repo, "switch", "-qc", "side")
    assert_refused(repo, head, "is on side: `git switch main` first")
    git(repo, "switch", "-q", "--detach", "main")
    assert_refused(repo, head, "a detached HEAD")
    git(repo, "switch", "-q", "--orphan", "empty")
    assert_refused(repo, head, "has no commits", target="empty")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("MERGE_HEAD", "merge"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
        ("rebase-merge", "rebase"),
        ("rebase-apply", "rebase"),
    ],
)
def test_what_is_under_way_is_not_disturbed(repo, name, what):
    """A merge, rebase, cherry-pick or revert that the user is in the middle of goes first."""
    head = candidate(repo)
    (repo / ".git" / name).write_text(head)
    assert_refused(repo, head, f"a {what} is in progress")


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_lock_is_respected(repo, lock):
    """Where another git is at work on index or branch, the merge waits for the user."""
    head = candidate(repo)
    (repo / ".git" / lock).write_text("")
    assert_refused(repo, head, "delete it if none runs")


def test_a_bare_repository_is_refused(repo, tmp_path):
    """There is nowhere to merge in a bare repository, and none to merge in elsewhere."""
    head, bare = candidate(repo), tmp_path / "bare"
    git(tmp_path, "clone", "-q", "--bare", str(repo), str(bare))
    with pytest.raises(SetupError, match="is a bare repository"):
        home(bare, head)
    with pytest.raises(SetupError, match="git init"):
        home(tmp_path, head)


def test_a_conflict_is_found_beforehand(repo):
    """Conflicting files are named, and no file is touched."""
    head = candidate(repo)
    write(repo, {"gen/train.py": "a = 7\n\nb = 2\n\nc = 3\n", "gen/old.py": "changed\n"})
    git(repo, "commit", "-qam", "two")
    assert_refused(repo, head, r"conflict in gen/old\.py, gen/train\.py: .*merge by hand")


def test_nothing_to_merge_is_said(repo):
    """What main has already, by merge or by hand, and what is no commit, is not merged."""
    head = candidate(repo)
    assert_refused(repo, git(repo, "rev-parse", "main"), "already: nothing to merge")
    assert_refused(repo, "1" * 40, "is no commit")
    assert_refused(repo, "main", "is no commit")
    git(repo, "cherry-pick", head)
    assert_refused(repo, head, "has all changes of .* already")
    git(repo, "reset", "-q", "--hard", "HEAD^")
    home(repo, head)
    assert_refused(repo, head, "already: nothing to merge")


def test_unrelated_histories_are_refused(repo):
    """A head without a common commit is refused."""
    tree = git(repo, "rev-parse", "main^{tree}")
    assert_refused(repo, git(repo, "commit-tree", tree, "-m", "alone"), "no common commit")


def test_a_change_outside_the_genome_does_not_come_home(repo):
    """A head that somebody moved by hand to a commit beyond the genome is refused."""
    head = candidate(repo, {"harness.py": Entry(b"mine\n")}, ("harness.py",))
    assert_refused(repo, head, "'harness.py', outside the genome")


@pytest.mark.parametrize("kind", ["link", "module", "executable", "attributes"])
def test_what_admission_refuses_does_not_come_home(repo, kind):
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


def test_nothing_that_the_repository_configures_is_run(repo):
    """Hooks, fsmonitor, filters and merge drivers stay silent in a merge and in a refusal."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
    write(repo, {".git/info/attributes": "harness.py filter=evil\n* diff=evil merge=evil\n"})
    harmless = (repo / ".git/config").read_text()
    fired = set_traps(repo)
    os.utime(repo / "harness.py", (1, 1))
    commit = home(repo, head)
    assert not fired.exists()
    git(repo, "status")
    assert fired.exists(), "plain git steps into no trap, so this test shows nothing"
    (repo / ".git/config").write_text(harmless)
    assert_merged(repo, commit, head, old)


def test_a_custom_merge_driver_is_a_conflict(repo):
    """Where a driver of the user's would merge, both sides' changes are left to the user."""
    head = candidate(repo)
    write(repo, {"gen/train.py": "a = 1\n\nb = 2\n\nc = 4\n"})
    git(repo, "commit", "-qam", "two")
    fired = set_traps(repo)
    git(repo, "config", "core.fsmonitor", "false")
    write(repo, {".git/info/attributes": "* merge=evil\n"})
    with pytest.raises(SetupError, match=r"conflict in gen/train\.py"):
        home(repo, head)
    assert not fired.exists()


def test_a_file_behind_a_filter_is_left_to_the_user(repo):
    """Without git-lfs and its like the working tree would be wrong, and they must not run."""
    head = candidate(repo)
    write(repo, {".git/info/attributes": "*.py filter=lfs\n"})
    git(repo, "config", "filter.lfs.smudge", "false")
    with pytest.raises(SetupError, match="passes through the git filter lfs"):
        home(repo, head)
    git(repo, "config", "--remove-section", "filter.lfs")
    home(repo, head)


def test_line_endings_are_the_users(repo):
    """The working tree keeps the line endings that the user's configuration asks for."""
    head = candidate(repo)
    git(repo, "config", "core.autocrlf", "true")
    for path in FILES:
        (repo / path).unlink()
    git(repo, "checkout", "-q", "-f", "HEAD", "--", ".")
    home(repo, head)
    assert (repo / "gen/train.py").read_bytes() == b"a = 9\r\n\r\nb = 2\r\n\r\nc = 3\r\n"
    assert git(repo, "status", "--porcelain").splitlines() == ["?? notes.txt"]


def test_a_linked_worktree_is_merged_into(repo, tmp_path):
    """The target may be checked out in a linked worktree, and the call come from a folder below."""
    head, linked = candidate(repo), tmp_path / "linked"
    git(repo, "worktree", "add", "-q", "-b", "side", str(linked))
    home(linked / "gen", head, target="side")
    assert (linked / "gen/deep/er/new.py").exists()
    assert git(linked, "status", "--porcelain") == ""
    assert git(repo, "status", "--porcelain").splitlines() == ["?? notes.txt"]


@pytest.mark.parametrize("step", ["read-tree", "update-ref"])
def test_a_failure_on_the_way_is_undone(repo, monkeypatch, step):
    """When git fails after it has begun to write, all is put back as it was."""
    head = candidate(repo)
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
    """A really half-written working tree (a limit on file size kills git) is put back."""
    big = {"gen/a.py": Entry(b"small\n"), "gen/big.py": Entry(b"x" * 400_000), **CHANGE}
    head = candidate(repo, big)
    before, limits = picture(repo), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(SetupError, match=r"main is unchanged.*exit -25"):
            home(repo, head)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(SetupError, match=r"index\.lock exists: .*delete it"):
        home(repo, head)
    (repo / ".git/index.lock").unlink()
    assert picture(repo) == before
    home(repo, head)
    assert (repo / "gen/big.py").stat().st_size == 400_000


def test_ctrl_c_waits_for_the_end(repo, monkeypatch):
    """An interrupt in the midst of the merge is raised once the merge is whole."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
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
            home(repo, head)
    finally:
        signal.signal(signal.SIGINT, before)
    assert_merged(repo, git(repo, "rev-parse", "main"), head, old)


@pytest.mark.parametrize("share", ["none", "half", "files", "all"])
def test_what_a_kill_left_is_finished_by_merging_again(repo, share):
    """A merge that was killed before the branch moved is undone and done by the next one."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
    if share == "all":
        git(repo, "read-tree", "-m", "-u", old, head)
    if share in {"half", "files"}:
        write(repo, {"gen/deep/er/new.py": "new\n", "gen/train.py": "a = 9\n\nb = 2\n\nc = 3\n"})
    if share == "files":
        (repo / "gen/old.py").unlink()
        write(repo, {"with space.py": "x = 2\n"})
    assert_merged(repo, home(repo, head), head, old)


def test_work_beside_what_a_kill_left_is_not_undone(repo):
    """Leftovers are only undone where nothing else differs."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
    git(repo, "read-tree", "-m", "-u", old, head)
    write(repo, {"gen/train.py": "mine\n"})
    assert_refused(repo, head, "uncommitted changes")
    write(repo, {"gen/train.py": CHANGE["gen/train.py"].data.decode(), "harness.py": "mine\n"})
    assert_refused(repo, head, "uncommitted changes")


def test_kill_9_at_any_moment_leaves_old_or_new(repo):
    """After a kill the branch is at the old commit or the merge; merging again makes it whole."""
    old, dice = git(repo, "rev-parse", "main"), random.Random(5)
    head = candidate(repo)
    for step in ["commit-tree", "update-index", "read-tree", "update-ref"] * 3:
        begun, begin = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            _merge_home(repo, head, step, begin)
        os.close(begin)
        assert os.read(begun, 1)
        os.close(begun)
        time.sleep(dice.uniform(0, 0.01))  # the moment is the test's subject
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while _alive(child):  # git, its child, dies on its own time
            pass
        for lock in (repo / ".git").rglob("*.lock"):  # as the refusal asks for
            lock.unlink()
        now = git(repo, "rev-parse", "main")
        assert_merged(repo, home(repo, head) if now == old else now, head, old)
        git(repo, "reset", "-q", "--hard", old)
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("left", ["gone", "empty", "cut", "whole"])
@pytest.mark.parametrize("path", ["gen/train.py", "gen/deep/er/new.py", "gen/old.py"])
def test_each_file_may_be_cut_short_by_a_kill(repo, path, left):
    """With the note of the killed merge, a file that is gone or half written is its own."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
    tree = git(repo, "rev-parse", f"{head}^{{tree}}")
    (repo / ".git" / merge.NOTE).write_text(json.dumps({"old": old, "tree": tree}))
    new = (CHANGE[path].data if CHANGE[path] else b"old\n").decode()
    at = repo / path
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text({"gone": "", "empty": "", "cut": new[:2], "whole": new}[left])
    if left == "gone":
        at.unlink()
    merge.check_mergeable(Plumbing(repo, worktree=True), "main", head, GENOME)
    assert_merged(repo, home(repo, head), head, old)
    assert not (repo / ".git" / merge.NOTE).exists()


def test_a_note_does_not_cover_a_persons_work(repo):
    """What is neither of the merge's two versions nor the beginning of one is refused."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
    tree = git(repo, "rev-parse", f"{head}^{{tree}}")
    (repo / ".git" / merge.NOTE).write_text(json.dumps({"old": old, "tree": tree}))
    write(repo, {"gen/train.py": "mine\n"})
    assert_refused(repo, head, "uncommitted changes")
    write(repo, {"gen/train.py": FILES["gen/train.py"], "harness.py": "mine\n"})
    assert_refused(repo, head, "uncommitted changes")
    (repo / ".git" / merge.NOTE).write_text("{")
    git(repo, "checkout", "-q", "--", ".")
    assert_merged(repo, home(repo, head), head, old)


def test_squashed_it_is_one_commit(repo):
    """The same tree with one parent; the changes' own commits stay behind."""
    head, old = candidate(repo), git(repo, "rev-parse", "main")
    commit = merge_commit(Plumbing(repo, worktree=True), "main", head, MESSAGE, GENOME, squash=True)
    assert git(repo, "rev-list", "--parents", "-1", "main").split() == [commit, old]
    assert git(repo, "diff", "--stat", head, "main") == ""


def _alive(group):
    """Return whether any process of a group still runs (a zombie does not)."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _merge_home(repo, head, step, begin):
    """Merge home in a forked child that says when it comes to `step`."""
    answer = merge.Plumbing.try_run

    def announced(self, *args, **more):
        if args[0] == step:
            os.write(begin, b"!")
        return answer(self, *args, **more)

    merge.Plumbing.try_run = announced
    try:
        home(repo, head)
    finally:
        os._exit(0)  # a forked child must never return into pytest
