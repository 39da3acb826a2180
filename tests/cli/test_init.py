"""`swarm init` makes a repository that can be launched, or makes yours one; nothing is lost."""

import os
import pty
import re
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from harness import tasks
from swarm.init.template import TEMPLATES
from swarm.project.frontmatter import read_front_matter
from swarm.project.repository import load_program
from swarm.project.schema.settings import DEFAULT_RUNG
from tests.support.repository import make, write
from tests.support.target import command, environment, git, swarm

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("task", ["gpt", "packing"])
def test_a_new_repository_is_committed_and_can_be_launched(tmp_path, task):
    """The tree is clean, the branch is main, the genome is the seed's bytes, program.md loads."""
    repo = tmp_path / "target"
    swarm(tmp_path, "init", repo, "--task", task)
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "branch", "--show-current") == "main"
    program = load_program(repo, "HEAD")
    entry = tasks.kind(task).entry
    assert (program.settings.task, program.entry) == (task, f"genome/{entry}")
    seed = ROOT / "islands/seeds" / task / entry
    assert (repo / "genome" / entry).read_bytes() == seed.read_bytes()


def test_this_repositorys_program_is_the_gpt_template():
    """The two differ in the genome's path and in nothing else."""
    template = (ROOT / "swarm/templates/gpt/program.md").read_text()
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
    """The message lists the templates."""
    said = swarm(tmp_path, "init", "x", "--task", "chess", code=2)
    assert all(f"'{name}'" in said for name in TEMPLATES)


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


BENCH = 'from words import split\nprint(f"ops/s: {1.5:.1f}")\n'

OPTIONS = (
    "--run",
    "python bench.py",
    "--metric",
    "ops/s",
    "--maximize",
    "--genome",
    "src/words.py",
)


AUTHOR = {f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def yours(tmp_path):
    """A repository that knows nothing of swarm: a module, its benchmark and its tests."""
    files = {"src/words.py": "", "bench.py": BENCH, "tests/test_words.py": "", "README.md": "# x\n"}
    return make(tmp_path / "yours", files)


def files_of(repo):
    """Return the bytes of every file in a repository's working tree, by path."""
    paths = [path for path in repo.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path.relative_to(repo)): path.read_bytes() for path in paths}


def test_a_repository_that_exists_gets_a_program_and_no_commit(yours):
    """Two new files, and the next step to copy; after it the program loads."""
    before, head = files_of(yours), git(yours, "rev-parse", "HEAD")
    said = swarm(yours, "init", *OPTIONS, "--check", "python -m pytest -q tests", "--seconds", "9")
    assert git(yours, "rev-parse", "HEAD") == head
    after = files_of(yours)
    assert set(after) - set(before) == {"program.md", ".gitignore"}
    assert before.items() <= after.items()
    assert after[".gitignore"] == b".swarm/\n"
    step = said.splitlines()[-1].removeprefix("next: ").partition(" && swarm check")[0]
    subprocess.run(step, shell=True, cwd=yours, env=environment(**AUTHOR), check=True)
    settings = load_program(yours, "HEAD").settings
    assert (settings.task, settings.run, settings.genome) == (
        "command",
        "python bench.py",
        ("src/words.py",),
    )
    assert (settings.rungs[0].seconds, settings.checks) == (9, ("python -m pytest -q tests",))


