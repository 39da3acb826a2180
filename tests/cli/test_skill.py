"""The skill that ships with the package: installed where agents look, and true of the commands."""

import re
import shlex
from importlib import import_module

from ruamel.yaml import YAML

from swarm.cli.skill import SOURCE
from tests.support.target import swarm


def test_it_is_installed_where_each_agent_looks(tmp_path):
    """A newer version replaces an older one, and another skill of that name is left alone."""
    home = {"HOME": str(tmp_path), "CODEX_HOME": str(tmp_path / "codex")}
    assert "make this function faster with swarm" in swarm(
        tmp_path, "skill", "--install", "claude", **home
    )
    path = tmp_path / ".claude/skills/swarm/SKILL.md"
    assert path.read_text() == SOURCE.read_text() == swarm(tmp_path, "skill")
    swarm(tmp_path, "skill", "--install", "codex", **home)
    assert (tmp_path / "codex/skills/swarm/SKILL.md").exists()
    path.write_text(path.read_text() + "older\n")
    swarm(tmp_path, "skill", "--install", "claude", **home)
    assert "older" not in path.read_text()
    path.write_text("another skill\n")
    said = swarm(tmp_path, "skill", "--install", "claude", code=2, **home)
    assert f"{path} is another skill of that name" in said
    assert path.read_text() == "another skill\n"


def test_it_names_commands_and_options_that_exist():
    """Every command line of its code blocks is one that `swarm` takes."""
    blocks = re.findall(r"```bash\n(.*?)```", SOURCE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 6
    for line in lines:
        program, name, *words = shlex.split(line)
        assert program == "swarm"
        command = getattr(import_module(f"swarm.cli.{name}"), name)
        known = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_its_front_matter_is_what_agents_read():
    """A name and one line that says when to use it."""
    matter = YAML(typ="safe").load(SOURCE.read_text().split("---\n")[1])
    assert matter["name"] == "swarm"
    assert "\n" not in matter["description"]
    assert len(matter["description"]) < 1024
