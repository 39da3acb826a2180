"""Tasks by name: what genomes are run on and scored by. Imported by trial, preflight, worker.

To add a task NAME:

- a module here with a `TASK` (see `base.Task`), and its line in `DEFAULT_DATA`;
- its runner and preflight, which run inside the sandbox, in harness/runners/;
- for `swarm init`, the seed genome in islands/seeds/NAME/ and program.md in
  swarm/templates/NAME.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from harness.contract import SetupError

if TYPE_CHECKING:
    from harness.tasks.base import Task

DEFAULT_DATA = {"gpt": "kjv", "packing": "none"}
"""Each task's name with the data that it uses if program.md names none."""

NAMES = tuple(DEFAULT_DATA)


def load(name: str) -> Task:
    """Return the task called `name`. Raises SetupError, listing the tasks, if there is none."""
    if name not in NAMES:
        raise SetupError(f"no task {name!r}: choose one of {', '.join(NAMES)}")
    return cast("Task", import_module(f"harness.tasks.{name}").TASK)
