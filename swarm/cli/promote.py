"""`swarm promote`: measures the best stack at the next rung and builds the consensus."""

from __future__ import annotations

from dataclasses import asdict

import click

from analysis.grid import Grid
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands.genome.categories import CATEGORIES
from islands.promotion.attempt import PromotionPolicy
from islands.records import Measured
from islands.scheduling.run_steps import RunStep, next_run_step
from islands.state.run_state import State
from swarm.cli.console import (
    json_option,
    plural,
    run_option,
    sandbox_option,
    to_json,
    wide_console,
)
from swarm.cli.run_steps import run_steps
from swarm.coordinator import run_actions
from swarm.coordinator.reopen import given_up, not_finished
from swarm.coordinator.run import Run
from swarm.project.runs import load_state, locate
from swarm.results.selection import next_promotion, nothing_kept, why_quarantined


@click.command()
@run_option
@sandbox_option
@json_option
def promote(name: str | None, sandbox: SandboxKind, *, as_json: bool) -> int:
    """Measure the last checked stack, or the best head, at the next rung of program.md.

    Stack and base run on common fresh seeds with full audits; then single changes and near misses
    run, within the budget of `promotion` in program.md. A stack that transfers becomes the branch
    swarm/RUN/consensus. If program.md has one rung, that rung is used again. An interrupted
    promotion is resumed. If there is nothing new to promote, the last result is shown again.
    """
    folder = locate(name)
    before = load_state(folder)
    promotions = before.promotions
    resumable = promotions.open is not None or promotions.unbuilt_promotion() is not None
    new = resumable or next_promotion(before) is not None
    if not new and not promotions.ended:
        raise SetupError(nothing_kept(before))
    state = before
    if new:
        state = run_steps(folder, sandbox, _next_step, _begin, as_json=as_json)
        _require_finished(state)
    promoted = state.promotions.ended[-1]
    if as_json:
        click.echo(to_json(_facts(state, promoted)))
    else:
        wide_console().print(*_tables(state, promoted), sep="\n")
        click.echo(_summary(state, promoted))
        if not new:
            click.echo("nothing new to promote; `swarm launch` looks for more changes")
    return 0


def _next_step(state: State, name: str) -> RunStep | None:
    return next_run_step(state, name, PromotionPolicy(auto=False))


async def _begin(run: Run) -> None:
    promotions = run.state.promotions
    if promotions.open is not None or promotions.unbuilt_promotion() is not None:
        return
    request = next_promotion(run.state)
    if request is None:
        raise SetupError(nothing_kept(run.state))  # a change was quarantined since it was looked
    await run_actions.start_promotion(run, request)


def _require_finished(state: State) -> None:
    """Raise SetupError where the promotion has no end, or its consensus is not built yet."""
    promotions = state.promotions
    open_, promoted = promotions.open, promotions.unbuilt_promotion()
    if open_ is None and (not promotions.ended or promotions.ended[-1].number < promotions.count()):
        raise SetupError(given_up(f"promotion {promotions.count()}", "`swarm promote` takes"))
    if open_ is not None:
        what = f"promotion {open_.event.number} has not ended"
    elif promoted is not None:
        verdict = f"promotion {promoted.number} {promoted.verdict}"
        what = f"{verdict}, and the consensus is not built from it"
    else:
        return
    raise SetupError(not_finished(state, what, "promote"))


def _facts(state: State, promoted: ev.PromotionEnded) -> dict[str, object]:
    built = state.promotions.consensus
    return {**asdict(promoted), "consensus": built.commit if built else None}


def _tables(state: State, promoted: ev.PromotionEnded) -> list[Grid]:
    metric = state.run.metric
    title = f"promotion {promoted.number}: gain in {metric} at rung {promoted.rung}"
    grid = Grid(title)
    for heading in ("change", "touches", "before", "after", "pairs", "verdict"):
        is_text = heading == "touches"
        right = heading != "change" and not is_text
        grid.add_column(heading, right=right, fit="fold" if is_text else "")
    stack = (promoted.before, promoted.after, promoted.verdict)
    rows = [("stack", plural(len(promoted.parts), "change"), *stack)]
    rows += [
        (f"#{change.experiment}", ", ".join(change.kinds), change.before, change.after,
         change.verdict)
        for change in promoted.contenders
    ]  # fmt: skip
    for name, touches, before, after, verdict in rows:
        gains = [gain.format() for gain in (before, after)]
        grid.add_row(name, touches, *gains, str(after.pairs), verdict)
    measured = [change for ended in state.promotions.ended for change in ended.contenders]
    return [grid, _by_category(measured)] if measured else [grid]


def _by_category(measured: list[Measured]) -> Grid:
    grid = Grid("categories of change that transfer, in all promotions of this run")
    for heading in ("touches", "transfers", "fades", "reverses"):
        grid.add_column(heading, right=heading != "touches")
    for category in CATEGORIES:
        ends = [change.verdict for change in measured if change.kinds[:1] == (category,)]
        if ends:
            counts = (str(ends.count(end)) for end in ("transfers", "fades", "reverses"))
            grid.add_row(category, *counts)
    return grid


def _summary(state: State, promoted: ev.PromotionEnded) -> str:
    lines = [f"{promoted.verdict}: {promoted.reason}"]
    if len(state.run.rungs) == 1:
        lines.append("program.md has one rung: this was that rung again, on fresh seeds")
    if promoted.agreement is not None:
        tau = promoted.agreement
        lines.append(
            f"rank agreement of {tau.count} changes between the rungs: tau {tau.tau:+.2f}"
            f" [{tau.low:+.2f}, {tau.high:+.2f}]"
        )
    if promoted.reached:
        seconds = state.run.rungs[promoted.rung].seconds
        lines.append(
            f"the stack reaches the base's score of {promoted.target:.5g} in"
            f" {promoted.reached:.3g} s of {seconds:g} s (between {promoted.low:.3g} and"
            f" {promoted.high:.3g})"
        )
    if promoted.number in state.promotions.failing:
        lines.append(f"it fails check {state.promotions.failing[promoted.number]}; not merged")
    if not state.promotions.is_sound(promoted):
        lines.append(f"it is quarantined, {why_quarantined(state, promoted)}; not merged")
    built = state.promotions.consensus
    if built is not None and built.promotion == promoted.number:
        branch = f"swarm/{state.run.run}/consensus"
        lines.append(f"{branch}: {plural(len(built.changes), 'commit')}; next: `swarm merge`")
    return "\n".join(lines)
