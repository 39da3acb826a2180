"""The check of a repository's base, in full or in a few seconds before its first launch.

A base that has passed is remembered by the id of all its committed files and the sandbox it ran in,
so that a launch checks again after an edit of any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from git import Git

from harness import tasks
from harness.contract import SandboxKind
from islands.ratchet.guards import HARNESS_OWN
from swarm.check.bench import QUICK, Base, BenchPlan, run_base
from swarm.check.findings import evidence_finding, findings, worst
from swarm.check.records import Finding
from swarm.executors.require_sandbox import require_sandbox
from swarm.project.named_programs import require_named_programs
from swarm.project.printing_scripts import printing_script
from swarm.project.program import Program
from swarm.project.repository import (
    load_program,
    require_clean,
    require_frozen_harness,
    tip,
)
from swarm.project.runs import HOME, make_home
from swarm.project.schema.judging import guards_of

FOLDER = ".check"
"""Where it works, below .swarm."""

PASSED = "checked"
"""The file below .swarm that says which base passed last, and in which sandbox."""


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
        _remember(base)
    return found


async def first_check(repo: Path, sandbox: SandboxKind) -> list[Finding]:
    """Run the quick part of the check where this base has not passed; return what it shows.

    Of one that has, only that a candidate may print its own score: that is said at each new run.
    Only what is the user's own can be wrong: other tasks are tried out. Raises SetupError for what
    a launch would refuse.
    """
    base = _base(repo, sandbox)
    if not _of_the_user(base.program):
        return []
    if _last_passed(repo) == _base_id(base):
        script = printing_script(base.program)
        return [evidence_finding("reported", script)] if script else []
    found = await _found(base, QUICK, lambda _: None)
    if worst(found) != "error":
        _remember(base)
    return found


def _of_the_user(program: Program) -> bool:
    """Return whether a command, a function or guards of the user's could be wrong."""
    keys = tasks.kind(program.settings.task).keys
    return "run" in keys or "evaluate" in keys or bool(set(program.settings.guards) - HARNESS_OWN)


def _base(repo: Path, sandbox: SandboxKind) -> Base:
    base = tip(repo)
    commit, program = base.commit, load_program(repo, base.commit, base.program)
    require_clean(repo, program)
    require_named_programs(repo, commit, program)
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


def _remember(base: Base) -> None:
    (make_home(base.repo) / PASSED).write_text(_base_id(base))


def _base_id(base: Base) -> str:
    tree = Git(base.repo).rev_parse(f"{base.commit}^{{tree}}")
    return f"{tree} {base.sandbox}"
