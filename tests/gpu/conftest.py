"""The GPU suite: one device, tests one after another, one table at the end.

`pytest -m gpu tests/gpu`; `--gpu-report FILE` writes the table as JSON, `--gpu-dry-run` runs the
tests' own code on a CPU core. See README.md beside this file.
"""

import pytest

from tests.support import gpu

DEVICE = pytest.StashKey()


def _device(config):
    if DEVICE not in config.stash:
        dry = config.getoption("--gpu-dry-run")
        config.stash[DEVICE] = gpu.find_device(dry=dry)
    return config.stash[DEVICE]


def pytest_collection_modifyitems(config, items):
    """Without a device skip every test of this folder for one reason."""
    ours = [item for item in items if item.get_closest_marker("gpu")]
    if config.option.markexpr == "gpu" and ours and _device(config) is None:
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=gpu.why_none()))


@pytest.fixture(scope="session")
def device(request):
    """The device under test."""
    return _device(request.config)


@pytest.fixture
def only_gpu(device):
    """Skip what a CPU cannot stand in for."""
    if device.dry:
        pytest.skip("a dry run has no GPU")


@pytest.fixture
def figure(record_property):
    """Return a function that puts a number into the suite's table."""
    return record_property


def pytest_terminal_summary(terminalreporter, config):
    """Print the table; write it where --gpu-report says."""
    if DEVICE not in config.stash or config.stash[DEVICE] is None:
        return
    rows = gpu.rows(terminalreporter.stats)
    terminalreporter.section("GPU suite")
    for line in gpu.table(rows):
        terminalreporter.write_line(line)
    if path := config.getoption("--gpu-report"):
        path.write_text(gpu.report(config.stash[DEVICE], rows))
