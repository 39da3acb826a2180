"""`swarm skill`: teaches a coding agent of yours to use swarm, by a file that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import click

from harness.contract import SetupError
from islands.environment import secret

SOURCE: Final = Path(__file__).with_name("SKILL.md")

MARK: Final = "# Improving code with swarm\n"
"""A line that every version of the skill has."""


def _home(variable: str, folder: str) -> Path:
    return Path(secret(variable) or Path.home() / folder)


PLACES: Final[Mapping[str, Callable[[], Path]]] = {
    "claude": lambda: _home("CLAUDE_CONFIG_DIR", ".claude"),
    "codex": lambda: _home("CODEX_HOME", ".codex"),
}
"""The folder that each agent keeps its settings in."""


@click.command()
@click.option(
    "--install",
    "agent",
    type=click.Choice(list(PLACES)),
    help="Put the skill where this coding agent finds it.",
)
def skill(agent: str | None) -> None:
    """Print the skill by which a coding agent can use swarm for you, or install it.

    Then say to it, for example: "make this function faster with swarm".
    """
    text = SOURCE.read_text()
    if agent is None:
        click.echo(text, nl=False)
        return
    path = PLACES[agent]() / "skills" / "swarm" / "SKILL.md"
    if path.exists() and MARK not in path.read_text():
        raise SetupError(f"{path} is another skill of that name: move it away first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f'wrote {path}; say to {agent}: "make this function faster with swarm"')
