"""Shared by every test: the `sandbox` marker, and how hypothesis tries."""

import os
import signal
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from harness.contract import SetupError
from harness.data import prepare
from harness.sandbox import tiers

# a shared machine stalls for longer than any deadline that would mean something
settings.register_profile("swarm", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("soak", deadline=None, max_examples=200)
settings.load_profile("swarm")

pytest.register_assert_rewrite("tests.support")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a script's background job ignores Ctrl-C, and would pass that on to the commands under test
    signal.signal(signal.SIGINT, signal.default_int_handler)


WORKERS = 8
"""Processes that run tests at most: each may load torch (0.5 GB)."""


SLOW = ("launch", "selection", "ray", "cheats", "simulation", "attacks", "prefetch", "drift")
"""Test files of a minute or so, slowest first: started early, so that none is left for the end."""


def pytest_configure(config):
    """Let soak runs (`-m soak`, `-m "soak or not soak"`) try other and more examples each time."""
    settings.load_profile("soak" if config.option.markexpr.startswith("soak") else "swarm")


def pytest_addoption(parser):
    """Add the options of the GPU suite (tests/gpu)."""
    parser.addoption("--gpu-report", type=Path, help="write the GPU suite's table as JSON")
    parser.addoption("--gpu-dry-run", action="store_true", help="run the GPU suite on a CPU core")


def pytest_xdist_auto_num_workers(config):
    """Return one more than the usable cores, since many tests wait for a trial's time to pass.

    With twice as many, trials lose so much of their cores that some are void. Tests of a GPU run
    one after another: it is theirs alone.
    """
    if config.option.markexpr == "gpu":
        config.option.dist = "no"
        return 0
    return min(WORKERS, len(os.sched_getaffinity(0)) + 1)


def pytest_collection_modifyitems(items):
    """Put the slow files first."""
    rank = {f"test_{name}": place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(SLOW)))


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


@pytest.fixture(scope="session", autouse=True)
def corpora(tmp_path_factory):
    """Keep corpora and what is compiled in a cache of this test run's own, one for its workers."""
    workers = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if workers else base) / "swarm-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWARM_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="session")
def kjv(corpora):
    """Prepare the corpus kjv in the test run's cache; return its id."""
    return prepare("kjv")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip a test marked `sandbox`, before its fixtures run, where no sandbox can be made."""
    if item.get_closest_marker("sandbox") and missing():
        pytest.skip(missing())


@contextmanager
def open_to_all():
    """Yield a folder that every user can reach; pytest's are closed, and Landlock has no mounts."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def open_folder():
    """A folder that every user can reach."""
    with open_to_all() as folder:
        yield folder


@pytest.fixture(scope="module")
def module_folder():
    """The same for all tests of a module."""
    with open_to_all() as folder:
        yield folder
