"""`swarm plot`: draws a picture of a run."""

from __future__ import annotations

from pathlib import Path

import click

from analysis.pictures.quick_import import skip_docstring_tables
from analysis.run import RecordedRun
from swarm.cli.console import run_option
from swarm.project.runs import locate

skip_docstring_tables()

from analysis.pictures.kinds import FORMATS, KINDS  # noqa: E402 - it imports matplotlib

_KINDS = "\n".join(f"  {name:10} {kind.about}" for name, kind in KINDS.items())


@click.command(epilog="\b\nKinds:\n" + _KINDS)
@click.argument("kind", type=click.Choice(list(KINDS)), metavar="KIND", default="progress")
@run_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Where to write it: .{', .'.join(FORMATS)}. [default: RUN-KIND.svg]",
)
@click.option("--dark", is_flag=True, help="Draw on a dark background.")
def plot(kind: str, name: str | None, out: Path | None, *, dark: bool) -> None:
    """Draw a picture of a run, also while the swarm runs."""
    folder = locate(name)
    path = out or Path(f"{folder.name}-{kind}.svg")
    with RecordedRun(folder.path) as run:
        run.plot(kind, path, dark=dark)
    click.echo(str(path))
