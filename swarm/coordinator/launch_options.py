"""Options of a launch, and the run that it opens or resumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.contract import SandboxKind, SetupError
from swarm.agents.plain_sampling import IID
from swarm.coordinator.teams import agents_of
from swarm.executors.backends import BackendKind
from swarm.executors.machine_limits import MachineLimits
from swarm.project.genome_files import require_text
from swarm.project.named_programs import require_named_programs
from swarm.project.program import Program
from swarm.project.repository import (
    PROGRAM,
    load_program,
    require_clean,
    require_frozen_harness,
    tip,
)
from swarm.project.runs import (
    RunFolder,
    create,
    create_next,
    latest,
    locate,
    run_folder,
    runs,
)
from swarm.project.schema.agents import MutatorSection


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What the command line says; None and "" leave a setting to program.md."""

    run: str = ""
    new: bool = False
    minutes: float | None = None
    trials: int | None = None
    usd: float | None = None
    tokens: int | None = None
    islands: int | None = None
    agent: str = ""
    sandbox: SandboxKind = "namespaces"
    executor: BackendKind = "local"
    address: str = "auto"
    stop_at: float | None = None
    stall: int | None = None
    unlimited: bool = False
    """Ignore the limits of program.md: for steps that a person asks for by hand."""


def resumes(repo: Path, options: LaunchOptions) -> bool:
    """Return whether these options resume a run. Raises SetupError for a name that cannot be."""
    if not options.run:
        return not options.new and latest(repo) is not None
    exists = run_folder(repo, options.run).name in [run.name for run in runs(repo)]
    if exists and options.new:
        raise SetupError(
            f"--new --run {options.run}: this run exists: give a new one another name, or resume it"
            " without --new"
        )
    return exists


def select_run(repo: Path, options: LaunchOptions) -> RunFolder:
    """Return the run to open or resume: the named one, else the latest, else a new one."""
    if not resumes(repo, options):
        require_launchable(repo, options)
        return create(repo, options.run) if options.run else create_next(repo)
    return run_folder(repo, options.run) if options.run else locate(None, repo)


def require_launchable(repo: Path, options: LaunchOptions) -> None:
    """Raise SetupError for what is wrong with program.md and the genome, before a run is made."""
    base = tip(repo)
    program = load_program(repo, base.commit, base.program)
    require_agent(program, options)
    require_clean(repo, program)
    require_text(repo, base.commit, program)
    require_named_programs(repo, base.commit, program)
    require_frozen_harness()
    memory, wanted = MachineLimits().memory_mib(), program.settings.rungs[0].memory_mib
    if options.executor == "local" and memory is not None and wanted > memory:
        raise SetupError(
            f"{program.path}: rungs[0].memory_mib is {wanted}, and this machine has {memory} MiB:"
            " lower it"
        )


def require_agent(program: Program, options: LaunchOptions) -> None:
    """Raise SetupError if an agent is asked for that program.md lacks, or that has no goal."""
    if options.agent and options.agent not in program.agents:
        names = ", ".join(program.agents)
        raise SetupError(f"--agent {options.agent}: {PROGRAM} has {names}; add it to `agents`")
    islands, agent = program.settings.islands, options.agent or program.settings.agent
    used = [agent]
    if isinstance(islands, tuple) and not options.agent:
        used = [name for island in islands for name in agents_of(program, island)]
    elif not options.agent:
        used = [*(program.settings.team or (agent,))]
    real = [name for name in used if name != IID]
    asked = [name for name in real if not isinstance(program.agents[name], MutatorSection)]
    if asked and not program.prose.strip():
        raise SetupError(
            f"{program.path} has no prose, so agent {asked[0]} would not know what to do: write the"
            " goal below the front matter and commit it"
        )
