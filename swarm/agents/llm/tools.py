"""The tools of a language model: read a file of the genome, ask what was tried. No I/O of its own.

Each provider writes the calls and results in its wire format. A model that refuses tools is asked
without (`capabilities.py`); one that ignores them answers as before. Results are bounded in number
and in length, and quoted as data: files and hypotheses were written by programs and other agents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from swarm.agents.agent_json import read_json
from swarm.agents.questions import TRIED, Asked

MAX_RESULT_CHARS: Final = 8_000

MAX_READ_LINES: Final = 400
"""Lines of a file in one result."""

ENOUGH: Final = "That was the last question: send your answer now, in the form asked for."


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as every wire format describes one; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    @property
    def function(self) -> dict[str, Any]:
        """The function that chat completions, Responses and Ollama are told of."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model makes: the provider's `id` of it, and its arguments as they came."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The answer to a call."""

    call: ToolCall
    text: str


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


TOOLS: Final = (
    Tool(
        "read_file",
        "Read lines of a file that may change, numbered from 1. Ask only for what you were not"
        f" shown; at most {MAX_READ_LINES} lines each time.",
        _object(
            {
                "path": {"type": "string"},
                "first": {"type": "integer", "description": "the first line, from 1"},
                "last": {"type": "integer", "description": "the last line"},
            },
            ["path"],
        ),
    ),
    Tool("tried", TRIED, _object({"words": {"type": "string"}}, ["words"])),
)


def arguments_of(text: str) -> Mapping[str, Any]:
    """Return the arguments of a call, which a model may write badly; {} for what does not read."""
    try:
        value = read_json(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


async def result_of(call: ToolCall, asked: Asked) -> ToolResult:
    """Return the answer to a call; a wrong one is told what is wrong with it."""
    match call.name:
        case "read_file":
            text = _lines(asked.brief.genome, call.arguments)
        case "tried":
            text = await asked.tried(str(call.arguments.get("words", "")))
        case _:
            text = f"there is no tool {call.name[:40]!r}: read_file and tried are all"
    return ToolResult(call, text[:MAX_RESULT_CHARS])


def _lines(genome: Mapping[str, str], given: Mapping[str, Any]) -> str:
    """Return lines of a file of the genome, each with its number."""
    path = given.get("path")
    if not isinstance(path, str) or path not in genome:
        known = ", ".join([*genome][:50])
        return f"there is no such file among those that may change: {known}"
    lines = genome[path].split("\n")
    first = _number(given.get("first"), 1)
    last = min(_number(given.get("last"), len(lines)), first + MAX_READ_LINES - 1, len(lines))
    if first > last:
        return f"{path} has {len(lines)} lines"
    shown = [f"{number} | {lines[number - 1]}" for number in range(first, last + 1)]
    return "\n".join([f"{path}, lines {first} to {last} of {len(lines)}", *shown])


def _number(value: object, otherwise: int) -> int:
    """Return a line number as a model may write one."""
    try:
        return max(1, int(str(value)))
    except ValueError:
        return otherwise
