"""Candidates: files, exports and commits, on real git."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.contract import SetupError
from islands.git.branches import Branches
from islands.git.plumbing import GitError
from islands.records import Entry
from tests.islands.git.genome import FILES, GENOME, T, edit, fsck
from tests.support.repository import git


def test_files_are_those_of_the_genome_only(run):
    """`files` returns every file below the genome's paths, names with spaces and quotes too."""
    files = run.files(run.base("main"))
    assert set(files) == {"gen/train.py", "gen/sub/data.txt", GENOME[1]}
    assert files["gen/train.py"] == Entry(b"a = 1\nb = 2\nc = 3\n", "100644")


def test_files_show_links_and_submodules_as_such(repo):
    """A link is its target with mode 120000, a submodule is empty with mode 160000."""
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
    paths = {str(path.relative_to(out)): path for path in out.rglob("*")}
    assert set(paths) == {"gen", "gen/sub", "gen/sub/data.txt", "gen/tool.sh", "gen/train.py"} | {
        GENOME[1]
    }
    modes = {name: path.stat().st_mode & 0o777 for name, path in paths.items()}
    assert modes["gen/sub"] == modes["gen/tool.sh"] == 0o755
    assert modes["gen/train.py"] == 0o644
    assert list((tmp_path / "new").iterdir()) == [out]


def test_export_leaves_a_finished_export_alone(run, tmp_path):
    """Several threads may export one commit to one folder; each of them finds it complete."""
    base, out = run.base("main"), tmp_path / "out"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run.export(base, out), range(8)))
    assert (out / "gen/train.py").read_text() == FILES["gen/train.py"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "repo"]


def test_a_commit_changes_only_the_named_paths(repo, run):
    """A candidate differs from its parent by the proposal, deletions included."""
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
    """A candidate's id depends on its content alone, not on user, machine or clock."""
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
    """A second, different candidate of an experiment is refused, with the fix."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    with pytest.raises(SetupError, match="launch with --new"):
        run.commit(base, edit("a = 8\n"), "m", 1, T)
    assert run.tried(1) == one


@pytest.mark.parametrize("path", ["harness.py", "gen/../harness.py", "gen/.git/config", "gen\n"])
def test_a_commit_outside_the_genome_is_a_bug(run, path):
    """A path or file that admission should have refused is never written."""
    with pytest.raises(ValueError, match="outside the genome"):
        run.commit(run.base("main"), {path: Entry(b"x")}, "m", 1, T)
    with pytest.raises(ValueError, match="not a regular file"):
        run.commit(run.base("main"), {"gen/l": Entry(b"x", "120000")}, "m", 1, T)
    assert run.tried(1) is None


def test_hostile_messages_are_only_text(repo, run):
    """A message with null bytes or fast-import commands is written as a message."""
    message = "x\0y\ud800\ndata 3\nM 100644 inline harness.py\ndata 4\nevil\ndone\n"
    commit = run.commit(run.base("main"), edit("a = 9\n"), message, 1, T)
    assert git(repo, "show", f"{commit}:harness.py") == "frozen"
    assert "inline harness.py" in git(repo, "show", "-s", "--format=%B", commit)
    assert fsck(repo) == ""


def test_candidates_outlive_garbage_collection(repo, run):
    """`git gc --prune=now` keeps candidates as long as their refs exist."""
    base = run.base("main")
    one = run.commit(base, edit("a = 9\n"), "m", 1, T)
    git(repo, "reflog", "expire", "--expire=now", "--all")
    git(repo, "gc", "-q", "--prune=now")
    assert run.files(one)["gen/train.py"].data == b"a = 9\n"
    git(repo, "update-ref", "-d", "refs/swarm/r1/tried/1")
    git(repo, "gc", "-q", "--prune=now")
    assert git(repo, "cat-file", "-t", one, check=False) == ""


def test_a_lost_object_is_named(repo, run):
    """A missing file of the genome raises GitError with the object's name."""
    name = git(repo, "rev-parse", "HEAD:gen/train.py")
    (repo / ".git/objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(GitError, match=f"{name} of the genome is missing"):
        run.files("HEAD")
