"""Nothing of a user's runs where sandboxes would see it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.contract import SetupError
from harness.sandbox import exposure
from harness.sandbox.backends import interpreter
from harness.sandbox.exposure import check_unseen
from swarm.executors.require_sandbox import require_sandbox


def test_a_repository_below_the_systems_trees_is_refused():
    """/usr/src/app is Docker's usual place; the error names the tree and what to do."""
    with pytest.raises(SetupError, match=r"the repository /usr/src/app lies in /usr, .*: move it"):
        check_unseen({"the repository": Path("/usr/src/app")})


def test_a_repository_that_is_its_virtual_environment_is_refused(tmp_path, monkeypatch):
    """`python -m venv .` makes all of it the interpreter's prefix; a `.venv` inside does not."""
    monkeypatch.setattr(exposure, "prefixes", lambda: (tmp_path,))
    with pytest.raises(SetupError, match=r"python -m venv \.venv"):
        check_unseen({"the repository": tmp_path, "the run": tmp_path / ".swarm/run1"})
    monkeypatch.setattr(exposure, "prefixes", lambda: (tmp_path / ".venv",))
    check_unseen({"the repository": tmp_path, "the run": tmp_path / ".swarm/run1"})


def test_a_link_into_a_visible_tree_is_followed(tmp_path):
    """What counts is where the files are."""
    (tmp_path / "cache").symlink_to("/usr/share")
    with pytest.raises(SetupError, match="the cache"):
        check_unseen({"the cache": tmp_path / "cache" / "swarm"})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is confined")
def test_a_cache_in_a_visible_tree_stops_every_command_that_makes_sandboxes(monkeypatch):
    """Held-out text lies there; unconfined runs are told of nothing."""
    monkeypatch.setenv("SWARM_CACHE", "/usr/share/swarm-cache")
    with pytest.raises(SetupError, match="the cache of held-out text"):
        require_sandbox("namespaces")
    require_sandbox("none")


def test_a_package_folder_that_is_a_link_is_hidden_where_it_lies(tmp_path, monkeypatch):
    """A mount under a link of a read-only tree fails, and the link's target shows its packages."""
    real, packages = tmp_path / "packages", tmp_path / "venv/lib/python3.11/site-packages"
    real.mkdir()
    packages.parent.mkdir(parents=True)
    packages.symlink_to(real)
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    found = interpreter.site_folders.__wrapped__()
    assert real in found
    assert packages not in found
