"""A program that program.md names by a path is there and can start, before a run exists."""

import pytest

from harness.contract import SetupError
from swarm.project.named_programs import require_named_programs
from swarm.project.repository import load_program
from tests.support.repository import git, make
from tests.support.target import swarm

PROGRAM = """\
---
task: command
genome: [solve.py]
run: python bench.py
metric: score
direction: maximize
{extra}
---
Raise the score.
"""


def refusal(folder, extra, path="program.md"):
    """Return why a repository with these lines is refused, "" where it is not."""
    place = path.removesuffix("program.md")
    scripts = {"tell.sh": "#!/bin/sh\n", f"{place}my test.sh": "#!/bin/sh\n"}
    files = {path: PROGRAM.format(extra=extra), f"{place}solve.py": "", f"{place}bench.py": ""}
    repo = make(folder / "repo", files | scripts)
    (repo / "tell.sh").chmod(0o755)
    (repo / "plain.sh").touch()
    git(repo, "update-index", "--chmod=+x", "tell.sh")
    git(repo, "commit", "-qm", "modes")
    try:
        require_named_programs(repo, "HEAD", load_program(repo, "HEAD", path))
    except SetupError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "extra",
    [
        "notify: ./tell.sh now",
        "notify: A=1 ./tell.sh",
        "notify: /bin/sh tell.sh",
        "notify: jq -r .text | ./nope.sh",
        "notify: $HOME/nope.sh",
        "notify: cat >> ../news",
        "checks: [./tell.sh, python nope.py, /opt/nope]",
        "checks: [./nope.sh]\nbuild: make",
        "checks: [node_modules/.bin/jest]\nmount: [node_modules]",
    ],
)
def test_what_can_start_and_what_only_a_shell_knows_is_let_in(tmp_path, extra):
    """So is what a build or a mounted folder may bring."""
    assert refusal(tmp_path, extra) == ""


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("notify: ./nope.sh", "program.md: notify: ./nope.sh does not exist in "),
        ("notify: ~/no/such/tell --now", "program.md: notify: ~/no/such/tell does not exist"),
        ("notify: ./plain.sh", "notify: ./plain.sh is not executable: `chmod +x ./plain.sh`"),
        ("notify: tests/", "notify: tests/ does not exist"),
        ("checks: [./tel.sh]", "program.md: checks: ./tel.sh is not in the commit"),
        ("checks: [./plain.sh]", "checks: ./plain.sh is not in the commit"),
        (
            "checks: [\"'./my test.sh' -v\"]",
            "checks: ./my test.sh is not executable: `git update-index --chmod=+x './my test.sh'`",
        ),
    ],
)
def test_what_cannot_start_is_refused_with_the_fix(tmp_path, extra, said):
    """Notify by the working tree, where it runs, and checks by the commit."""
    assert said in refusal(tmp_path, extra)


def test_checks_run_in_the_folder_of_their_program(tmp_path):
    """And notify in the repository's."""
    extra = "notify: ./tell.sh\nchecks: [\"'./my test.sh'\"]"
    said = refusal(tmp_path, extra, "a/program.md")
    assert said.startswith("a/program.md: checks: ./my test.sh is not executable")


def test_launch_and_check_refuse_it_alike(tmp_path):
    """In one line, before anything is made."""
    refusal(tmp_path, "notify: ./nope.sh")
    for command in ("launch", "check"):
        said = swarm(tmp_path / "repo", command, code=2)
        assert "notify: ./nope.sh does not exist" in said and said.count("\n") == 1
    assert not (tmp_path / "repo/.swarm").exists()
