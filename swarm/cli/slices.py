"""`swarm slices`: lists slices with their noise, speed and foreign CPU load."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click

from analysis.database.refresh import reading
from analysis.grid import Grid
from analysis.questions.slice_metrics import SliceMetrics, metrics_by_slice
from harness.contract import SandboxKind, SetupError, Slice, Trial
from swarm.cli.console import (
    FiniteRange,
    address_option,
    json_option,
    plural,
    progress_teller,
    refused_option,
    require_one,
    require_partner,
    run_option,
    sandbox_option,
    to_json,
    wide_console,
)
from swarm.executors.backends import Backend, BackendKind, open_backend
from swarm.executors.nvml import Gpu, find_gpus
from swarm.executors.require_sandbox import require_sandbox
from swarm.executors.slice_metrics import measure_slices
from swarm.executors.workbench import Workbench, make_workbench
from swarm.project.program import Program
from swarm.project.repository import load_program, tip
from swarm.project.runs import latest, locate, repository, require_stopped
from swarm.project.schema.settings import SlicesSection

BENCHMARK_S = 5.0
"""Seconds of a benchmark trial, unless the first rung has fewer."""


@dataclass(frozen=True, slots=True)
class SliceReport:
    """Metrics by the name of the slice, and where they come from ("": no trials yet)."""

    metrics: Mapping[str, SliceMetrics]
    source: str = ""

    def of(self, slice_: Slice) -> SliceMetrics:
        """Return the metrics of a slice, empty ones where it ran no trial."""
        return self.metrics.get(slice_.name, SliceMetrics())


@click.command()
@click.option("--benchmark", is_flag=True, help="Run short trials of the genome on each slice.")
@click.option(
    "--seeds",
    metavar="N",
    default=3,
    show_default=True,
    type=click.IntRange(2, 100),
    help="With --benchmark: number of trials on each slice.",
)
@click.option(
    "--seconds",
    metavar="SECONDS",
    type=FiniteRange(min=0, min_open=True),
    help=f"With --benchmark: length of a trial; default: {BENCHMARK_S:g}, or the first rung's if"
    " that is shorter.",
)
@sandbox_option
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="List the slices of this machine or of a Ray cluster.",
)
@address_option
@run_option
@refused_option("--measure", "--benchmark", is_flag=True)
@json_option
def slices(
    benchmark: bool,
    seeds: int,
    seconds: float | None,
    sandbox: SandboxKind,
    executor: BackendKind,
    address: str,
    name: str | None,
    *,
    as_json: bool,
) -> None:
    """List the slices that a launch would use, with noise, speed and foreign CPU load.

    The figures come from the trials of a run or, with --benchmark, from short trials now: on each
    slice alone, then on all slices at once.
    """
    require_one(benchmark=benchmark, run=name)
    require_partner("--benchmark", "seeds", "seconds", "sandbox", given=benchmark)
    require_partner("--executor ray", "address", given=executor == "ray")
    program = _program()
    with closing(open_backend(executor, address)) as backend:
        listed = backend.slices(program.settings.slices if program else SlicesSection())
        if not benchmark:
            report = _from_run(name)
        elif program is None:
            raise SetupError(
                "--benchmark needs a program.md and its genome: change into a repository that has"
                " them, or create one with `swarm init DIR`"
            )
        else:
            report = _benchmark(backend, program, seeds, seconds, sandbox)
    if as_json:
        click.echo(to_json(_as_dict(listed, report)))
    else:
        _show(listed, report)


def _program() -> Program | None:
    """Return the program.md that a launch here would read, None where there is none."""
    try:
        repo = repository()
        base = tip(repo)
    except SetupError:
        return None
    return load_program(repo, base.commit, base.program) if (repo / base.program).exists() else None


def _from_run(name: str | None) -> SliceReport:
    """Return the metrics of a run's trials, an empty report where there is no run."""
    try:
        folder = locate(name)
    except SetupError:
        if name is not None:
            raise
        return SliceReport({})
    with reading(folder.path) as con:
        return SliceReport(metrics_by_slice(con), folder.name)


