"""A script in the genome that prints the metric: whoever changes it can print any number."""

import pytest

from swarm.project.printing_scripts import printing_script
from swarm.project.program import in_folder, read_program

PROGRAM = """\
---
task: command
genome: [bench.py, lib]
run: {run}
metric: {metric}
direction: maximize
{extra}
---
"""


def script(run, metric="score", extra="", path="program.md"):
    """Return the script of a program.md with these keys."""
    files = ["bench.py", "lib/a.py", "main.py"]
    text = PROGRAM.format(run=run, metric=metric, extra=extra)
    return printing_script(in_folder(read_program(text, "program.md", files), path))


@pytest.mark.parametrize(
    ("run", "found"),
    [
        ("python bench.py", "bench.py"),
        ("A=1 python -O ./bench.py --n 3", "bench.py"),
        ("uv run lib/a.py", "lib/a.py"),
        ("python -m lib.a", "lib/a.py"),
        ("python -m lib", "lib/__main__.py"),
        ("python -m json.tool bench.py", ""),
        ("python main.py", ""),
        ("make bench", ""),
        ("lib/run.sh 3", "lib/run.sh"),
        ("python main.py bench.py", ""),
        ("cat lib/a.py", ""),
        ("python -c 'print(1)' bench.py", ""),
    ],
)
def test_the_script_that_run_starts_is_found_in_the_genome(run, found):
    """By its path or as a module."""
    assert script(run) == found


@pytest.mark.parametrize(
    ("metric", "extra"), [("wall_seconds", ""), ("lines", ""), ("score", "score: python main.py")]
)
def test_what_the_harness_or_a_scorer_takes_is_not_printed_by_a_candidate(metric, extra):
    """So the score is verified."""
    assert script("python bench.py", metric, extra) == ""


def test_paths_are_those_of_the_folder_of_program_md():
    """In a repository of several programs."""
    assert script("python bench.py", path="a/program.md") == "a/bench.py"
