"""What a person sees while a swarm runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import singledispatch

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from islands import events as ev
from islands.state.population import IslandState
from islands.state.run_state import State
from swarm.coordinator.interfaces import RunLimits

FRAME = 0.5
"""Seconds between two frames of the live table."""


class LiveView:
    """Follows a run's events on `console`; on a terminal, `show` also draws the live table.

    With `as_json` each event goes to standard output as it stands in the ledger.
    """

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console, self._as_json = console, as_json
        self.bounds = RunLimits()
        self._began = time.monotonic()
        self._state: State | None = None

    def __call__(self, event: ev.Event, state: State) -> None:
        """Print the line that `event` deserves, if any."""
        self._state = state
        if self._as_json:
            click.echo(ev.encode(event))
            return
        if self._console.is_terminal and isinstance(event, ev.TrialEnded):
            return  # the live table shows what is being tried
        line = describe(event, state)
        if line:
            stamp = _clock(time.monotonic() - self._began)
            self._console.print(Text(f"{stamp}  {line}"), soft_wrap=True, highlight=False)

    async def show(self) -> None:
        """Redraw the live table until cancelled; where there is no terminal, draw nothing."""
        if self._as_json or not self._console.is_terminal:
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                if self._state is not None and self._state.opened is not None:
                    live.update(self._frame(self._state), refresh=True)
                await asyncio.sleep(FRAME)

    def _frame(self, state: State) -> RenderableType:
        return Group(table(state), Text(self._footer(state), style="dim"))

    def _footer(self, state: State) -> str:
        elapsed = time.monotonic() - self._began
        bounds = self.bounds
        minutes = f" of {bounds.minutes:g} min" if bounds.minutes is not None else ""
        trials = f" of {bounds.trials}" if bounds.trials is not None else ""
        usd = f" of ${bounds.usd:g}" if bounds.usd is not None else ""
        return (
            f"{_clock(elapsed)}{minutes} · trials {state.trials}{trials} · ${state.usd:.2f}{usd}"
            f"{nulls(state)}{set_apart(state)}"
            f" · sigma {state.noise().sigma:.4g} · dropped: discarded + failed + refused + outdated"
        )


def set_apart(state: State) -> str:
    """Return which slices are set apart, where any is."""
    names = [name for name, watched in state.sentinels.slices.items() if watched.apart]
    return f" · set apart: {', '.join(names)}" if names else ""


def nulls(state: State) -> str:
    """Return how many proposals that do nothing were kept, where any was tried."""
    known = state.nulls
    return f" · nulls kept {known.kept} of {known.tried}" if known.tried else ""


def table(state: State) -> Table:
    """Return one row per island: head, score and gain, what is tried, what it came to."""
    run = state.run
    grid = Table(title=f"{run.run}: {run.task}, {run.metric} ({run.direction})", expand=True)
    for heading in ("island", run.metric, "gain", "trials", "kept", "dropped", "use"):
        grid.add_column(heading, justify="right" if grid.columns else "left", no_wrap=True)
    grid.add_column("trying", ratio=1, no_wrap=True, overflow="ellipsis")
    for name, island in state.islands.items():
        grid.add_row(*_row(name, island, state))
    return grid


def _row(name: str, island: IslandState, state: State) -> tuple[str, ...]:
    score, gain, ends = state.score(island.head), state.gain(island), island.endings
    dropped = [ends.get(end, 0) for end in ("discarded", "failed", "refused", "outdated")]
    return (
        name,
        "-" if score is None else f"{score:.4f}",
        "-" if gain is None else f"{gain:+.4f}",
        str(island.trials),
        str(ends.get("kept", 0)),
        "+".join(map(str, dropped)),
        f"{100 * state.slice_use(name):.0f} %",
        _trying(name, island, state),
    )


def _trying(name: str, island: IslandState, state: State) -> str:
    if state.stopped is not None:
        return ""
    if island.experiment is not None:
        return f"{island.experiment.life}: {island.experiment.hypothesis.splitlines()[0]}"
    if any(t.island == name and t.purpose == "baseline" for t in state.running.values()):
        return "baseline"
    return "asking its agent"


@singledispatch
def describe(event: ev.Event, state: State) -> str:
    """Return one line for a person, or nothing where the event is not news."""
    del event, state
    return ""


@describe.register
def _(event: ev.RunOpened, state: State) -> str:
    del state
    return f"run {event.run} opened on {event.target} at {event.base[:8]}, harness {event.harness}"


@describe.register
def _(event: ev.RunResumed, state: State) -> str:
    del event
    return f"run {state.run.run} resumed after {state.trials} trials"


@describe.register
def _(event: ev.RunStopped, state: State) -> str:
    return f"stopped ({event.reason}) after {state.trials} trials"


@describe.register
def _(event: ev.TrialEnded, state: State) -> str:
    del state
    outcome = event.outcome
    what = f"{outcome.score:.6g}" if outcome.score is not None else ""
    if outcome.failure is not None:
        what = f"{outcome.failure.kind}: {outcome.failure.reason}"
    return f"trial {event.trial}: {what} ({outcome.seconds.get('budget', 0.0):.1f} s)"


@describe.register
def _(event: ev.TrialVoided, state: State) -> str:
    del state
    return f"trial {event.trial} void: {event.reason}"


@describe.register
def _(event: ev.MigrantOffered, state: State) -> str:
    del state
    one = event.migrant
    idea = next(iter(one.hypothesis.splitlines()), "")
    return f"{event.island} #{event.experiment} takes in #{one.experiment} of {one.island}: {idea}"


@describe.register
def _(event: ev.CandidateAdmitted, state: State) -> str:
    waiting = (e for e in state.islands[event.island].queue if e.number == event.experiment)
    idea = "".join(each.hypothesis.partition("\n")[0] for each in waiting)
    lines = f"+{event.added} -{event.removed}"
    return f"{event.island} #{event.experiment} {event.commit[:8]} {lines}: {idea}"


@describe.register
def _(event: ev.CandidateRebased, state: State) -> str:
    del state
    head = event.parent[:8]
    return f"{event.island} #{event.experiment} {event.commit[:8]} is now on the new head {head}"


@describe.register
def _(event: ev.CandidateDropped, state: State) -> str:
    del state
    return f"{event.island} #{event.experiment} dropped, {event.reason}"


@describe.register
def _(event: ev.ProposalRefused, state: State) -> str:
    del state
    return f"{event.island} #{event.experiment} refused, {event.rule}: {event.reason}"


@describe.register
def _(event: ev.AgentFailed, state: State) -> str:
    del state
    return f"{event.island} agent {event.agent} failed, {event.error_kind}: {event.reason}"


@describe.register
def _(event: ev.VerdictReached, state: State) -> str:
    gain = f", gain {event.gain.mean:.4g} ± {event.gain.noise:.2g}" if event.gain else ""
    if event.verdict == "discard":
        return f"{event.island} #{event.experiment} discarded{gain}: {event.reason}"
    island = state.islands[event.island]
    if not island.kept or island.kept[-1].experiment != event.experiment:
        return f"{event.island} #{event.experiment} does nothing, and seemed worth keeping"
    score = state.score(island.head)
    return f"{event.island} #{event.experiment} KEPT{gain}, {event.reason}: head at {score:.4f}"


@describe.register
def _(event: ev.StackCheckStarted, state: State) -> str:
    del state
    return f"stack check {event.check}: do {len(event.parts)} changes add up?"


@describe.register
def _(event: ev.StackCheckEnded, state: State) -> str:
    del state
    whole, off = event.observed, event.interaction
    return (
        f"stack check {event.check} {event.verdict}: {whole.mean:+.4g} ± {whole.noise:.2g},"
        f" interaction {off.mean:+.2g} ± {off.noise:.2g},"
        f" {_numbers(event.parts)} stay, {_numbers(event.dropped)} dropped"
    )


def _numbers(experiments: Sequence[int]) -> str:
    return " ".join(f"#{each}" for each in experiments) or "none"


@describe.register
def _(event: ev.PromotionStarted, state: State) -> str:
    rung = state.run.rungs[event.rung]
    again = " again, on fresh seeds" if len(state.run.rungs) == 1 else ""
    return (
        f"promotion {event.check}: {len(event.parts)} changes at depth {rung.depth},"
        f" {rung.seconds:g} s{again}"
    )


@describe.register
def _(event: ev.PromotionEnded, state: State) -> str:
    del state
    time = f"; the base's score in {event.reached:.3g} s" if event.reached else ""
    return f"promotion {event.check} {event.verdict.upper()}: {event.reason}{time}"


@describe.register
def _(event: ev.ConsensusMoved, state: State) -> str:
    branch = f"swarm/{state.run.run}/consensus"
    return f"consensus: {len(event.changes)} commits on {event.base[:8]}, see {branch}"


@describe.register
def _(event: ev.CommitQuarantined, state: State) -> str:
    del state
    what = f"{event.commit[:8]} was built on, and found INVALID by trial {event.trial}"
    back = [f"{each.island} is back at {each.new[:8] or 'nothing'}" for each in event.heads]
    return "; ".join([f"{what}: {len(event.commits)} commits are set apart", *back])


@describe.register
def _(event: ev.SliceQuarantined, state: State) -> str:
    del state
    void = f"{len(event.trials)} trials and {len(event.discards)} discards are void"
    return f"slice {event.slice} SET APART: {event.reason}; {void}"


@describe.register
def _(event: ev.SliceReleased, state: State) -> str:
    del state
    return f"slice {event.slice} is back: {event.reason}"


@describe.register
def _(event: ev.IslandReassigned, state: State) -> str:
    del state
    return f"{event.island} measures on slice {event.slice.name}: {event.reason}"


@describe.register
def _(event: ev.HeadAdopted, state: State) -> str:
    del state
    got = "".join(f" #{number}" for number in event.changes)
    return f"{event.island} caught up with {event.source} at {event.new[:8]}, no trial:{got}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
