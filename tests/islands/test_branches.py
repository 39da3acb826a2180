"""Island branches and candidates, on real git."""

import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.contract import SetupError
from islands.git import refs
from islands.git.branches import Branches
from islands.git.plumbing import GitError, Plumbing
from islands.git.refs import ABSENT, HeadMovedError
from islands.records import Conflict, Entry
from tests.support.repository import git, make, set_traps, write

GENOME = ("gen", 'odd name\'s "Ü".py')
FILES = {
    "gen/train.py": "a = 1\nb = 2\nc = 3\n",
    "gen/sub/data.txt": "one\ntwo\n",
    'odd name\'s "Ü".py': "x = 1\n",
    "harness.py": "frozen\n",
    "generator.py": "not the genome\n",
}
T = 1_700_000_000


@pytest.fixture
def repo(tmp_path):
    """Make a repository whose genome is a folder and a file with an odd name."""
    return make(tmp_path / "repo", FILES)


@pytest.fixture
def run(repo):
    """Make the run r1 on it."""
    return Branches(repo, "r1", GENOME)


def edit(text):
    """Return a proposal's change of train.py."""
    return {"gen/train.py": Entry(text.encode())}


def fsck(repo):
    """Return what git finds wrong."""
    return git(repo, "fsck", "--strict", "--full", "--no-dangling")


def test_files_are_the_genome_and_nothing_beside_it(run):
    """`files` returns every file below the genome's paths, names with spaces and quotes too."""
    files = run.files(run.base("main"))
    assert set(files) == {"gen/train.py", "gen/sub/data.txt", GENOME[1]}
    assert files["gen/train.py"] == Entry(b"a = 1\nb = 2\nc = 3\n", "100644")


def test_files_show_links_and_submodules_for_what_they_are(repo):
    """A link holds its target under mode 120000, a submodule nothing under 160000."""
    (repo / "gen" / "link").symlink_to("/etc/passwd")
    git(repo, "add", "-A")
    commit = git(repo, "rev-parse", "HEAD")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{commit},gen/module")
    git(repo, "commit", "-qm", "links")
    files = Branches(repo, "r1", GENOME).files("HEAD")
    assert files["gen/link"] == Entry(b"/etc/passwd", "120000")
    assert files["gen/module"] == Entry(b"", "160000")


def test_export_writes_regular_files_only(repo, run, tmp_path):
    """An export holds the genome's regular files at their paths, readable by every user."""
    (repo / "gen" / "link").symlink_to("/etc/passwd")
    (repo / "gen" / "tool.sh").write_text("#!/bin/sh\n")
    (repo / "gen" / "tool.sh").chmod(0o755)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "more")
    before = os.umask(0o077)
    try:
        run.export(run.base("HEAD"), tmp_path / "new" / "out")
    finally:
        os.umask(before)
    out = tmp_path / "new" / "out"
    found = {str(at.relative_to(out)): at for at in out.rglob("*")}
    assert set(found) == {"gen", "gen/sub", "gen/sub/data.txt", "gen/tool.sh", "gen/train.py"} | {
        GENOME[1]
    }
    modes = {name: at.stat().st_mode & 0o777 for name, at in found.items()}
    assert modes["gen/sub"] == modes["gen/tool.sh"] == 0o755
    assert modes["gen/train.py"] == 0o644
    assert list((tmp_path / "new").iterdir()) == [out]


def test_export_leaves_a_finished_export_alone(run, tmp_path):
    """Several threads may export one commit to one place; each finds it whole."""
    base, out = run.base("main"), tmp_path / "out"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run.export(base, out), range(8)))
    assert (out / "gen/train.py").read_text() == FILES["gen/train.py"]
    assert sorted(at.name for at in tmp_path.iterdir()) == ["out", "repo"]


