"""The check of a repository's base, in full or in a few seconds before its first launch.

A program.md whose base has passed is remembered by the id of its content, so that a launch checks
again after an edit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from git import Git

from harness import tasks
from harness.contract import SandboxKind
from swarm.check.bench import QUICK, Base, BenchPlan, run_base
from swarm.check.findings import findings, worst
from swarm.check.records import Finding
from swarm.executors.require_sandbox import require_sandbox
from swarm.project.repository import (
    load_program,
    program_path,
    require_clean,
    require_frozen_harness,
    tip,
)
from swarm.project.runs import HOME, make_home
from swarm.project.schema.judging import guards_of

FOLDER = ".check"
"""Where it works, below .swarm."""

PASSED = "checked"
"""The file below .swarm with the id of the program.md that passed last."""


async def check_base(
    repo: Path, sandbox: SandboxKind, plan: BenchPlan, log: Callable[[str], None]
) -> list[Finding]:
    """Run the base of `repo` as a launch would find it, and return what that shows.

    Raises SetupError for what a launch would refuse.
    """
    base = _base(repo, sandbox)
    require_sandbox(sandbox, {"the repository": repo})
    found = await _found(base, plan, log)
    if worst(found) != "error":
        _remember(repo)
    return found


async def first_check(repo: Path, sandbox: SandboxKind) -> list[Finding]:
    """Run the quick part of the check where this program.md has not passed; return what it shows.

    Only a command or a function of the user's can be wrong: other tasks are tried out. Raises
    SetupError for what a launch would refuse.
    """
    base = _base(repo, sandbox)
    problem = "run" in (keys := tasks.kind(base.program.settings.task).keys) or "evaluate" in keys
    if not problem or _last_passed(repo) == _program_id(repo):
        return []
    found = await _found(base, QUICK, lambda _: None)
    if worst(found) != "error":
        _remember(repo)
    return found


def _base(repo: Path, sandbox: SandboxKind) -> Base:
    base = tip(repo)
    commit, program = base.commit, load_program(repo, base.commit, base.program)
    require_clean(repo, program)
    require_frozen_harness()
    return Base(repo, commit, program, repo / HOME / FOLDER, sandbox)


async def _found(base: Base, plan: BenchPlan, log: Callable[[str], None]) -> list[Finding]:
    make_home(base.repo)
    runs = await run_base(base, plan, log)
    settings = base.program.settings
    return findings(runs, settings.ratchet.policy(guards_of(settings.guards)))


def _last_passed(repo: Path) -> str:
    try:
        return (repo / HOME / PASSED).read_text()
    except FileNotFoundError:
        return ""


def _remember(repo: Path) -> None:
    (make_home(repo) / PASSED).write_text(_program_id(repo))


def _program_id(repo: Path) -> str:
    return str(Git(repo).rev_parse(f"HEAD:{program_path(repo)}"))
