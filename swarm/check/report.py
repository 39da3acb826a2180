"""The check of a repository's base: runs it as program.md says, and returns the findings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.contract import SandboxKind
from swarm.check.bench import Base, BenchPlan, run_base
from swarm.check.findings import Finding, findings
from swarm.executors.require_sandbox import require_sandbox
from swarm.project.repository import load_program, require_clean, require_frozen_harness, tip
from swarm.project.runs import HOME

FOLDER = ".check"
"""Where it works, below .swarm."""


async def check_base(
    repo: Path, sandbox: SandboxKind, plan: BenchPlan, log: Callable[[str], None]
) -> list[Finding]:
    """Run the base of `repo` as a launch would find it, and return what that shows.

    Raises SetupError for what a launch would refuse.
    """
    commit = tip(repo).commit
    program = load_program(repo, commit)
    require_clean(repo, program)
    require_frozen_harness()
    require_sandbox(sandbox)
    base = Base(repo, commit, program, repo / HOME / FOLDER, sandbox)
    runs = await run_base(base, plan, log)
    settings = program.settings
    return findings(runs, settings.ratchet.policy(settings.guards.guards()))
