"""`swarm check`: runs the base a few times and says what a night on it could establish."""

from __future__ import annotations

import asyncio
import dataclasses

import click
from rich.console import Console
from rich.text import Text

from harness.contract import SandboxKind
from swarm.check.bench import BenchPlan
from swarm.check.findings import worst
from swarm.check.records import Finding
from swarm.check.report import check_base
from swarm.cli.console import json_option, progress_teller, sandbox_option, to_json, wide_console
from swarm.project.runs import repository

_STYLES = {"ok": "green", "warn": "yellow", "error": "red"}


@click.command()
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(3, 100),
    default=BenchPlan().seeds,
    show_default=True,
    help="Number of seeds; each is run twice.",
)
@sandbox_option
@json_option
def check(seeds: int, sandbox: SandboxKind, *, as_json: bool) -> int:
    """Run the base on a few seeds and say what stands in the way of a good run.

    It says how noisy the score is, how small a gain 100 and 1,000 trials can establish, whether the
    seed matters, whether the genome is used at all, and what a trial sees. Nothing is recorded.
    Exits with 1 if a finding is an error.
    """
    tell = progress_teller(quiet=as_json)
    found = asyncio.run(check_base(repository(), sandbox, BenchPlan(seeds=seeds), tell))
    if as_json:
        findings = [dataclasses.asdict(finding) for finding in found]
        click.echo(to_json({"worst": worst(found), "findings": findings}))
    else:
        show(found, wide_console())
    return 1 if worst(found) == "error" else 0


def show(found: list[Finding], console: Console) -> None:
    """Print one line for each finding, and below it its fix."""
    for finding in found:
        line = Text(f"{finding.severity:5}", _STYLES[finding.severity])
        line.append(f" {finding.subject}: {finding.text}", "default")
        line.append(f"\n      fix: {finding.fix}" if finding.fix else "", "default")
        console.print(line, soft_wrap=True)