def test_a_commit_changes_only_the_named_paths(repo, run):
    """A candidate differs from its parent in what was proposed, deletions included."""
    base = run.base("main")
    change = {
        "gen/train.py": Entry(b"a = 2\n"),
        "gen/sub/data.txt": None,
        "gen/n w/q\"u'o.py": Entry("é\n".encode()),
        GENOME[1]: Entry(b"x = 2\n"),
    }
    commit = run.commit(base, change, "Try it\n\nwhy\n", 7, T)
    listed = git(repo, "-c", "core.quotePath=false", "ls-tree", "-r", "-z", "--name-only", commit)
    assert set(listed.rstrip("\0").split("\0")) == {
        "gen/train.py",
        "gen/n w/q\"u'o.py",
        GENOME[1],
        "harness.py",
        "generator.py",
    }
    assert run.files(commit)["gen/n w/q\"u'o.py"].data == "é\n".encode()
    assert git(repo, "show", "-s", "--format=%an %ae %cn %ct %P%n%B", commit).splitlines() == [
        f"swarm swarm@localhost swarm {T} {base}",
        "Try it",
        "",
        "why",
    ]
    assert run.tried(7) == commit == git(repo, "rev-parse", "refs/swarm/r1/tried/7")
    assert run.tried(8) is None
    assert git(repo, "status", "--porcelain") == ""
    assert fsck(repo) == ""


def test_a_file_may_become_a_folder(run):
    """Deleting a file and adding one below its name is one change."""
    base = run.base("main")
    change = {"gen/train.py": None, "gen/train.py/x.py": Entry(b"1\n")}
    assert "gen/train.py/x.py" in run.files(run.commit(base, change, "m", 1, T))


def test_equal_arguments_give_an_equal_commit(repo, tmp_path, monkeypatch):
    """A candidate's id depends on its content alone: not on the user, the machine or the clock."""
    first = Branches(repo, "r1", GENOME)
    base = first.base("main")
    one = first.commit(base, edit("a = 9\n"), "m", 1, T)
    other = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repo), str(other))
    git(other, "config", "user.name", "Somebody")
    git(other, "config", "i18n.commitEncoding", "latin1")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Else")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    second = Branches(other, "r2", GENOME)
    assert second.commit(base, edit("a = 9\n"), "m", 5, T) == one
    assert second.commit(base, edit("a = 9\n"), "m", 5, T) == one


def test_an_experiment_has_one_candidate(run):
    """A second, different candidate of an experiment is refused, with the mend."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    with pytest.raises(SetupError, match="another run name"):
        run.commit(base, edit("a = 8\n"), "m", 1, T)
    assert run.tried(1) == one


@pytest.mark.parametrize("path", ["harness.py", "gen/../harness.py", "gen/.git/config", "gen\n"])
def test_a_commit_outside_the_genome_is_a_bug(run, path):
    """What admission should have refused is never written."""
    with pytest.raises(ValueError, match="outside the genome"):
        run.commit(run.base("main"), {path: Entry(b"x")}, "m", 1, T)
    with pytest.raises(ValueError, match="not a regular file"):
        run.commit(run.base("main"), {"gen/l": Entry(b"x", "120000")}, "m", 1, T)
    assert run.tried(1) is None


def test_hostile_messages_are_only_text(repo, run):
    """A message that looks like fast-import's commands, or holds null bytes, stays a message."""
    said = "x\0y\ud800\ndata 3\nM 100644 inline harness.py\ndata 4\nevil\ndone\n"
    commit = run.commit(run.base("main"), edit("a = 9\n"), said, 1, T)
    assert git(repo, "show", f"{commit}:harness.py") == "frozen"
    assert "inline harness.py" in git(repo, "show", "-s", "--format=%B", commit)
    assert fsck(repo) == ""


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
    """`git log` and `git diff` take an island's branch as any other."""
    base = run.base("main")
    run.sync_branches({"north": base})
    one = run.commit(base, edit("a = 9\n"), "Try", 1, T)
    run.advance("north", one, base)
    assert git(repo, "log", "--format=%s", "swarm/r1/north").split() == ["Try", "one"]
    assert run.branch("north") == "swarm/r1/north"


