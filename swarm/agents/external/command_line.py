"""The protocol that each coding agent's command line implements, and what passes through it.

To add an agent: a module here with a class that implements `CommandLine`, and a line in
`swarm.agents.external.kinds`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from swarm.agents.agent_json import read_json
from swarm.agents.external.sandbox import SCRATCH
from swarm.agents.llm.settings import Price, ProviderKind

MAX_HYPOTHESIS_CHARS: Final = 2_000

_HYPOTHESIS = re.compile(r"^(?:[^\S\n]|[>*_#`-])*+HYPOTHESIS[*_`]*+:[*_`]*\s*(\S.*)$", re.MULTILINE)
_END = string.whitespace + "*_`"


AsksBy = Literal["shell", "mcp", ""]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One proposal to ask for.

    - `prompt`: what the agent is told
    - `paths`: the files in its scratch copy
    - `url`, `token`: where it finds the model, and its key there; "" where it has none
    - `model`: the model's name
    - `max_turns`: calls to the model
    - `max_output_tokens`: tokens of one reply
    - `seconds`: the time limit
    - `provider`: the wire format of the model's provider
    - `price`: the model's price, None where it is not known
    - `asks`: whether the run answers `tried` and `preflight` (`desk.py`)
    """

    prompt: str
    paths: tuple[str, ...]
    url: str
    token: str
    model: str
    max_turns: int
    max_output_tokens: int
    seconds: float
    provider: ProviderKind = "anthropic"
    price: Price | None = None
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command to run: words after the program, environment, input, and files by path inside."""

    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    cwd: str = SCRATCH
    report: tuple[str, str] | None = None
    program: tuple[str, ...] = ()
    """The words that start it, () for those of its installation."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What an agent's output says about its end.

    - `ended`: whether it says that it is done; a run without that line is no proposal
    - `text`: its last words, which hold the hypothesis
    - `error`: what went wrong, in its words, where it has not ended well
    - `session`: its own name for the run
    """

    ended: bool
    text: str = ""
    error: str = ""
    session: str = ""


class CommandLine(Protocol):
    """One coding agent's command line: how it is installed, started and understood."""

    @property
    def title(self) -> str:
        """Its name for people."""

    @property
    def program(self) -> str:
        """The name of its executable."""

    @property
    def version_words(self) -> tuple[str, ...]:
        """The words by which it prints its version."""

    @property
    def native(self) -> str:
        """A pattern of the binary that its launcher starts, below its folder of npm packages."""

    @property
    def install(self) -> str:
        """The command that installs it."""

    @property
    def asks_by(self) -> AsksBy:
        """How it asks the run: by commands of its shell, by MCP, or not at all."""

    def invocation(self, task: Assignment) -> Invocation:
        """Return the command that makes one proposal without a terminal."""

    def ending(self, output: str, code: int) -> RunEnd:
        """Return what it printed about its end; `code` is its exit status."""


def json_lines(output: str) -> Iterator[dict[str, Any]]:
    """Yield each line of `output` that is a JSON object."""
    for line in output.splitlines():
        if line.startswith("{"):
            try:
                value = read_json(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def hypothesis(text: str) -> str:
    """Return the last HYPOTHESIS line of `text`, "" where there is none."""
    found = _HYPOTHESIS.findall(text)
    return str(found[-1]).rstrip(_END)[:MAX_HYPOTHESIS_CHARS] if found else ""


def last_line(output: str) -> str:
    """Return the last line of `output` that says something, "" where there is none."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
