"""`swarm report`: writes one file about a run that a stranger can judge."""

from __future__ import annotations

from pathlib import Path

import click

from analysis.run import RecordedRun
from swarm.cli.console import run_option
from swarm.project.runs import locate


@click.command()
@run_option
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it: .html with pictures, or .md. [default: RUN-report.html]",
)
def report(name: str | None, out: Path | None) -> None:
    """Write a report of a run: what was asked and found, how sure, what it cost, each change.

    One self-contained file; reading it takes no network and no script. Each section names the
    command that derives its figures again.
    """
    folder = locate(name)
    path = out or Path(f"{folder.name}-report.html")
    if path.suffix == ".html":
        # matplotlib takes a quarter of a second, and Markdown does without
        from analysis.pictures.quick_import import skip_docstring_tables  # noqa: PLC0415

        skip_docstring_tables()
    with RecordedRun(folder.path) as run:
        run.report(path)
    click.echo(str(path))
