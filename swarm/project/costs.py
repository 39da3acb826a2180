"""The harness's own measures are costs: what asks for more of one, or for nothing but less."""

from __future__ import annotations

from typing import Final

from harness.problem.measures import is_measured

FIX: Final = "write `direction: minimize`, unless more of it is what you want"

CHECKS_FIX: Final = (
    "add `checks:`, commands that fail where its work is not done, such as your tests"
)

REQUIRE_WORK: Final = ("checks", "guards", "score")
"""Keys of program.md that can turn away a candidate that does nothing."""


def raised_cost(task: str, metric: object, direction: object) -> str:
    """Return, in a line, which cost the task is to raise, "" for none.

    Only a command has measures of the harness's own: a function may return any number by that name.
    """
    if task != "command" or direction != "maximize" or not _is_cost(metric):
        return ""
    return f"maximize asks for more {metric}, which the harness measures and which is a cost"


def unchecked_cost(task: str, metric: object, direction: object, *, required: bool) -> str:
    """Return, in a line, what rewards a candidate that does nothing, "" where nothing does.

    required: whether program.md has one of `REQUIRE_WORK`
    """
    if task != "command" or direction != "minimize" or required or not _is_cost(metric):
        return ""
    return f"a candidate that does nothing has the least {metric}, and nothing checks it"


def _is_cost(metric: object) -> bool:
    return isinstance(metric, str) and is_measured(metric)
