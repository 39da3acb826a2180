"""Repositories of other kinds, and what other programs leave in the environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.project import runs
from tests.support.target import git, packing, swarm

OLD_GIT = """#!/bin/sh
[ "$1" = version ] && { echo git version 2.34.1; exit; }
exec GIT "$@"
"""


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    """A repository of the packing task."""
    return packing(tmp_path_factory.mktemp("kinds"))


@pytest.mark.sandbox
def test_object_ids_may_be_of_sha256(repo, tmp_path):
    """A launch there measures a baseline: git is asked, and no library's idea of it."""
    other = tmp_path / "other"
    shutil.copytree(repo, other, ignore=shutil.ignore_patterns(".git"))
    git(other, "init", "-q", "-b", "main", "--object-format=sha256")
    git(other, "add", "-A")
    git(other, "commit", "-qm", "one")
    swarm(other, "launch", "--trials", "1", "--islands", "1")
    assert len(git(other, "rev-parse", "swarm/run1/a")) == 64


@pytest.mark.parametrize("command", ["launch", "status", "runs", "merge"])
def test_a_repository_that_this_git_cannot_read_gets_gits_own_reason(repo, tmp_path, command):
    """As one whose refs are a reftable, for a git before 2.45."""
    other = tmp_path / "other"
    shutil.copytree(repo, other)
    with (other / ".git/config").open("a") as config:
        config.write("[core]\nrepositoryformatversion = 1\n[extensions]\nnotYetKnown = x\n")
    told = swarm(other, command, code=2)
    assert told == (
        f"swarm: git cannot read the repository of {other}: unknown repository extension found:"
        " notyetknown\n"
    )


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_NAMESPACE"])
def test_a_foreign_place_of_git_is_refused_by_name(repo, tmp_path, name):
    """A line names the variable; this repository's own place is what git finds anyway."""
    told = swarm(repo, "status", code=2, **{name: str(tmp_path)})
    assert told.startswith(f"swarm: {name} is set, to {tmp_path}")
    assert told.count("\n") == 1


def test_the_places_that_a_hook_sets_are_its_own_repository(repo):
    """A hook runs with GIT_DIR and GIT_INDEX_FILE of the repository around it."""
    own = {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index"}
    assert "has no run yet" in swarm(repo, "status", code=2, **own)


def test_an_old_git_is_refused_first(repo, tmp_path):
    """By init and doctor too, before anything is written or attacked."""
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin/git"
    old.write_text(OLD_GIT.replace("GIT", shutil.which("git")))
    old.chmod(0o755)
    path = f"{old.parent}:{os.environ['PATH']}"
    for words in (("init", "new", "--task", "packing"), ("init",), ("doctor",), ("status",)):
        told = swarm(repo, *words, code=2, PATH=path)
        assert told == "swarm: git 2.34.1 is too old: install git 2.38 or later\n"
    assert not (repo / "new").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_repository_of_another_user_is_trusted_as_git_trusts_it(repo, tmp_path):
    """Refused with git's own fix; a setting given by number counts everywhere."""
    other = tmp_path / "other"
    shutil.copytree(repo, other)
    for path in (other, other / ".git"):
        os.chown(path, 12345, 12345)
    told = swarm(other, "status", code=2)
    assert "git config --global --add safe.directory" in told
    setting = {"GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    told = swarm(other, "merge", code=2, GIT_CONFIG_COUNT="1", **setting)
    assert "has no run yet" in told


def test_worktrees_share_the_names_of_runs(repo, tmp_path):
    """Two of one repository never take one name, and the name of a removed run is free again."""
    other = tmp_path / "other"
    git(repo, "worktree", "add", "-q", str(other), "-b", "other")
    first, second = runs.create_next(repo), runs.create_next(other)
    assert [first.name, second.name] == ["run1", "run2"]
    told = swarm(other, "launch", "--run", "run1", code=2)
    assert str(first.path) in told
    assert "choose another name" in told
    runs.release_name(first)
    assert runs.create(other, "run1").path == other / ".swarm/run1"


CLOSED = """
from swarm.cli.streams import open_closed_streams
open_closed_streams()
print("±", flush=True)
assert open("x", "w").fileno() > 2
"""


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_no_file_takes_the_number_of_a_closed_stream(tmp_path, closing):
    """Else what children print goes into the ledger; characters that are unknown are replaced."""
    (tmp_path / "program.py").write_text(CLOSED)
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(root)}
    words = ["sh", "-c", f"{sys.executable} program.py {closing}"]
    assert subprocess.run(words, cwd=tmp_path, env=env, check=False).returncode == 0


def test_a_reader_that_leaves_stops_no_command(tmp_path):
    """What cannot be written is dropped, as text and as bytes."""
    code = (
        "import sys, click; from swarm.cli.streams import outlive_readers as o; o()\n"
        "for n in range(9): click.echo('x' * 65536); click.echo(b'y' * 65536)\n"
        "print('end', flush=True); open('done', 'w')"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=written, env=env, check=False
    )
    os.close(written)
    assert done.returncode == 0
    assert (tmp_path / "done").exists()
