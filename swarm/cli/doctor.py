"""`swarm doctor`: what this machine can confine, shown by attacks, and what would be better."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from harness.contract import SandboxKind, Slice
from harness.sandbox import tiers
from harness.sandbox.self_check import SelfCheckAttack, run_self_check
from swarm.executors.slices import discover
from swarm.project.schema import SlicesSection

SETTLING = {
    tiers.LANDLOCK: "a launch here needs --sandbox landlock, if this holds; namespaces hold more",
    tiers.NONE: "without confinement a launch needs --sandbox none, and no score can be trusted",
}
"""What a person has to pass to run with a weaker sandbox."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The strongest sandbox here, its self-check, the slices, and what to fix, a line each."""

    sandbox: SandboxKind
    canaries: tuple[SelfCheckAttack, ...]
    slices: tuple[Slice, ...]
    mends: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether runs can be confined as they should be."""
        return self.sandbox == tiers.NAMESPACES and not any(each.escaped for each in self.canaries)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the diagnosis as JSON.")
def doctor(*, as_json: bool) -> int:
    """Attack every line of defence on this machine and say which held.

    Exits with 0 where the sandbox (namespaces) holds, with 2 where it does not.
    """
    found = diagnose()
    if as_json:
        click.echo(json.dumps({"sound": found.sound, **dataclasses.asdict(found)}))
    else:
        _show(found, Console())
    return 0 if found.sound else 2


def diagnose() -> Diagnosis:
    """Find the strongest sandbox of this machine and run its self-check; takes a second or two."""
    kind, fixes = tiers.strongest()
    canaries = run_self_check(kind)
    out = [each for each in canaries if each.escaped] if kind != tiers.NONE else []
    fixes += tuple(f"{each.name}: a box could {each.tries}" for each in out)
    return Diagnosis(kind, canaries, discover(SlicesSection()), fixes)


def _show(found: Diagnosis, console: Console) -> None:
    table = Table(
        title=f"sandbox {found.sandbox}: {tiers.DESCRIPTIONS[found.sandbox]}", title_justify="left"
    )
    for heading in ("canary", "what a box tries", "here"):
        table.add_column(heading)
    for each in found.canaries:
        here = f"[red]escaped[/]: {each.escaped}" if each.escaped else "[green]held[/]"
        table.add_row(each.name, each.tries, here)
    console.print(table)
    for where in found.slices:
        cores = ", ".join(map(str, where.cores)) or "not pinned"
        console.print(f"slice {where.name}: {where.kind} {where.gpu}".rstrip() + f", cores {cores}")
    for line in found.mends:
        console.print(f"to mend: {line}", markup=False)
    if found.sandbox in SETTLING:
        console.print(SETTLING[found.sandbox])
