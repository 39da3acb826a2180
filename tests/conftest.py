"""Shared by every test: the `sandbox` marker, and hypothesis without a deadline."""

import os
from functools import cache

import pytest
from hypothesis import settings

from harness.contract import SetupError
from harness.sandbox import tiers

# a shared machine stalls for longer than any deadline that would mean something
settings.register_profile("swarm", deadline=None)
settings.load_profile("swarm")


WORKERS = 8
"""Processes that run tests at most: each may load torch (0.5 GB)."""


def pytest_xdist_auto_num_workers():
    """Return the usable cores, where xdist would count those of the machine."""
    return min(WORKERS, len(os.sched_getaffinity(0)))


@cache
def missing():
    """Return why no sandbox of namespaces can be made here, "" where it can."""
    try:
        tiers.check(tiers.NAMESPACES)
    except SetupError as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def sandbox():
    """Skip the tests of a fixture that needs a sandbox where none can be made."""
    if missing():
        pytest.skip(missing())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test marked `sandbox`, before its fixtures run, where no sandbox can be made."""
    if item.get_closest_marker("sandbox") and missing():
        pytest.skip(missing())
