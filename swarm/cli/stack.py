"""`swarm stack`: see whether the kept changes of all islands add up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from statistics import NormalDist

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.database.refresh import refresh
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands.scheduling.run_steps import next_of_stack
from islands.stacking.design import budget
from islands.state.run_state import State
from swarm.cli.console import sandbox_option
from swarm.cli.live import LiveView
from swarm.coordinator import run_actions as errands
from swarm.coordinator.reopen import reopen
from swarm.coordinator.run import Run
from swarm.project.runs import load_state, locate

_Z = NormalDist().inv_cdf(0.975)


@click.command()
@click.option("--run", "name", default=None, help="Name of the run; default: the latest one.")
@click.option("--again", is_flag=True, help="Check once more, though nothing was kept since.")
@sandbox_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def stack(name: str | None, sandbox: SandboxKind, *, again: bool, as_json: bool) -> int:
    """Apply all kept changes together, and see whether the whole is worth the sum of its parts.

    Combinations of them run on one common seed, at most 4*log2(k)+k trials for k changes. What
    interacts is named, and what is not missed is dropped. A check that was interrupted is gone on
    with; where nothing was kept since the last one, that is shown again.
    """
    folder = locate(name)
    state = load_state(folder)
    if _due(state, again=again):
        _possible(state)
        console = Console(stderr=as_json)
        state = asyncio.run(reopen(folder, sandbox, next_of_stack, _begin, LiveView(console)))
        refresh(folder.path)
    judged = state.stacks.judged[-1]
    if as_json:
        click.echo(json.dumps(asdict(judged)))
    else:
        Console().print(table(state, judged))
        click.echo(told(judged))
    return 0


def _due(state: State, *, again: bool) -> bool:
    known = state.stacks
    return again or known.open is not None or bool(known.claimed) or not known.judged


def _possible(state: State) -> None:
    count = len(state.stacks.parts())
    if state.stacks.open is None and count < 2:  # noqa: PLR2004
        raise SetupError(
            f"{count} changes were kept, and a stack has two or more: let the swarm run on with"
            " `swarm launch`"
        )


async def _begin(run: Run) -> None:
    if run.state.stacks.open is None:
        errands.open_stack(run, run.state.stacks.parts())


def table(state: State, judged: ev.StackCheckEnded) -> Table:
    """Return a row for each part of a check: what it claimed, and what became of it."""
    title = f"stack check {judged.number}: gain in {state.run.metric}, strongest evidence first"
    grid = Table(title=Text(title), title_justify="left")
    for heading in ("change", "island", "what", "claimed", "in the stack"):
        grid.add_column(heading, justify="right" if heading == "claimed" else "left")
    parts = {*judged.parts, *judged.dropped}
    claims = [claim for number, claim in state.stacks.kept.items() if number in parts]
    for claim in sorted(claims, key=lambda each: each.evidence):
        credit = state.promotions.attributions.get(claim.experiment)
        what = credit.hypothesis.splitlines()[0] if credit else ""
        row = (f"#{claim.experiment}", claim.island, what, claim.gain.format())
        grid.add_row(*map(Text, row), Text(_fate(state, judged, claim.experiment)))
    return grid


def _fate(state: State, judged: ev.StackCheckEnded, part: int) -> str:
    blamed = [
        f"with {', '.join(f'#{n}' for n in fault if n != part)}: {worth.format()}"
        if len(fault) > 1
        else f"its claim is off: {worth.format()}"
        for fault, worth in zip(judged.culprits, judged.blame, strict=False)
        if part in fault
    ]
    conflict = state.stacks.conflicts.get(part)
    stays = "stays" if part in judged.parts else "dropped"
    if part in judged.dropped and conflict:
        stays = f"conflicts in {conflict}"
    return "; ".join([stays, *blamed])


def told(judged: ev.StackCheckEnded) -> str:
    """Return what a check came to, in a few lines for a person."""
    if judged.verdict == "conflict":
        return "conflict: no two of these changes go on one base together"
    off, count = judged.interaction, len(judged.parts) + len(judged.dropped)
    low, high = off.mean - _Z * off.noise, off.mean + _Z * off.noise
    sums = f"sum of parts {judged.expected.format()}, whole {judged.observed.format()}"
    spent = f"{judged.observed.pairs} trials of {budget(count)}"
    lines = [
        f"{judged.verdict}: {sums}, interaction {off.mean:+.4g} [{low:+.4g}, {high:+.4g}]",
        f"{len(judged.parts)} of {count} changes stay, {judged.lines_saved} lines saved, {spent}",
    ]
    if judged.gain is not None:
        lines.append(f"stack {judged.commit[:10]}: gain {judged.gain.format()}")
    lines.append("next: `swarm promote`")
    return "\n".join(lines)
