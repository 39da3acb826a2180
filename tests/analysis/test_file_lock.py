"""A file system that refuses locks is named in one line, with the fix, wherever swarm locks."""

import errno
import fcntl
import os

import pytest

from analysis.database.refresh import refresh
from analysis.ledger import Ledger
from harness.contract import SetupError
from harness.data.cache import locked
from swarm.executors.core_leases import lease_cores
from swarm.project import runs
from tests.support.repository import make

REFUSALS = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]


def record(repo):
    """Write to the record of a run."""
    with Ledger.open(repo, lambda: 0.0):
        pass


def view(repo):
    """Bring the database up to date."""
    (repo / "ledger.jsonl").write_text("")
    refresh(repo)


def lease(repo):
    """Lease a core."""
    with lease_cores([0], repo):
        pass


def prepare(repo):
    """Hold the cache of a corpus."""
    with locked(repo, lambda *_: None):
        pass


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (record, "put the repository, or its .swarm as a link, on a local disk"),
        (view, "put the repository, or its .swarm as a link, on a local disk"),
        (lease, "set XDG_RUNTIME_DIR to a folder of yours on a local disk"),
        (prepare, "set SWARM_CACHE to a folder on a local disk"),
    ],
)
def test_refused_locks_are_told_in_a_line(tmp_path, monkeypatch, call, fix, number):
    """Where flock fails the line names the file, the reason and what to do."""

    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(SetupError, match="this file system refuses locks") as error:
        call(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert fix in str(error.value)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_refused_links_are_told_in_a_line(tmp_path, monkeypatch, number):
    """A run's name is taken by a link; no name and no folder of a run is left."""
    repo = make(tmp_path / "repo", {"x.py": "X = 1\n"})

    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(SetupError, match=r"no hard links .* local disk"):
        runs.create_next(repo)
    assert not list((repo / ".git/swarm/runs").iterdir())
    assert not (repo / ".swarm/run1").exists()
