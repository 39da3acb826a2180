"""`swarm runs` and `swarm rm`: a run is listed, and removed with all that it left in git."""

import json
import subprocess

import pytest

from analysis.ledger import Ledger
from tests.support.record import write
from tests.support.repository import git, make
from tests.support.target import swarm


@pytest.fixture
def repo(tmp_path, history):
    """Return a repository with the runs old and new, and branches and refs of both."""
    root = tmp_path / "repo"
    make(root, {"a.py": "X = 1\n"})
    for name in ("old", "new"):
        folder = root / ".swarm" / name
        folder.mkdir(parents=True)
        write(folder, history[0])
        for ref in (f"refs/heads/swarm/{name}/a", f"refs/swarm/{name}/tried/1"):
            git(root, "update-ref", ref, "HEAD")
    (root / ".swarm/.gitignore").write_text("*\n")
    return root


def refs(root):
    """Return the names of all refs of a repository."""
    return git(root, "for-each-ref", "--format=%(refname)").split()


def test_runs_are_listed_with_what_they_came_to(repo, history):
    """Each run once; a broken record is named and hides no other; none is no error."""
    (repo / ".swarm/broken").mkdir()
    (repo / ".swarm/broken/ledger.jsonl").write_text("not a ledger\nnor this\n")
    rows = {row["run"]: row for row in json.loads(swarm(repo, "runs", "--json"))}
    assert set(rows) == {"old", "new", "broken"}
    assert rows["old"]["trials"] == rows["new"]["trials"] > 0
    assert rows["broken"]["error"]
    text = swarm(repo, "runs")
    assert "stopped" in text
    assert "old" in text


def test_a_run_is_removed_whole_and_alone(repo):
    """Folder, branches and refs go; the other run, main and the work tree stay."""
    text = swarm(repo, "rm", "old", "--yes")
    assert "branch swarm/old/a" in text
    assert "1 other ref" in text
    assert not (repo / ".swarm/old").exists()
    assert not [ref for ref in refs(repo) if "/old/" in ref]
    assert [ref for ref in refs(repo) if "/new/" in ref]
    assert git(repo, "status", "--porcelain") == ""
    assert "no such run" in swarm(repo, "rm", "old", "--yes", code=2)


def test_branches_are_kept_on_request_and_nothing_without_consent(repo):
    """--keep-branches leaves the branches; an unanswered question removes nothing."""
    before = refs(repo)
    swarm(repo, "rm", "new", code=130)
    assert refs(repo) == before
    swarm(repo, "rm", "new", "--yes", "--keep-branches")
    assert "refs/heads/swarm/new/a" in refs(repo)
    assert "refs/swarm/new/tried/1" not in refs(repo)


def test_a_run_in_use_or_checked_out_is_not_removed(repo):
    """One line says who uses it, or where its branch is checked out."""
    with Ledger.open(repo / ".swarm/old", lambda: 1.0):
        assert "in use by process" in swarm(repo, "rm", "old", "--yes", code=2)
    subprocess.run(["git", "switch", "-q", "swarm/old/a"], cwd=repo, check=True)
    assert "is checked out in" in swarm(repo, "rm", "old", "--yes", code=2)
    assert (repo / ".swarm/old/ledger.jsonl").exists()
