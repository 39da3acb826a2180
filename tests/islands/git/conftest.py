"""Fixtures: a repository and the branches of a run in it."""

import pytest

from islands.git.branches import Branches
from tests.islands.git.genome import FILES, GENOME
from tests.support.repository import make


@pytest.fixture
def repo(tmp_path):
    """Make a repository whose genome is a folder and a file with an odd name."""
    return make(tmp_path / "repo", FILES)


@pytest.fixture
def run(repo):
    """Return the branches of run r1 in it."""
    return Branches(repo, "r1", GENOME)