def test_prose_stays_and_front_matter_is_changed_on_demand_alone(yours):
    """An autoresearch program.md; then a second init, which needs --force."""
    prose = "# autoresearch\r\n\r\nLOOP FOREVER\r\n"
    (yours / "program.md").write_bytes(prose.encode())
    git(yours, "add", "-A")
    git(yours, "commit", "-qm", "prose")
    swarm(yours, "init", *OPTIONS)
    first = (yours / "program.md").read_bytes().decode()
    assert first.endswith(prose)
    assert "--force" in swarm(yours, "init", "--metric", "ms", "--minimize", code=2)
    assert (yours / "program.md").read_bytes().decode() == first
    said = swarm(yours, "init", "--metric", "ms", "--minimize", "--force")
    assert 'yours and stays: see that it agrees with metric "ms", direction "minimize"\n' in said
    second = (yours / "program.md").read_bytes().decode()
    assert second == first.replace("ops/s", "ms").replace("maximize", "minimize")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--run", "python bench.py"),
            "missing: --metric NAME, --maximize or --minimize",
        ),
        ((), "for example: swarm init --run 'python bench.py' --metric ops/s --maximize"),
        ((*OPTIONS[:-1], "src/word.py"), "did you mean `src/words.py`"),
        ((*OPTIONS, "--genome", "draft.py"), "draft.py, which is not tracked: `git add draft.py`"),
        (("--run", "python benhc.py", *OPTIONS[2:]), "did you mean `bench.py`"),
        ((*OPTIONS, "--held", "hidden"), "SPLIT=FILE"),
        ((*OPTIONS, "--minimize"), "--maximize and --minimize: choose one"),
        ((*OPTIONS, "--evaluate", "bench.py"), "--run and --evaluate: choose one"),
        (("--task", "packing"), "swarm init DIR --task packing"),
        (("nowhere", *OPTIONS), "nowhere does not exist; a new repository needs --task"),
        (
            ("nowhere", "--task", "command", *OPTIONS, "--memory-mib", "64", "--check", "true"),
            "from a template, which takes no --run, --metric, --maximize, --genome, --check, --mem",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(yours, options, said):
    """With exit code 2, and nothing is written."""
    write(yours, {"draft.py": ""})
    before = files_of(yours)
    told = swarm(yours, "init", *options, code=2)
    assert said in told
    assert "Traceback" not in told
    assert files_of(yours) == before


def test_a_cost_that_is_raised_or_that_nothing_checks_is_remarked_on(yours):
    """It may be meant, so program.md is written; a number that is printed may be anything."""
    assert "warning" not in swarm(yours, "init", *OPTIONS)
    said = swarm(yours, "init", "--metric", "wall_seconds", "--force")
    assert said.startswith("warning: maximize asks for more wall_seconds, which the harness meas")
    said = swarm(yours, "init", "--minimize", "--force")
    assert said.startswith("warning: a candidate that does nothing has the least wall_seconds")
    checked = swarm(yours, "init", "--check", "python -m pytest -q tests", "--force")
    assert "warning" not in checked


def test_a_limit_of_one_kind_leaves_the_others_as_they_were(yours):
    """They are the defaults of a program.md without rungs, or what it has; more rungs stay."""

    def rungs():
        return read_front_matter((yours / "program.md").read_text(), "program.md").values["rungs"]

    swarm(yours, "init", *OPTIONS, "--memory-mib", "512")
    assert rungs() == [{**asdict(DEFAULT_RUNG), "memory_mib": 512}]
    swarm(yours, "init", "--seconds", "7.5", "--force")
    assert rungs() == [{**asdict(DEFAULT_RUNG), "seconds": 7.5, "memory_mib": 512}]
    text = (yours / "program.md").read_text()
    more = "rungs: [{depth: 1, seconds: 9}, {depth: 2, seconds: 60}]"
    (yours / "program.md").write_text(re.sub("(?m)^rungs:.*$", more, text))
    swarm(yours, "init", "--memory-mib", "256", "--force")
    assert rungs()[0] == {"depth": 1, "seconds": 9, "memory_mib": 256}
    assert rungs()[1:] == [{"depth": 2, "seconds": 60}]


@pytest.mark.parametrize("seconds", ["1e308", "1e-9"])
def test_a_limit_that_no_trial_can_have_is_not_written(yours, seconds):
    """One line says what a rung may be, and the repository is as it was."""
    before = files_of(yours)
    told = swarm(yours, "init", *OPTIONS, "--seconds", seconds, code=2)
    assert "seconds from 0.1 to 604800" in told
    assert len(told.splitlines()) == 1
    assert files_of(yours) == before


def test_a_commit_holds_the_two_files_and_nothing_of_the_users(yours):
    """What is staged stays staged, what is changed stays changed."""
    (yours / ".gitignore").write_text("*.o")
    git(yours, "add", "-A")
    git(yours, "commit", "-qm", "ignore")
    write(yours, {"staged.py": "1", "README.md": "changed"})
    git(yours, "add", "staged.py")
    said = swarm(yours, "init", *OPTIONS, "--commit", **AUTHOR)
    assert "next: swarm check" in said
    changed = git(yours, "show", "--name-only", "--format=", "HEAD").split()
    assert changed == [".gitignore", "program.md"]
    assert (yours / ".gitignore").read_text() == "*.o\n.swarm/\n"
    assert git(yours, "status", "--porcelain").split("\n") == ["M README.md", "A  staged.py"]


def test_a_folder_of_a_monorepo_gets_a_program_of_its_own(yours):
    """Paths are relative to it; .gitignore stands at the root, as .swarm does."""
    write(yours, {"services/a/f.py": "", "services/a/bench.py": BENCH})
    git(yours, "add", "-A")
    git(yours, "commit", "-qm", "service")
    said = swarm(yours, "init", "services/a", *OPTIONS[:-1], "f.py", "--commit", **AUTHOR)
    assert "next: cd services/a && swarm check" in said
    assert (yours / ".gitignore").read_text() == ".swarm/\n"
    program = load_program(yours, "HEAD", "services/a/program.md")
    assert program.settings.run == "python bench.py"
    assert git(yours, "status", "--porcelain") == ""


def test_a_commit_that_would_hold_changes_of_the_users_is_refused(yours):
    """And so is one that no branch would hold."""
    (yours / ".gitignore").write_text("mine\n")
    assert ".gitignore has changes of yours" in swarm(yours, "init", *OPTIONS, "--commit", code=2)
    (yours / ".gitignore").unlink()
    git(yours, "checkout", "-q", "--detach")
    assert "HEAD is detached" in swarm(yours, "init", *OPTIONS, "--commit", code=2)
    assert not (yours / "program.md").exists()
    assert "git switch" in swarm(yours, "init", *OPTIONS)


def test_an_empty_repository_and_a_folder_without_one_are_told_apart(tmp_path):
    """Files that are staged are enough; git's own reason is told where there is no repository."""
    repo = tmp_path / "empty"
    repo.mkdir()
    assert "is not in a git repository" in swarm(repo, "init", *OPTIONS, code=2)
    git(repo, "init", "-q", "-b", "main")
    write(repo, {"src/words.py": "", "bench.py": BENCH})
    assert "which is not tracked" in swarm(repo, "init", *OPTIONS, code=2)
    git(repo, "add", "-A")
    swarm(repo, "init", *OPTIONS)
    assert (repo / "program.md").exists()


def test_a_terminal_is_asked_for_what_is_missing_and_offered_what_is_found(yours):
    """Enter takes the offer; a wrong answer is told and asked again."""
    answers = ["python benhc.py", "1", "src/nothing.py", "src/words.py", "", "", "n"]
    master, slave = pty.openpty()
    asked = subprocess.Popen(
        command("init"), cwd=yours, env=environment(), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    os.write(master, "".join(f"{answer}\n" for answer in answers).encode())
    said = b""
    while True:
        try:
            said += os.read(master, 65536)
        except OSError:  # Linux says so where the other end is closed
            break
    os.close(master)
    assert asked.wait() == 0, said.decode()
    assert "names benhc.py, which does not exist" in said.decode()
    git(yours, "add", "-A")
    git(yours, "commit", "-qm", "program")
    settings = load_program(yours, "HEAD").settings
    assert (settings.run, settings.metric, settings.direction, settings.genome) == (
        "python bench.py",
        "ops/s",
        "maximize",
        ("src/words.py",),
    )