def test_agree_makes_branches_what_the_ledger_says(repo, run):
    """Branches are created, moved on and moved back, whether or not they are packed."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    two = run.commit(one, edit("a = 8\n"), "m", 2, T)
    run.sync_branches({"a": base, "b": two, "c": one})
    git(repo, "pack-refs", "--all")
    run.sync_branches({"a": one, "b": one, "c": one})
    assert [run.head(name) for name in "abc"] == [one] * 3


def test_agree_never_moves_a_branch_that_the_user_is_on(repo, run):
    """A checked-out branch that agrees is left alone; one that does not is a refusal."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    run.sync_branches({"a": base, "b": base})
    git(repo, "switch", "-q", "swarm/r1/a")
    run.sync_branches({"a": base, "b": base})
    with pytest.raises(SetupError, match=r"swarm/r1/a is checked out in .*repo"):
        run.sync_branches({"a": one, "b": one})
    assert run.head("a") == run.head("b") == base


def test_agree_never_drops_what_the_user_committed(repo, run):
    """Commits that the swarm did not make are not taken off a branch."""
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


def test_agree_says_what_is_in_the_way(repo, run):
    """A branch named swarm, or a lost commit, is a mistake that the user can mend."""
    base = run.base("main")
    with pytest.raises(SetupError, match="not in the repository"):
        run.sync_branches({"a": "1" * 40})
    git(repo, "branch", "swarm")
    with pytest.raises(SetupError, match="git branch -m swarm OTHER"):
        run.sync_branches({"a": base})


def test_agree_takes_a_link_between_branches_for_no_branch(repo, run):
    """An island's branch that points to main is replaced; main is never moved through it."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    git(repo, "symbolic-ref", "refs/heads/swarm/r1/a", "refs/heads/main")
    run.sync_branches({"a": one})
    assert run.head("a") == one
    assert run.base("main") == base


@pytest.mark.parametrize("name", ["", "a b", "../x", "a..b", "-a", "a.lock", "a/b", "a~1", "@{-1}"])
def test_names_that_git_reads_otherwise_are_refused(repo, run, name):
    """A run or an island whose name cannot be part of a branch's is refused."""
    with pytest.raises(SetupError, match="cannot name a branch"):
        Branches(repo, name, GENOME)
    with pytest.raises(SetupError, match="cannot name a branch"):
        run.branch(name)


def test_a_place_without_a_repository_is_refused(tmp_path, run):
    """No directory, no repository, no such revision: one line each, with the mend."""
    with pytest.raises(SetupError, match="no such directory"):
        Branches(tmp_path / "nowhere", "r1", GENOME)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SetupError, match="git init"):
        Branches(tmp_path / "empty", "r1", GENOME)
    with pytest.raises(SetupError, match="names no commit"):
        run.base("--all")


def test_without_git_the_message_is_one_line(repo, monkeypatch):
    """A machine without git is told so."""
    monkeypatch.setenv("PATH", str(repo))
    with pytest.raises(SetupError, match="git is not installed"):
        Branches(repo, "r1", GENOME)


def test_a_git_that_is_too_old_is_named(repo, tmp_path, monkeypatch):
    """A git without merge-tree --write-tree is refused by its version."""
    old = tmp_path / "bin" / "git"
    write(tmp_path, {"bin/git": "#!/bin/sh\necho git version 2.30.2\n"})
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent), prepend=os.pathsep)
    with pytest.raises(SetupError, match=r"2\.30\.2 is too old: install git 2\.38"):
        Branches(repo, "r1", GENOME)


