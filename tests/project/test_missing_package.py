"""A package that is missing in trials: the line says what is there and how to add it."""

import pytest

from swarm.project.missing_package import missing_package_fix

CRASH = "crash: exit status 1: ModuleNotFoundError: No module named 'yaml.nodes'"


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("packing", "import the standard library and numpy alone: do without yaml"),
        ("gpt", "import the standard library and torch"),
        ("command", "install yaml where `python` is (the repository's .venv"),
        ("function", "install yaml where `python` is (the repository's .venv"),
    ],
)
def test_the_fix_is_the_tasks_own(task, line):
    """A built-in task's sandbox holds named packages alone: nothing that is installed helps."""
    assert line in missing_package_fix(task, CRASH)


def test_other_failures_have_no_such_fix():
    """Where no module is named there is nothing to add."""
    assert missing_package_fix("packing", "timeout") == ""
