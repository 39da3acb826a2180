"""One recorded repository that all tests of the page read."""

import pytest

from tests.support.recorded_repo import recorded_repo


@pytest.fixture(scope="session")
def repo(tmp_path_factory):
    """Return a repository with a run that only tests that write copy."""
    return recorded_repo(tmp_path_factory.mktemp("dashboard"))