def test_diff_and_numstat_know_the_genome_only(repo, run):
    """A diff shows lines of the genome; changes elsewhere are not in it."""
    base = run.base("main")
    write(repo, {"harness.py": "moved\n", "gen/train.py": "a = 1\nb = 5\nc = 3\nd = 4\n"})
    git(repo, "commit", "-qam", "two")
    two = run.base("main")
    assert run.numstat(base, two) == (2, 1)
    text = run.diff(base, two)
    assert "-b = 2\n+b = 5\n" in text
    assert "harness.py" not in text
    assert run.numstat(base, base) == (0, 0)
    assert run.diff(base, base) == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ("9 2 3 4", "1 2 7 4", "9 2 7 4"),
        ("9 2 3 4", "1 7 3 4", None),  # adjacent lines
        ("9 2 3 4", "7 2 3 4", None),  # the same line
        ("9 2 3 4", "9 2 3 4", ""),  # the same change
        ("1 2 3 4 5", "1 2 3 4 6", None),  # two additions at one place
        ("2 3 4", "1 2 3", "2 3"),
    ],
)
def test_a_change_applies_to_another_commit_or_conflicts(run, ours, theirs, merged):
    """Lines apart merge; the same line, adjacent lines and two additions at one place do not."""
    lines = [
        edit(side.replace(" ", "\n") + "\n") for side in ("1 2 3 4", ours, theirs, merged or "")
    ]
    parent = run.commit(run.base("main"), lines[0], "m", 1, T)
    onto = run.commit(parent, lines[1], "m", 2, T)
    change = run.commit(parent, lines[2], "m", 3, T)
    answer = run.apply_change(parent, change, onto)
    if merged is None:
        assert answer == Conflict(("gen/train.py",))
    else:
        assert answer == (lines[3] if merged else {})


def test_a_change_is_taken_between_unrelated_histories(run):
    """Only three contents count, not who descends from whom: a link of a chain applies alone."""
    base = run.base("main")
    first = run.commit(base, edit("a = 9\nb = 2\nc = 3\n"), "m", 1, T)
    second = run.commit(first, edit("a = 9\nb = 2\nc = 7\n"), "m", 2, T)
    assert run.apply_change(first, second, base) == edit("a = 1\nb = 2\nc = 7\n")
    assert run.apply_change(second, first, second) == edit("a = 9\nb = 2\nc = 3\n")
    assert run.apply_change(first, second, first) == edit("a = 9\nb = 2\nc = 7\n")


def test_renamed_and_deleted_files_take_changes_along_or_conflict(run):
    """A rename keeps what was edited elsewhere; who deletes what another edits is in conflict."""
    text = "".join(f"v{n} = {n}\n" for n in range(20))
    parent = run.commit(run.base("main"), {"gen/model.py": Entry(text.encode())}, "m", 1, T)
    new = text.replace("v9 = 9\n", "v9 = 99\n").encode()
    edited = run.commit(parent, {"gen/model.py": Entry(new)}, "m", 2, T)
    moved = {"gen/model.py": None, "gen/net.py": Entry(text.encode())}
    renamed = run.commit(parent, moved, "m", 3, T)
    deleted = run.commit(parent, {"gen/model.py": None}, "m", 4, T)
    assert run.apply_change(parent, edited, renamed) == {"gen/net.py": Entry(new)}
    expected = {"gen/model.py": None, "gen/net.py": Entry(new)}
    assert run.apply_change(parent, renamed, edited) == expected
    assert run.apply_change(parent, deleted, edited) == Conflict(("gen/model.py",))
    assert run.apply_change(parent, edited, deleted) == Conflict(("gen/model.py",))
    assert run.apply_change(parent, deleted, deleted) == {}


def test_a_file_stays_where_it_was_put_when_its_folder_is_renamed(run):
    """Git would move it along with its neighbours; no file lands where neither side put it."""
    neighbours = {f"gen/old/{n}.py": Entry(b"x = 1\n" * (n + 5)) for n in range(3)}
    parent = run.commit(run.base("main"), neighbours, "m", 1, T)
    moved = dict.fromkeys(neighbours)
    moved |= {path.replace("old", "new"): entry for path, entry in neighbours.items()}
    onto = run.commit(parent, moved, "m", 2, T)
    added = run.commit(parent, {"gen/old/extra.py": Entry(b"y = 2\n")}, "m", 3, T)
    assert run.apply_change(parent, added, onto) == {"gen/old/extra.py": Entry(b"y = 2\n")}


def test_an_executable_stays_one_when_a_change_is_applied(repo):
    """Modes come from the sides, never from us."""
    (repo / "gen" / "tool.sh").write_text("one\n\nthree\n")
    (repo / "gen" / "tool.sh").chmod(0o755)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "tool")
    run = Branches(repo, "r1", GENOME)
    base, tool = run.base("main"), "gen/tool.sh"
    onto = run.commit(base, {tool: Entry(b"one\n\n3\n", "100755")}, "m", 1, T)
    change = run.commit(base, {tool: Entry(b"1\n\nthree\n", "100755")}, "m", 2, T)
    assert run.apply_change(base, change, onto) == {tool: Entry(b"1\n\n3\n", "100755")}


