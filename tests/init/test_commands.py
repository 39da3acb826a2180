"""A command line is checked against the tracked files before it is written down."""

from dataclasses import replace

import pytest

from swarm.init.commands import command_problem, file_problem
from swarm.init.worktree import look
from tests.support.repository import make, write


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A repository with a benchmark, a Makefile, and a file that is not tracked."""
    files = {"bench.py": "", "Makefile": "bench:\n", "tools/run.sh": "", "src/f.py": ""}
    repo = make(tmp_path_factory.mktemp("commands") / "repo", files)
    write(repo, {"draft.py": ""})
    return look(repo)


@pytest.mark.parametrize(
    "command",
    [
        "python bench.py",
        "python3.11 -O ./bench.py --n 3",
        "OMP_NUM_THREADS=1 python bench.py {seed}",
        "python -m pytest -q tests",
        "python -c 'print(1)'",
        "uv run bench.py",
        "sh tools/run.sh",
        "make bench",
        "true && anything",
    ],
)
def test_a_command_whose_files_are_tracked_is_sound(tree, command):
    """Whatever stands around the script."""
    assert command_problem(command, tree) == ""


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("python benhc.py", "names benhc.py, which does not exist: did you mean `bench.py`?"),
        ("python draft.py", "names draft.py, which is not tracked: `git add draft.py`"),
        ("./run.sh", "names run.sh, which does not exist"),
        ("npm run bench", "needs a package.json here"),
        ("no-such-program x", "starts 'no-such-program', which is not installed here"),
        ("python 'bench.py", "check its quotes"),
        ("  ", "is empty"),
        ("A=1", "is empty"),
    ],
)
def test_a_command_that_cannot_run_is_refused_with_the_fix(tree, command, problem):
    """Before program.md is written."""
    assert problem in command_problem(command, tree)


def test_a_program_that_a_build_makes_may_be_missing(tree):
    """Only where there is a build."""
    assert command_problem("./bench", tree, built=True) == ""
    assert "does not exist" in command_problem("./bench", tree)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/etc/passwd", "names /etc/passwd, which is outside the repository: copy it into"),
        ("../../x.py", "names ../../x.py, which is outside the repository"),
        ("{repo}/src/f.py", "names {repo}/src/f.py: write `src/f.py`, as from {repo}"),
        ("a/../src/f.py", ""),
        ("src", ""),
        ("./src/", ""),
        ("..x", "names ..x, which does not exist"),
    ],
)
def test_a_path_that_leads_out_is_said_to(tree, path, problem):
    """No `git add` could help there."""
    place = {"repo": tree.folder}
    said = file_problem(path.format(**place), tree)
    assert said.startswith(problem.format(**place)) and bool(said) == bool(problem)
    assert "git add" not in said


def test_a_path_above_a_program_of_a_folder_is_told_from_one_outside(tree):
    """It is in the repository, and no program.md of that folder can name it."""
    inner = replace(tree, folder=tree.folder / "src", files=frozenset({"f.py"}))
    assert "is above program.md: make program.md in a folder" in file_problem("../bench.py", inner)
    assert "outside the repository" in file_problem("../../bench.py", inner)


def test_a_script_elsewhere_is_outside_too(tree):
    """No trial would see it."""
    assert "outside the repository" in command_problem("python /etc/bench.py", tree)
