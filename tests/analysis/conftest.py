"""One recorded run that all tests of the record read."""

import pytest

from tests.support.histories import lived
from tests.support.record import write


@pytest.fixture(scope="session")
def history(tmp_path_factory):
    """Return the events and the state of a run in which everything went wrong once."""
    return lived(tmp_path_factory.mktemp("lived"), 60)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory, history):
    """Return a run folder that holds the whole history: for tests that only read."""
    folder = tmp_path_factory.mktemp("recorded")
    write(folder, history[0])
    return folder
