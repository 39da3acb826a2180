"""`swarm promote`: measure the best stack again at the next rung, and build the consensus."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from analysis.database.refresh import refresh
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands.genome.categories import CATEGORIES
from islands.promotion.attempt import PromotionPolicy
from islands.records import Measured
from islands.scheduling.run_steps import RunStep, next_run_step
from islands.state.run_state import State
from swarm.cli.console import sandbox_option
from swarm.cli.live import LiveView
from swarm.coordinator import run_actions as errands
from swarm.coordinator.reopen import reopen
from swarm.coordinator.run import Run
from swarm.project.runs import load_state, locate
from swarm.results.selection import next_promotion


@click.command()
@click.option("--run", "name", default=None, help="Name of the run; default: the latest one.")
@sandbox_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def promote(name: str | None, sandbox: SandboxKind, *, as_json: bool) -> int:
    """Measure the last judged stack (or the best head) again, at the next rung of program.md.

    Stack and base run on common fresh seeds, with sharp audits; then the parts and near misses, as
    the budget of `promotion` allows. What transfers becomes the branch swarm/RUN/consensus. With
    one rung only it is that rung again. A promotion that was interrupted is gone on with.
    """
    folder = locate(name)
    before = load_state(folder)
    if (
        before.promotions.open is None
        and before.promotions.unbuilt_promotion() is None
        and not next_promotion(before)
    ):
        raise SetupError(_nothing(before))
    console = Console(stderr=as_json)
    state = asyncio.run(reopen(folder, sandbox, _wanted, _begin, LiveView(console)))
    refresh(folder.path)
    promoted = state.promotions.ended[-1]
    if as_json:
        click.echo(json.dumps(_facts(state, promoted)))
    else:
        Console().print(*_tables(state, promoted), sep="\n")
        click.echo(_last_words(state, promoted))
    return 0


def _wanted(state: State, name: str) -> RunStep | None:
    return next_run_step(state, name, PromotionPolicy(auto=False))


async def _begin(run: Run) -> None:
    known = run.state.promotions
    if known.open is not None or known.unbuilt_promotion() is not None:
        return
    wanted = next_promotion(run.state)
    if wanted is None:
        raise SetupError(_nothing(run.state))
    await errands.open_promotion(run, wanted)


def _nothing(state: State) -> str:
    done = state.promotions.ended
    if done:
        last = done[-1]
        return f"nothing new to promote: {last.commit[:10]} {last.verdict} at rung {last.rung}"
    return "nothing was kept yet: let the swarm run on with `swarm launch`"


def _facts(state: State, promoted: ev.PromotionEnded) -> dict[str, object]:
    built = state.promotions.consensus
    return {**asdict(promoted), "consensus": built.commit if built else None}


def _tables(state: State, promoted: ev.PromotionEnded) -> list[Table]:
    metric = state.run.metric
    grid = Table(title=f"promotion {promoted.number}: gain in {metric} at rung {promoted.rung}")
    for heading in ("change", "touches", "before", "after", "pairs", "verdict"):
        grid.add_column(heading, justify="left" if heading in {"change", "touches"} else "right")
    whole = (promoted.before, promoted.after, promoted.verdict)
    rows = [("stack", f"{len(promoted.parts)} changes", *whole)]
    rows += [
        (f"#{each.experiment}", ", ".join(each.kinds), each.before, each.after, each.verdict)
        for each in promoted.contenders
    ]
    for name, touches, before, after, verdict in rows:
        told = [gain.format() for gain in (before, after)]
        grid.add_row(name, touches, *told, str(after.pairs), verdict)
    every = [each for done in state.promotions.ended for each in done.contenders]
    return [grid, _by_kind(every)] if every else [grid]


def _by_kind(every: list[Measured]) -> Table:
    grid = Table(title="which kinds of change transfer, in all of this run's promotions")
    for heading in ("touches", "transfers", "fades", "reverses"):
        grid.add_column(heading, justify="left" if heading == "touches" else "right")
    for kind in CATEGORIES:
        ends = [each.verdict for each in every if each.kinds[:1] == (kind,)]
        if ends:
            grid.add_row(
                kind, *(str(ends.count(end)) for end in ("transfers", "fades", "reverses"))
            )
    return grid


def _last_words(state: State, promoted: ev.PromotionEnded) -> str:
    lines = [f"{promoted.verdict}: {promoted.reason}"]
    if len(state.run.rungs) == 1:
        lines.append("program.md has one rung: this is that rung again, on fresh seeds")
    if promoted.agreement is not None:
        tau = promoted.agreement
        lines.append(
            f"rank agreement of {tau.count} changes: tau {tau.tau:+.2f}"
            f" [{tau.low:+.2f}, {tau.high:+.2f}]"
        )
    if promoted.reached:
        lines.append(
            f"the base's score of {promoted.target:.5g} takes {promoted.reached:.3g} s of"
            f" {state.run.rungs[promoted.rung].seconds:g} s (between {promoted.low:.3g} and"
            f" {promoted.high:.3g})"
        )
    built = state.promotions.consensus
    if built is not None and built.promotion == promoted.number:
        branch = f"swarm/{state.run.run}/consensus"
        lines.append(f"{branch}: {len(built.changes)} commits; next: `swarm merge`")
    return "\n".join(lines)
