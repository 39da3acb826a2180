"""The harness's own measures are costs: a program.md that asks for more of one is likely a slip."""

from __future__ import annotations

from harness.problem.measures import is_measured

FIX = "write `direction: minimize`, unless more of it is what you want"


def raised_cost(task: str, metric: object, direction: object) -> str:
    """Return, in a line, which cost the task is to raise, "" for none.

    Only a command has measures of the harness's own: a function may return any number by that name.
    """
    if task != "command" or direction != "maximize":
        return ""
    if not isinstance(metric, str) or not is_measured(metric):
        return ""
    return f"maximize asks for more {metric}, which the harness measures and which is a cost"
