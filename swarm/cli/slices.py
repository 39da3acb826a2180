"""`swarm slices`: which slices trials run on, and what is known of their noise and speed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.ledger import read_events
from harness import fingerprint as identity
from harness.contract import SandboxKind, SetupError, Slice, Trial
from islands.git.branches import Branches
from swarm.cli.console import sandbox_option
from swarm.executors.backends import Backend, BackendKind, open_backend
from swarm.executors.base import ExecutorConfig
from swarm.executors.nvml import Gpu, find_gpus
from swarm.executors.require_sandbox import require_sandbox
from swarm.executors.slice_metrics import SliceMetrics, measure_slices, metrics_by_slice
from swarm.project.program import Program
from swarm.project.repository import load_program, tip
from swarm.project.runs import latest, locate, repository, require_stopped
from swarm.project.schema import SlicesSection

SHORT = 5.0
"""Seconds of a trial that is run to measure a slice, where the first rung has no fewer."""


@dataclass(frozen=True, slots=True)
class SliceRow:
    """What is known of slices by their names, and where from."""

    gauges: Mapping[str, SliceMetrics]
    source: str = ""


@click.command()
@click.option("--measure", is_flag=True, help="Run short trials of the genome on every slice.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(2, 100),
    help="--measure: how many trials on each slice.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True),
    help=f"--measure: of one trial; default: {SHORT:g}, or the first rung's where that is less.",
)  # fmt: skip
@sandbox_option
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local",
    help="Whose slices: this machine's, or those of a Ray cluster.",
)  # fmt: skip
@click.option("--address", default="auto", help="ray: the cluster's.")
@click.option("--run", "name", default=None, help="Name of the run; default: the latest one.")
@click.option("--json", "as_json", is_flag=True, help="Print the slices as JSON.")
def slices(
    measure: bool,
    seeds: int,
    seconds: float | None,
    sandbox: SandboxKind,
    executor: BackendKind,
    address: str,
    name: str | None,
    *,
    as_json: bool,
) -> None:
    """List the slices that a launch here would lease, with their noise, speed and company.

    What is known comes from the run's trials, or from --measure: each slice once alone, then all of
    them side by side, as in a run.
    """
    if measure and name is not None:
        raise SetupError("--measure and --run: one says to measure now, the other to look back")
    program = _program()
    with closing(open_backend(executor, address)) as there:
        found = there.slices(program.slices if program else SlicesSection())
        if not measure:
            known = _looked_back(name)
        elif program is None:
            raise SetupError(
                "--measure needs a program.md and its genome: change into a repository that has"
                " them, or make one with `swarm init DIR`"
            )
        else:
            known = _measured(there, found, program, seeds, seconds, sandbox)
    if as_json:
        click.echo(json.dumps(_plain(found, known)))
    else:
        _show(found, known)


def _program() -> Program | None:
    """Return the program.md that a launch here would read, None outside of any target."""
    try:
        repo = repository()
        commit = tip(repo).commit
    except SetupError:
        return None
    return load_program(repo, commit) if (repo / "program.md").exists() else None


def _looked_back(name: str | None) -> SliceRow:
    """Return what a run's ledger says, nothing where there is no run."""
    try:
        folder = locate(name)
    except SetupError:
        if name is not None:
            raise
        return SliceRow({})
    history = (event for _, event in read_events(folder.ledger))
    return SliceRow(metrics_by_slice(history), folder.name)


def _measured(
    there: Backend,
    found: tuple[Slice, ...],
    program: Program,
    seeds: int,
    seconds: float | None,
    sandbox: SandboxKind,
) -> SliceRow:
    repo = repository()
    last = latest(repo)
    if last is not None:
        require_stopped(last)
    require_sandbox(sandbox)
    rung = program.rungs[0]
    rung = dataclasses.replace(rung, seconds=seconds or min(SHORT, rung.seconds))
    commit = tip(repo).commit
    with tempfile.TemporaryDirectory(prefix="swarm-slices-") as scratch:
        Path(scratch).chmod(0o755)  # boxes have a user of their own
        genome = Path(scratch) / "genome"
        Branches(repo, "slices", program.genome).export(commit, genome)
        trial = Trial(
            id="",
            task=program.task,
            data=program.data,
            commit=commit,
            seed=program.seed,
            rung=rung,
            slice=found[0],
            genome=str(genome),
            entry=program.entry,
            scratch=str(Path(scratch) / "trials"),
            sandbox=sandbox,
        )
        home = identity.export(Path(scratch) / "harness")
        known = asyncio.run(_gauged(there, home, found, trial, seeds))
    return SliceRow(known, f"{seeds} trials of {rung.seconds:g} s")


async def _gauged(
    there: Backend, home: Path, found: tuple[Slice, ...], trial: Trial, seeds: int
) -> dict[str, SliceMetrics]:
    console = Console(stderr=True)
    terms = ExecutorConfig(trial.task, trial.data, trial.sandbox)
    async with there.executor(home, terms, found) as executor:
        return await measure_slices(executor, found, trial, seeds, console.print)


def _plain(found: tuple[Slice, ...], known: SliceRow) -> dict[str, object]:
    rows = []
    for where in found:
        gauge = known.gauges.get(where.name, SliceMetrics())
        about = {**dataclasses.asdict(where), "device": where.device}
        rows.append({**about, **gauge.as_dict(), "complaints": gauge.warnings()})
    return {"source": known.source, "slices": rows}


def _show(found: tuple[Slice, ...], known: SliceRow) -> None:
    source = known.source or "no trial of them yet: `swarm slices --measure`"
    grid = Table(title=f"{len(found)} slices; {source}", title_justify="left")
    for heading in ("slice", "what", "cores", "scores as"):
        grid.add_column(heading)
    for heading in ("trials", "sigma", "steps/s", "alone", "others' CPU"):
        grid.add_column(heading, justify="right")
    models = {gpu.uuid: f"{gpu.model}, {gpu.mib >> 10} GiB" for gpu in _gpus(found)}
    for where in found:
        gauge = known.gauges.get(where.name, SliceMetrics())
        grid.add_row(*_row(where, gauge, models))
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(grid)
    for where in found:
        for line in known.gauges.get(where.name, SliceMetrics()).warnings():
            click.echo(f"{where.name}: {line}")


def _gpus(found: tuple[Slice, ...]) -> list[Gpu]:
    """Return this machine's GPUs, where any slice is on one."""
    on_gpu = any(where.kind == "cuda" for where in found)
    return find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")) if on_gpu else []


def _row(where: Slice, gauge: SliceMetrics, models: Mapping[str, str]) -> list[Text]:
    facts = gauge.as_dict()
    cells = [
        where.name,
        _what(where, models),
        ", ".join(map(str, where.cores)) or "not pinned",
        where.device,
        str(gauge.trials or "-"),
        _number(facts["sigma"], ".3g"),
        _number(facts["steps_per_second"], ".4g"),
        _number(facts["steps_per_second_alone"], ".4g"),
        _number(facts["foreign_cpu"], ".1%"),
    ]
    return [Text(cell) for cell in cells]


def _what(where: Slice, models: Mapping[str, str]) -> str:
    if where.kind != "cuda":
        return {"cpu": "CPU cores", "mps": "Apple GPU"}[where.kind]
    model = models.get(where.gpu, "")
    name = f"{where.gpu} ({model})" if model else where.gpu
    if where.parent:
        return f"MIG instance {name} of {where.parent}"
    return name if where.share >= 1 else f"1/{round(1 / where.share)} of {name}, shared"


def _number(value: object, form: str) -> str:
    return format(value, form) if isinstance(value, float) else "-"