def _benchmark(
    backend: Backend,
    program: Program,
    seeds: int,
    seconds: float | None,
    sandbox: SandboxKind,
) -> SliceReport:
    repo = repository()
    last = latest(repo)
    if last is not None:
        require_stopped(last)
    require_sandbox(sandbox)
    rung = program.settings.rungs[0]
    rung = dataclasses.replace(rung, seconds=seconds or min(BENCHMARK_S, rung.seconds))
    commit = tip(repo).commit
    with tempfile.TemporaryDirectory(prefix="swarm-slices-") as scratch:
        bench = make_workbench(
            repo, program, [commit], Path(scratch), sandbox, frozen_at=commit, backend=backend
        )
        trial = bench.trial("", commit, program.settings.seed, bench.slices[0], rung=rung)
        metrics = asyncio.run(_run_trials(bench, trial, seeds))
    return SliceReport(metrics, f"{seeds} trials of {rung.seconds:g} s")


async def _run_trials(bench: Workbench, trial: Trial, seeds: int) -> dict[str, SliceMetrics]:
    tell = progress_teller(quiet=False)
    async with bench.opened() as executor:
        return await measure_slices(executor, bench.slices, trial, seeds, tell)


def _as_dict(listed: tuple[Slice, ...], report: SliceReport) -> dict[str, object]:
    rows = []
    for slice_ in listed:
        metrics = report.of(slice_)
        about = {**dataclasses.asdict(slice_), "device": slice_.device}
        rows.append({**about, **metrics.as_dict(), "warnings": metrics.warnings()})
    return {"source": report.source, "slices": rows}


def _show(listed: tuple[Slice, ...], report: SliceReport) -> None:
    source = report.source or "no trials yet, run `swarm slices --benchmark`"
    grid = Grid(f"{plural(len(listed), 'slice')}; {source}")
    grid.add_column("slice")
    for heading in ("device", "cores", "scores as"):
        grid.add_column(heading, fit="fold")
    for heading in ("trials", "noise", "steps/s", "steps/s alone", "foreign CPU"):
        grid.add_column(heading, right=True)
    models = {gpu.uuid: f"{gpu.model}, {gpu.mib >> 10} GiB" for gpu in _gpus(listed)}
    for slice_ in listed:
        grid.add_row(*_row(slice_, report.of(slice_), models))
    wide_console().print(grid)
    for slice_ in listed:
        for line in report.of(slice_).warnings():
            click.echo(f"{slice_.name}: {line}")


def _gpus(listed: tuple[Slice, ...]) -> list[Gpu]:
    """Return this machine's GPUs, none where no slice is on one."""
    on_gpu = any(slice_.kind == "cuda" for slice_ in listed)
    return find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")) if on_gpu else []


def _row(slice_: Slice, metrics: SliceMetrics, models: Mapping[str, str]) -> list[str]:
    facts = metrics.as_dict()
    return [
        slice_.name,
        _device(slice_, models),
        ", ".join(map(str, slice_.cores)) or "not pinned",
        slice_.device,
        str(metrics.trials or "-"),
        _number(facts["sigma"], ".3g"),
        _number(facts["steps_per_second"], ".4g"),
        _number(facts["steps_per_second_alone"], ".4g"),
        _number(facts["foreign_cpu"], ".1%"),
    ]


def _device(slice_: Slice, models: Mapping[str, str]) -> str:
    if slice_.kind != "cuda":
        return {"cpu": "CPU cores", "mps": "Apple GPU"}[slice_.kind]
    model = models.get(slice_.gpu, "")
    name = f"{slice_.gpu} ({model})" if model else slice_.gpu
    if slice_.parent:
        return f"MIG instance {name} of {slice_.parent}"
    return name if slice_.share >= 1 else f"1/{round(1 / slice_.share)} of {name}, shared"


def _number(value: object, spec: str) -> str:
    return format(value, spec) if isinstance(value, float) else "-"