def test_nothing_that_the_repository_configures_is_run(repo, tmp_path):
    """Hooks, fsmonitor, filters, drivers, textconv and export rules have no say anywhere."""
    write(repo, {"gen/train.py": "$Format:%H$ $Id$\r\n"})
    git(repo, "commit", "-qam", "keywords")
    fired = set_traps(repo)
    rules = (
        "* filter=evil diff=evil merge=evil export-subst ident eol=crlf\ngen/sub export-ignore\n"
    )
    write(repo, {".gitattributes": rules, ".git/info/attributes": rules})
    git(repo, "config", "core.attributesFile", str(repo / ".gitattributes"))
    run = Branches(repo, "r1", GENOME)
    base = run.base("main")
    text = "$Format:%H$ $Id$\r\n"
    one = run.commit(base, edit(text + "1\n"), "m", 1, T)
    two = run.commit(base, {"gen/sub/data.txt": Entry(b"new\n")}, "m", 2, T)
    run.sync_branches({"a": base})
    run.advance("a", one, base)
    run.export(one, tmp_path / "out")
    assert (tmp_path / "out/gen/train.py").read_bytes() == (text + "1\n").encode()
    assert (tmp_path / "out/gen/sub/data.txt").exists()
    assert run.numstat(base, one) == (1, 0)
    assert "+1\n" in run.diff(base, one)
    assert run.apply_change(base, two, one) == {"gen/sub/data.txt": Entry(b"new\n")}
    clashing = run.commit(base, edit("other\n"), "m", 3, T)
    assert run.apply_change(base, clashing, one) == Conflict(("gen/train.py",))
    assert not fired.exists()
    for trap in (
        ("status", "-uno"),
        ("hash-object", "gen/train.py"),
        ("update-ref", "refs/x", base),
        ("diff", base, one),
        ("log", "-1", "-p", "--no-ext-diff", "--textconv", one),
        ("merge-tree", "--write-tree", one, clashing),
    ):
        git(repo, *trap, check=False)
        assert fired.exists(), f"plain git {trap} steps into no trap, so this test shows nothing"
        fired.unlink()


def test_the_user_configuration_is_left_as_it_was(repo, run):
    """A run writes no setting."""
    before = (repo / ".git" / "config").read_bytes()
    base = run.base("main")
    run.sync_branches({"a": base})
    run.advance("a", run.commit(base, edit("a = 9\n"), "m", 1, T), base)
    assert (repo / ".git" / "config").read_bytes() == before


