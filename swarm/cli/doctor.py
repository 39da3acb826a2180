"""`swarm doctor`: attacks the sandbox, tells what held, what to fix and which agents start."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import click
from rich.console import Console
from rich.text import Text

from analysis.grid import Grid
from harness import tasks
from harness.contract import SandboxKind, SetupError, Slice
from harness.installation import install_line, missing, require_cuda_build
from harness.sandbox import tiers
from harness.sandbox.backends.devices import check_device
from harness.sandbox.backends.environment import PROGRAMS
from harness.sandbox.guest.toolchain import missing_toolchain
from harness.sandbox.self_check import SelfCheckAttack, run_self_check
from islands.git.plumbing import require_git
from swarm.cli.agent_report import AgentDiagnosis, agent_lines, diagnose_agents
from swarm.cli.console import json_option, to_json, wide_console
from swarm.executors.slices import discover
from swarm.project.schema.settings import SlicesSection

WEAKER = {
    tiers.LANDLOCK: "to launch here, pass --sandbox landlock; namespaces confine more",
    tiers.NONE: "to launch here, pass --sandbox none; no score can be trusted then",
}
"""What to pass to `swarm launch` where only a weaker sandbox is supported."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What this machine supports."""

    sandbox: SandboxKind
    """The strongest kind that it supports."""
    attacks: tuple[SelfCheckAttack, ...]
    """The self-check of that kind."""
    slices: tuple[Slice, ...]
    """The slices that a launch would find."""
    fixes: tuple[str, ...]
    """What to fix, one line each."""
    agents: tuple[AgentDiagnosis, ...] = ()
    """The coding agents that swarm knows, installed or not."""
    without: tuple[str, ...] = ()
    """What is not installed, one line each; no other task needs it."""

    @property
    def sound(self) -> bool:
        """Whether the strongest sandbox works and holds against every attack."""
        return self.sandbox == tiers.NAMESPACES and not any(
            attack.escaped for attack in self.attacks
        )


@click.command()
@json_option
def doctor(*, as_json: bool) -> int:
    """Check which sandbox this machine supports, by attacking it.

    Exits with 0 if the sandbox of namespaces holds against every attack, with 2 if it does not.
    """
    require_git()
    diagnosis = diagnose()
    if as_json:
        click.echo(to_json({"sound": diagnosis.sound, **dataclasses.asdict(diagnosis)}))
    else:
        _show(diagnosis, wide_console())
    return 0 if diagnosis.sound else 2


def diagnose() -> Diagnosis:
    """Find the strongest sandbox of this machine and run its self-check; takes 1 to 2 s."""
    kind, fixes = tiers.strongest()
    attacks = run_self_check(kind)
    escaped = [attack for attack in attacks if attack.escaped] if kind != tiers.NONE else []
    fixes += tuple(f"{attack.name}: a program can {attack.tries}" for attack in escaped)
    agents = diagnose_agents() if kind == tiers.NAMESPACES else ()
    lacking = missing(tasks.kind("gpt").needs)
    without = (f"task gpt needs {' and '.join(lacking)}: {install_line('gpt')}",) if lacking else ()
    slices = discover(SlicesSection())
    return Diagnosis(kind, attacks, slices, fixes + tuple(gpu_fixes(slices)), agents, without)


def gpu_fixes(slices: Sequence[Slice]) -> Iterator[str]:
    """Yield what sandboxes on GPUs lack: device files, torch for CUDA, what torch.compile needs."""
    gpus = [slice_ for slice_ in slices if slice_.kind == "cuda"]
    checks = [partial(check_device, slice_) for slice_ in gpus] + [require_cuda_build] * bool(gpus)
    for check in checks:
        try:
            check()
        except SetupError as error:
            yield str(error)
    if gpus and (lacks := missing_toolchain("cuda", path=PROGRAMS)):
        yield lacks


def _harm(attacks: Sequence[SelfCheckAttack]) -> str:
    """Return how many attacks succeed where nothing confines, for one line."""
    return f"{sum(bool(attack.escaped) for attack in attacks)} of {len(attacks)} attacks succeed"


def _show(diagnosis: Diagnosis, console: Console) -> None:
    title = f"sandbox {diagnosis.sandbox}: {tiers.DESCRIPTIONS[diagnosis.sandbox]}"
    table = Grid(title)
    for heading in ("attack", "a program in the sandbox tries to", "result"):
        table.add_column(heading, fit="" if heading == "attack" else "fold")
    for attack in () if diagnosis.sandbox == tiers.NONE else diagnosis.attacks:
        result = Text("escaped" if attack.escaped else "held", "red" if attack.escaped else "green")
        result.append(f": {attack.escaped}" if attack.escaped else "", "default")
        table.add_row(attack.name, attack.tries, result)
    if table.row_count:
        console.print(table)
    else:
        console.print(f"{title}: {_harm(diagnosis.attacks)}", soft_wrap=True)
    for slice_ in diagnosis.slices:
        cores = ", ".join(map(str, slice_.cores)) or "not pinned"
        device = f"{slice_.kind} {slice_.gpu}".rstrip()
        console.print(f"slice {slice_.name}: {device}, cores {cores}")
    for line in agent_lines(diagnosis.agents):
        console.print(line, soft_wrap=True)
    for line in diagnosis.without:
        console.print(line, soft_wrap=True)
    for line in diagnosis.fixes:
        console.print(f"to fix: {line}", soft_wrap=True)
    if diagnosis.sandbox in WEAKER:
        console.print(WEAKER[diagnosis.sandbox])
