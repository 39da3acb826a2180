"""The checks of a problem, in real sandboxes: what they see, how they fail."""

import asyncio
import os
from pathlib import Path

import pytest

from harness.check import check
from harness.contract import SetupError, Slice
from harness.sandbox import run
from swarm.executors.base import ExecutorConfig
from swarm.executors.local import LocalExecutor
from swarm.project.program import read_program
from tests.harness.problem.test_command import FILES, Problem, kinds

CORE = min(os.sched_getaffinity(0))

TESTS = """\
from src import work
import os, pathlib
assert work.value(1) < 100, f"too large: {work.value(1)}"
pathlib.Path(os.environ["OUT"], "left").write_text("x")
"""

PROGRAM = FILES["program.md"].replace(
    "metric:", 'checks: [python test.py, "test ! -e $OUT/left"]\ncheck_seconds: 2\nmetric:'
)


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A Python function with a test of its own, and a check that finds nothing left of another."""
    files = {**FILES, "test.py": TESTS, "program.md": PROGRAM}
    return Problem(tmp_path_factory.mktemp("checks"), files)


@pytest.mark.parametrize("kind", kinds())
def test_the_frozen_tests_judge_the_candidate(problem, kind):
    """The base passes; a candidate that breaks a test fails with the line that says how."""
    assert check(problem.trial(sandbox=kind), run).ok
    broken = {"src/work.py": "def value(depth): return 900\n", "test.py": "pass\n"}
    result = check(problem.trial(broken, sandbox=kind), run)
    assert not result.ok
    assert result.command == "python test.py"
    assert result.reason == "`python test.py` exited with 1: AssertionError: too large: 900"
    assert "Traceback" in result.tail


def test_a_check_that_hangs_is_ended(problem):
    """`check_seconds` is the limit of all checks together, whatever the trial's budget."""
    hang = {"src/work.py": "import time\ntime.sleep(60)\n"}
    result = check(problem.trial(hang, sandbox="none", seconds=0.1), run)
    assert result.reason == "`python test.py` still runs after check_seconds, 2 s for all checks"


def test_the_local_executor_runs_them_on_a_slice(problem, tmp_path_factory):
    """The slice's harness process answers a check between trials."""

    async def both():
        slices = (Slice("cpu0", "cpu", (CORE,)),)
        config = ExecutorConfig("command", "none", "none", None, problem.frozen)
        home = Path(__file__).parents[3]
        async with LocalExecutor(home, config, slices) as executor:
            trial = problem.trial(sandbox="none")
            return await executor.check(trial), await executor.run(trial)

    result, outcome = asyncio.run(both())
    assert result.ok
    assert outcome.score == 42.0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("check_seconds: 5", "check_seconds limits nothing without checks"),
        ("checks: []", "checks"),
        ("checks: [a]\ncheck_seconds: 0", "check_seconds"),
    ],
)
def test_program_md_says_what_is_wrong(line, expected):
    """One line for each mistake."""
    text = FILES["program.md"].replace("metric:", f"{line}\nmetric:")
    with pytest.raises(SetupError, match=expected):
        read_program(text, "program.md")
