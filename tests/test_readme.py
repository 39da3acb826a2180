"""The README says what the code says."""

import re
from pathlib import Path

from islands.state.lifecycle import diagram
from swarm.cli.main import COMMANDS
from swarm.project.program import read_program

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_diagram_is_the_table():
    """The life of an experiment is drawn from the table that the code obeys."""
    assert diagram() in (ROOT / "islands/state/README.md").read_text()


def test_its_test_command_is_what_ci_runs():
    """The README's test command is the one that CI runs."""
    command = "pip install -e '.[dev]' && pytest"
    assert command in README
    install, run = command.replace("install", "install -q").split(" && ")
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines.index(install) < lines.index(run)


def test_every_command_that_it_names_exists():
    """No command of a plan."""
    for name in re.findall(r"swarm ([a-z]+)\b", "\n".join(re.findall(r"`(swarm [^`]*)`", README))):
        assert name in COMMANDS


def test_its_program_is_read():
    """The example can be copied."""
    example = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    program = read_program(example, "program.md", ["src/f.py"])
    assert program.settings.run == "python bench.py"
    assert "p95_ms" in program.settings.guards


def test_every_file_that_it_names_is_there():
    """Paths in commands and prose can be opened."""
    for path in re.findall(r"\b(?:tests|islands|harness|swarm|analysis)/[\w/]+\.py", README):
        assert (ROOT / path).exists(), path
