"""Project runners: what a command line comes to in a sandbox."""

import pytest

from harness.problem.project_runners import without_runner


@pytest.mark.parametrize(
    ("command", "direct"),
    [
        ("uv run python bench.py --n 3", "python bench.py --n 3"),
        ("uv run bench.py", "python bench.py"),
        ("uv run --frozen -q pytest -q tests", "pytest -q tests"),
        ("A=1 B= poetry run python -m bench", "A=1 B= python -m bench"),
        ("cd sub && pdm run bench.py; uv run x", "cd sub && python bench.py; x"),
    ],
)
def test_a_runner_is_left_out(command, direct):
    """What it would start is started, a script by the Python of the environment."""
    assert without_runner(command) == direct


@pytest.mark.parametrize(
    "command",
    ["uv run --with numpy bench.py", "uv runs x", "./uv run x", "echo uv run x", "uv run"],
)
def test_other_command_lines_stay_as_they_are(command):
    """An option that changes the environment is not dropped silently."""
    assert without_runner(command) == command
