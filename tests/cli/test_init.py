"""`swarm init` creates a repository that can be launched, and changes nothing that exists."""

from pathlib import Path

import pytest

from harness import tasks
from swarm.project.repository import load_program
from tests.support.target import git, swarm

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("task", ["gpt", "packing"])
def test_a_new_repository_is_committed_and_can_be_launched(tmp_path, task):
    """The tree is clean, the branch is main, the genome is the seed's bytes, program.md loads."""
    repo = tmp_path / "target"
    swarm(tmp_path, "init", repo, "--task", task)
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "branch", "--show-current") == "main"
    program = load_program(repo, "HEAD")
    entry = tasks.load(task).entry
    assert (program.settings.task, program.entry) == (task, f"genome/{entry}")
    seed = ROOT / "islands/seeds" / task / entry
    assert (repo / "genome" / entry).read_bytes() == seed.read_bytes()


def test_this_repositorys_program_is_the_gpt_template():
    """The two differ in the genome's path and in nothing else."""
    template = (ROOT / "swarm/templates/gpt.md").read_text()
    ours = template.replace("genome/train.py", "islands/seeds/gpt/train.py")
    assert (ROOT / "program.md").read_text() == ours


def test_a_folder_in_use_or_inside_a_repository_is_refused(tmp_path):
    """Nothing is written there."""
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine").write_text("x")
    assert "is not empty" in swarm(tmp_path, "init", used, "--task", "gpt", code=2)
    assert [path.name for path in used.iterdir()] == ["mine"]
    repo = tmp_path / "repo"
    swarm(tmp_path, "init", repo, "--task", "packing")
    assert "is inside the repository" in swarm(repo, "init", "inner", "--task", "gpt", code=2)
    assert not (repo / "inner").exists()


def test_an_unknown_task_is_a_usage_error(tmp_path):
    """The message lists the tasks."""
    assert "'gpt', 'packing'" in swarm(tmp_path, "init", "x", "--task", "chess", code=2)


def test_a_refused_commit_is_reported_in_gits_words(tmp_path):
    """The message of the user's own hook is shown, and no traceback."""
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\necho sign the book first >&2\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    template = {"GIT_TEMPLATE_DIR": str(hooks.parent)}
    said = swarm(tmp_path, "init", "x", "--task", "packing", code=2, **template)
    assert "git refused the commit" in said
    assert "sign the book first" in said
