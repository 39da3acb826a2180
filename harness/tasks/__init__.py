"""Kinds of task by name: what genomes are run on and scored by.

Imported by trial, preflight and worker, and by swarm to read program.md.

Each module here but `base` is a kind of task, with a `KIND` (see `base.TaskKind`). To add one:

- its module, or its package, here;
- its runner and preflight, which run inside the sandbox, in harness/runners/;
- for `swarm init`, its template in swarm/templates/NAME/.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from harness.contract import SetupError

if TYPE_CHECKING:
    from harness.tasks.base import Task, TaskKind

NAMES = tuple(sorted(module.name for module in iter_modules(__path__) if module.name != "base"))


def kind(name: str) -> TaskKind:
    """Return the kind of task called `name`. Raises SetupError, listing all, if there is none."""
    if name not in NAMES:
        raise SetupError(f"no task {name!r}: choose one of {', '.join(NAMES)}")
    return cast("TaskKind", import_module(f"harness.tasks.{name}").KIND)


def load(name: str, problem: str = "") -> Task:
    """Return the task `name` of the problem that is frozen in the folder `problem`.

    Raises SetupError if there is no such task, or no problem where it needs one.
    """
    return kind(name).task_of(problem)
