"""One provider on loopback for all tests of the gateway, and its key in the environment."""

import pytest

from tests.support.loopback import KEY, Loopback


@pytest.fixture(scope="session")
def provider():
    """Return the server."""
    with Loopback() as running:
        yield running


@pytest.fixture
def server(provider, monkeypatch):
    """Return the server with an empty script; the environment holds its key."""
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    return provider.play(())