def test_inherited_variables_do_not_lead_git_astray(repo, tmp_path, monkeypatch):
    """GIT_DIR and its kin, as a hook sets them, do not reach our git."""
    other = make(tmp_path / "other", {"gen/train.py": "other\n"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / ".git" / "objects"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    run = Branches(repo, "r1", GENOME)
    base = run.base("main")
    assert run.files(base)["gen/train.py"].data == FILES["gen/train.py"].encode()
    assert run.numstat(base, run.commit(base, edit("a = 9\n"), "m", 1, T)) == (1, 3)
    monkeypatch.undo()
    assert git(other, "for-each-ref", "refs/swarm") == ""


def test_eight_threads_commit_at_once(repo, run):
    """Islands that commit at the same time do not meet: every candidate is there and sound."""
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


def test_one_of_many_wins_the_swap(run):
    """Of eight moves from one head exactly one holds."""
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
        won = list(pool.map(swap, new))
    assert sum(won) == 1
    assert run.head("a") == new[won.index(True)]


def test_candidates_outlive_garbage_collection(repo, run):
    """`git gc --prune=now` keeps what was tried as long as the run's refs stand."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    git(repo, "reflog", "expire", "--expire=now", "--all")
    git(repo, "gc", "-q", "--prune=now")
    assert run.files(one)["gen/train.py"].data == b"a = 9\n"
    git(repo, "update-ref", "-d", "refs/swarm/r1/tried/1")
    git(repo, "gc", "-q", "--prune=now")
    assert git(repo, "cat-file", "-t", one, check=False) == ""


def test_kill_9_leaves_a_sound_repository(repo, run, monkeypatch):
    """After kills in the midst of commits and moves, git finds nothing wrong and a run goes on."""
    monkeypatch.setattr(refs, "STALE_LOCK_S", 0.0)
    base = run.base("main")
    run.advance("a", base, ABSENT)
    dice = random.Random(4)
    for attempt in range(8):
        run.sync_branches({"a": run.head("a")})  # as every launch does
        begun, begin = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            _ratchet_on(run, attempt, begin)
        os.close(begin)
        assert os.read(begun, 1)
        os.close(begun)
        time.sleep(dice.uniform(0.0, 0.1))  # the moment is the test's subject
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    head = git(repo, "rev-parse", "refs/heads/swarm/r1/a")
    assert fsck(repo) == ""
    tried = git(repo, "for-each-ref", "--format=%(objectname)", "refs/swarm").split()
    assert len(tried) >= 8
    assert head in [base, *tried]
    run.sync_branches({"a": head, "b": base})
    run.advance("a", run.commit(head, edit("after\n"), "m", 10_000, T), head)


def _ratchet_on(run, attempt, begin):
    try:
        head = run.head("a")
        for step in range(1000):
            new = run.commit(head, edit(f"v = {attempt}.{step}\n"), "m", attempt * 1000 + step, T)
            run.advance("a", new, head)
            head = new
            os.write(begin, b"!")
    finally:
        os._exit(1)  # a forked child must never return into pytest


def test_a_lock_that_a_kill_left_is_cleared_at_start(repo, run, monkeypatch):
    """A stale lock on one of the run's refs does not stop the run for ever."""
    monkeypatch.setattr(refs, "STALE_LOCK_S", 0.0)
    base = run.base("main")
    run.sync_branches({"a": base})
    lock = repo / ".git/refs/heads/swarm/r1/a.lock"
    lock.write_text("")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    run.sync_branches({"a": one})
    assert run.head("a") == one
    assert not lock.exists()


def test_a_linked_worktree_is_a_place_to_launch_from(repo, tmp_path):
    """A run launched in a linked worktree has its branches in the one repository."""
    linked = tmp_path / "linked"
    git(repo, "worktree", "add", "-q", "-b", "side", str(linked))
    run = Branches(linked / "gen", "r1", GENOME)
    base = run.base("HEAD")
    run.sync_branches({"a": base})
    run.commit(base, edit("a = 9\n"), "m", 1, T)
    names = git(repo, "for-each-ref", "--format=%(refname)").split()
    assert {"refs/heads/swarm/r1/a", "refs/swarm/r1/tried/1"} <= set(names)


def test_repositories_of_either_hash_serve(tmp_path):
    """SHA-256 repositories work as SHA-1 ones do."""
    repo = tmp_path / "long"
    repo.mkdir()
    subprocess.run(["git", "init", "-q", "--object-format=sha256", repo], check=True)
    write(repo, FILES)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "one")
    run = Branches(repo, "r1", GENOME)
    base = run.base("HEAD")
    run.sync_branches({"a": base})
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    run.advance("a", one, base)
    assert len(run.head("a")) == 64
    assert run.numstat(base, one) == (1, 3)


def test_a_lost_object_is_named(repo, run):
    """A repository that lacks a file of the genome is our crash, with the object's name."""
    name = git(repo, "rev-parse", "HEAD:gen/train.py")
    (repo / ".git/objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(GitError, match=f"{name} of the genome is missing"):
        run.files("HEAD")


def test_a_terminals_ctrl_c_does_not_reach_git(repo):
    """It goes to the process group in front, which git is no part of: we see its work through."""
    group = "!ps -o pgid= -p $$"
    said = Plumbing(repo).run_line("-c", f"alias.group={group}", "group")
    assert int(said) != os.getpgrp()
