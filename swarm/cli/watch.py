"""`swarm watch`: shows a run on this terminal, live."""

from __future__ import annotations

import sys

import click

from harness.contract import SetupError
from harness.installation import require_extra
from swarm.cli.console import run_option
from swarm.project.runs import locate


@click.command()
@run_option
def watch(name: str | None) -> None:
    """Watch a run on this terminal: islands, kept changes with their evidence, events.

    It only reads, works over ssh, and may be opened and closed at any time.
    """
    require_extra("watch", "this view", ("textual",))
    run = locate(name)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SetupError("this view needs a terminal: `swarm status` prints the same once")
    from analysis import watch as view  # noqa: PLC0415 - an extra: see above
    from analysis.dashboard.records import Records  # noqa: PLC0415 - the same

    view.watch(Records(run.repo), run.name)
