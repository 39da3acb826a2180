"""What every test file may use: helpers beside it, and hypothesis without a stopwatch.

On a machine that cannot make a sandbox a test that needs one is skipped, and says what is missing.
"""

from functools import cache

import pytest
from hypothesis import settings

from harness.contract import SetupError
from harness.sandbox import tiers
from harness.sandbox.backends.bubblewrap import FIX

# shared machines stall for longer than any deadline that would mean something
settings.register_profile("swarm", deadline=None)
settings.load_profile("swarm")


@cache
def missing():
    """Return why no sandbox can be made here, "" where it can."""
    try:
        tiers.check(tiers.NAMESPACES)
    except SetupError as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def sandbox():
    """Skip a test that would wait for a box, or tell nothing, where no sandbox can be made."""
    if missing():
        pytest.skip(missing())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Skip a test that failed of nothing but the sandbox that there is none of here."""
    report = yield
    if report.failed and missing() and any(FIX[:40] in text for text in _texts(report, call)):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1], f"Skipped: {missing()}")
    return report


def _texts(report, call):
    """Return what a failure says, and the strings it was about: pytest cuts long ones short."""
    yield report.longreprtext
    for entry in call.excinfo.traceback:
        yield from (value for value in entry.frame.f_locals.values() if isinstance(value, str))
