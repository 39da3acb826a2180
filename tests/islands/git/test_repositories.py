"""Repositories of all kinds: hostile settings, worktrees, hash formats, old and missing git."""

import os
import subprocess

import pytest

from harness.contract import SetupError
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.records import Conflict, Entry
from tests.islands.git.genome import FILES, GENOME, T, edit
from tests.support.repository import git, make, set_traps, write


@pytest.mark.parametrize("name", ["", "a b", "../x", "a..b", "-a", "a.lock", "a/b", "a~1", "@{-1}"])
def test_names_that_cannot_be_part_of_a_ref_are_refused(repo, run, name):
    """This holds for runs and for islands."""
    with pytest.raises(SetupError, match="cannot name a branch"):
        Branches(repo, name, GENOME)
    with pytest.raises(SetupError, match="cannot name a branch"):
        run.branch(name)


def test_a_folder_without_a_repository_is_refused(tmp_path, run):
    """No directory, no repository, no such revision: each has its message with the fix."""
    with pytest.raises(SetupError, match="no such directory"):
        Branches(tmp_path / "nowhere", "r1", GENOME)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SetupError, match="git init"):
        Branches(tmp_path / "empty", "r1", GENOME)
    with pytest.raises(SetupError, match="names no commit"):
        run.base("--all")


def test_without_git_the_message_is_one_line(repo, monkeypatch):
    """The message says that git is not installed."""
    monkeypatch.setenv("PATH", str(repo))
    with pytest.raises(SetupError, match="git is not installed"):
        Branches(repo, "r1", GENOME)


def test_a_git_that_is_too_old_is_named(repo, tmp_path, monkeypatch):
    """A git without `merge-tree --write-tree` is refused with its version."""
    old = tmp_path / "bin" / "git"
    write(tmp_path, {"bin/git": "#!/bin/sh\necho git version 2.30.2\n"})
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent), prepend=os.pathsep)
    with pytest.raises(SetupError, match=r"2\.30\.2 is too old: install git 2\.38"):
        Branches(repo, "r1", GENOME)


def test_no_program_that_the_repository_configures_is_run(repo, tmp_path):
    """Hooks, fsmonitor, filters, drivers, textconv and export rules have no effect."""
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
        assert fired.exists(), f"plain git {trap} triggers no trap, so this test shows nothing"
        fired.unlink()


def test_a_run_writes_no_git_setting(repo, run):
    """The repository's configuration file is unchanged."""
    before = (repo / ".git" / "config").read_bytes()
    base = run.base("main")
    run.sync_branches({"a": base})
    run.advance("a", run.commit(base, edit("a = 9\n"), "m", 1, T), base)
    assert (repo / ".git" / "config").read_bytes() == before


def test_inherited_git_variables_have_no_effect(repo, tmp_path, monkeypatch):
    """GIT_DIR and similar variables, as a hook sets them, do not reach our git."""
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


def test_a_run_can_be_launched_in_a_linked_worktree(repo, tmp_path):
    """Its branches are in the shared repository."""
    linked = tmp_path / "linked"
    git(repo, "worktree", "add", "-q", "-b", "side", str(linked))
    run = Branches(linked / "gen", "r1", GENOME)
    base = run.base("HEAD")
    run.sync_branches({"a": base})
    run.commit(base, edit("a = 9\n"), "m", 1, T)
    names = git(repo, "for-each-ref", "--format=%(refname)").split()
    assert {"refs/heads/swarm/r1/a", "refs/swarm/r1/tried/1"} <= set(names)


def test_sha_256_repositories_work(tmp_path):
    """Commits, moves and diffs work as with SHA-1."""
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


def test_ctrl_c_in_a_terminal_does_not_reach_git(repo):
    """It goes to the foreground process group; git runs in another one and finishes its work."""
    group = "!ps -o pgid= -p $$"
    group_of_git = Plumbing(repo).run_line("-c", f"alias.group={group}", "group")
    assert int(group_of_git) != os.getpgrp()
