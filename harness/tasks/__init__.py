"""The tasks by name. A task is data plus three answers; the coordinator knows none by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from harness.contract import SetupError

if TYPE_CHECKING:
    from harness.tasks.base import Task

DATA = {"gpt": "kjv", "packing": "none"}
"""Each task, and the data it takes where nothing else is asked for."""

NAMES = tuple(DATA)


def load(name: str) -> Task:
    """Return the task called `name`. Raises SetupError, naming the tasks there are."""
    if name not in NAMES:
        raise SetupError(f"no task {name!r}: choose one of {', '.join(NAMES)}")
    return cast("Task", import_module(f"harness.tasks.{name}").TASK)
