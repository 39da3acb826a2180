"""`swarm stack`: checks whether the kept changes of all islands add up."""

from __future__ import annotations

from dataclasses import asdict, replace
from statistics import NormalDist

import click

from analysis.grid import Fit, Grid
from harness.contract import SandboxKind, SetupError
from islands import events as ev
from islands.scheduling.run_steps import next_of_stack
from islands.stacking.design import budget
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

_Z = NormalDist().inv_cdf(0.975)
"""Standard errors on each side of a 95 % interval."""


@click.command()
@run_option
@click.option("--again", is_flag=True, help="Check even if nothing was kept since the last check.")
@sandbox_option
@json_option
def stack(name: str | None, sandbox: SandboxKind, *, again: bool, as_json: bool) -> int:
    """Check whether all kept changes, applied together, gain the sum of their gains.

    Runs combinations of the k changes on a common seed, at most 4*log2(k)+k trials. Reports
    interacting changes and drops those that add nothing. An interrupted check is resumed. If
    nothing was kept since the last check, its result is shown again.
    """
    folder = locate(name)
    state = load_state(folder)
    if _due(state, again=again):
        _require_two(state)
        state = run_steps(folder, sandbox, next_of_stack, _begin, as_json=as_json)
        _require_finished(state)
    judged = state.stacks.judged[-1]
    if as_json:
        click.echo(to_json(asdict(judged)))
    else:
        wide_console().print(table(state, judged))
        click.echo(summary(judged))
    return 0


def _due(state: State, *, again: bool) -> bool:
    stacks = state.stacks
    untried = bool(stacks.claimed) or stacks.rest_due or not stacks.judged
    return again or stacks.open is not None or untried


def _require_finished(state: State) -> None:
    """Raise SetupError where the check has no end."""
    stacks = state.stacks
    if stacks.open is not None:
        what = f"stack check {stacks.open.event.number} has not ended"
        raise SetupError(not_finished(state, what, "stack"))
    if not stacks.judged or stacks.judged[-1].number < stacks.count:
        raise SetupError(given_up(f"stack check {stacks.count}", "`swarm stack` checks"))


def _require_two(state: State) -> None:
    count = len(state.stacks.parts())
    lost = "; others were dropped or quarantined" if state.quarantines.has_heads else ""
    if state.stacks.open is None and count < 2:  # noqa: PLR2004 - a stack has two or more
        raise SetupError(
            f"{plural(count, 'change')} kept, a stack needs two{lost}: resume the run with `swarm"
            " launch`"
        )


async def _begin(run: Run) -> None:
    if run.state.stacks.open is None:
        run_actions.start_stack_check(run, run.state.stacks.parts())


def table(state: State, judged: ev.StackCheckEnded) -> Grid:
    """Return one row per change of a check: the gain it was kept for, and its result."""
    title = f"stack check {judged.number}: gain in {state.run.metric}, strongest evidence first"
    grid = Grid(title)
    for heading in ("change", "island", "hypothesis", "claimed gain", "in the stack"):
        fit: Fit = "fold" if heading in {"hypothesis", "in the stack"} else ""
        grid.add_column(heading, right=heading == "claimed gain", fit=fit)
    parts = {*judged.parts, *judged.dropped}
    claims = [claim for number, claim in state.stacks.kept.items() if number in parts]
    for claim in sorted(claims, key=lambda claim: claim.evidence):
        credit = state.promotions.attributions.get(claim.experiment)
        subject = credit.hypothesis.splitlines()[0] if credit else ""
        result = _result(state, judged, claim.experiment)
        grid.add_row(f"#{claim.experiment}", claim.island, subject, claim.gain.format(), result)
    return grid


def _result(state: State, judged: ev.StackCheckEnded, part: int) -> str:
    blamed = [
        f"interacts with {', '.join(f'#{n}' for n in fault if n != part)}: {worth.format()}"
        if len(fault) > 1
        else f"differs from its claim: {worth.format()}"
        for fault, worth in zip(judged.culprits, judged.blame, strict=False)
        if part in fault
    ]
    left_out = state.stacks.left_out.get(judged.number, {}).get(part)
    result = "stays" if part in judged.parts else "dropped"
    if part in judged.dropped and left_out:
        result = left_out
    return "; ".join([result, *blamed])


def summary(judged: ev.StackCheckEnded) -> str:
    """Return the result of a check in a few lines."""
    if judged.verdict == "conflict":
        return "conflict: no two of these changes work together"
    excess, count = judged.interaction, len(judged.parts) + len(judged.dropped)
    ends = (replace(excess, mean=excess.mean + side * _Z * excess.noise) for side in (-1, 1))
    low, high = (end.format().partition(" ")[0] for end in ends)
    sums = f"sum of parts {judged.expected.format()}, whole {judged.observed.format()}"
    spent = f"{judged.observed.pairs} trials of {budget(count)}"
    stay = f"{len(judged.parts)} of {plural(count, 'change')} stay"
    lines = [
        f"{judged.verdict}: {sums}, interaction {excess.format()} [{low}, {high}]",
        f"{stay}, {plural(judged.lines_saved, 'line')} saved, {spent}",
    ]
    if judged.gain is not None:
        lines.append(f"stack {judged.commit[:10]}: gain {judged.gain.format()}")
    lines.append("next: `swarm promote`")
    return "\n".join(lines)
