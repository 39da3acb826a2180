"""The live view of a run: a table redrawn on a terminal, and the log of its events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from analysis.grid import Grid
from analysis.times import duration, lasted
from analysis.untrusted_text import first_line
from harness.contract import VoidCause
from islands import events as ev
from islands.records import Ending, decimal
from islands.state.contention import NOTABLE_SLOWDOWN
from islands.state.population import IslandState
from islands.state.run_state import State
from swarm.cli.console import REPEATS_EXACTLY, unconfined
from swarm.cli.contention_lines import ContentionLines
from swarm.cli.event_log import base_score, describe, mean_score
from swarm.coordinator.launch_plan import RunLimits

FRAME_S = 0.5
"""Seconds between two frames of the live table."""

WITHOUT_VERDICT: tuple[Ending, ...] = ("failed", "refused", "outdated")
"""How experiments end that got no verdict: one column of the table, or 80 columns do not do."""

_NOT_KEPT: Mapping[str, tuple[Ending, ...]] = {
    "quarantined": ("quarantined",),
    "discarded": ("discarded",),
    "no verdict": WITHOUT_VERDICT,
}
"""Columns of the table for experiments that are not kept; the first only where there are any."""


class LiveView:
    """Prints a run's events to `console` and, on a terminal, draws the live table (`show`).

    With `as_json` it prints each event to standard output as the ledger has it instead.
    """

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console, self._as_json = console, as_json
        self.limits = RunLimits()
        """The limits that the footer shows; `launch` sets them."""
        self._started = time.monotonic()
        self._state: State | None = None
        self._contention = ContentionLines()
        self._told_exact = False
        self._best: list[float] = []

    def __call__(self, event: ev.Event, state: State) -> None:
        """Print a line for `event` if it is of interest."""
        self._state = state
        if isinstance(event, ev.VerdictReached):
            self._best.append(best_gain(state))
        if self._as_json:
            click.echo(ev.encode(event))
            return
        if isinstance(event, ev.TrialEnded):
            if (others := self._contention.after(event)) != "":
                self.say(others)
            self._tell_of_repeats(state)
            if (start := base_score(event, state)) != "":
                self.say(start)
            if self._console.is_terminal:
                return  # the live table shows what is being tried
        if (line := describe(event, state)) != "":
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line with the time since the launch."""
        stamp = duration(time.monotonic() - self._started)
        style = "green" if " KEPT: " in line else ""
        self._console.print(Text(f"{stamp}  {line}", style), soft_wrap=True, highlight=False)

    def _tell_of_repeats(self, state: State) -> None:
        """Print a line once one commit on one seed is seen to repeat its score exactly."""
        if not self._told_exact and state.sentinels.exact:
            self._told_exact = True
            self.say(REPEATS_EXACTLY.format(state.sentinels.count))

    async def show(self) -> None:
        """Redraw the live table until cancelled; return at once where there is no terminal."""
        if self._as_json or not self._console.is_terminal:
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                if self._state is not None and self._state.opened is not None:
                    live.update(self._frame(self._state), refresh=True)
                await asyncio.sleep(FRAME_S)

    def _frame(self, state: State) -> RenderableType:
        lines = max(1, self._console.height - _AROUND_ISLANDS)
        best = best_gain(state)
        curve = [Text(f"best gain {curve_of(self._best)} {best:+.4g}")]
        return Group(
            table(state, lines, narrow=self._console.width < _WIDE),
            *(curve if best else ()),
            Text(self._footer(state), style="dim"),
        )

    def _footer(self, state: State) -> str:
        limits = self.limits.over(state.steering)
        minutes = f" of {duration(limits.minutes * 60)}" if limits.minutes is not None else ""
        trials = f" of {limits.trials}" if limits.trials is not None else ""
        usd = f" of ${limits.usd:g}" if limits.usd is not None else ""
        parts = [
            f"{duration(time.monotonic() - self._started)}{minutes}",
            f"{state.trials}{trials} trials",
            f"${state.usd:.2f}{usd}",
            f"noise between seeds {state.scores.noise().sigma:.4g}",
            *_null_keeps(state),
            *_quarantined_slices(state),
            *(
                each.format(name)
                for name, each in state.contention.by_slice.items()
                if each.notable
            ),
        ]
        return " · ".join(parts)


_WIDE = 110
"""Columns from which the live table says how many experiments were not kept."""

_AROUND_ISLANDS = 9
"""Lines of the live view beside those of islands: title, headings, curve, footer, what is left."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE_COLUMNS = 40


def best_gain(state: State) -> float:
    """Return the largest gain of a head over the base, 0 before the first."""
    return max([state.gain(island) or 0.0 for island in state.islands.values()], default=0.0)


def curve_of(values: Sequence[float], columns: int = _CURVE_COLUMNS) -> str:
    """Return `values` as one line of blocks, the largest the highest."""
    step = max(1.0, len(values) / columns)
    chosen = [values[int((n + 1) * step) - 1] for n in range(int(len(values) / step))]
    low, high = min(0.0, *chosen, 0.0), max(*chosen, 0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in chosen)


def _quarantined_slices(state: State) -> Iterator[str]:
    names = [name for name, slice_ in state.sentinels.slices.items() if slice_.quarantine_reason]
    if names:
        yield f"quarantined: {', '.join(names)}"


def _null_keeps(state: State) -> Iterator[str]:
    if state.nulls.tried:
        yield f"A/A tests kept {state.nulls.kept} of {state.nulls.tried}"


def cost_of_disturbance(state: State) -> Iterator[str]:
    """Yield a line on what was void and what it cost, and one on what others took, if notable."""
    voids, contention = state.voids, state.contention
    if voids.causes:
        causes = ", ".join(f"{count} {_CAUSES[cause]}" for cause, count in voids.causes.items())
        yield f"void and run again: {causes}; {lasted(voids.seconds)} of trials"
    if contention.lost > (NOTABLE_SLOWDOWN - 1) * contention.budget:
        slower = 1 + contention.lost / contention.budget
        yield (
            f"others took {lasted(contention.lost)} of the trials' time, which took"
            f" {slower:.1f} times as long; scores are by the time that was left"
        )


_CAUSES: Mapping[VoidCause, str] = {
    "harness": "that the harness could not measure",
    "busy": "that others kept waiting",
    "still": "while everything stood still",
    "signal": "ended by a signal from outside",
    "lost": "whose process ended",
    "drift": "on a slice that was quarantined",
    "model": "whose model did not answer",
}


def table(state: State, lines: int | None = None, *, narrow: bool = False) -> Grid:
    """Return one row per island: head's score, gain, how its experiments ended, what it tries.

    Of more islands than `lines` it shows those with the largest gains, and says how many it leaves
    out. Where it is narrow, what an island tries stands in the place of how many were not kept.
    """
    run = state.run
    islands = state.islands
    baseline = state.scores.baseline()
    marks = f"{run.direction}, {run.evidence}{unconfined(state.weakest_sandbox == 'none')}"
    start = f", base {mean_score(baseline)}" if baseline else ""
    title = f"{run.run}: {run.task}, {run.metric} ({marks}){start}"
    droppable = ("trials", "busy", "no verdict", "discarded", "quarantined", "score")
    grid = Grid(title, rule=True, drop=droppable)
    grid.add_column("island")
    running = state.stopped is None
    lost = any(island.endings.get("quarantined") for island in islands.values())
    not_kept = [heading for heading in _NOT_KEPT if heading != "quarantined" or lost]
    if narrow and running:
        not_kept = []
    for heading in ("score", "gain", "trials", "kept", *not_kept, "busy"):
        grid.add_column(heading, right=True)
    if running:
        grid.add_column("trying", fit="shorten")
    shown = list(islands)
    if lines is not None and len(shown) > lines:
        by_gain = sorted(shown, key=lambda name: -(state.gain(islands[name]) or 0.0))
        shown = [name for name in islands if name in set(by_gain[: max(1, lines - 1)])]
        left = len(islands) - len(shown)
        grid.caption = f"and {left} more with smaller gains: `swarm status` lists all"
    for name in shown:
        grid.add_row(*_row(name, islands[name], state, not_kept, running=running))
    return grid


def _row(
    name: str, island: IslandState, state: State, not_kept: Sequence[str], *, running: bool
) -> Iterator[str]:
    score, gain = state.scores.mean(island.head), state.gain(island)
    yield name
    yield "-" if score is None else decimal(score, 4)
    yield "-" if gain is None else decimal(gain, 4, "+")
    yield str(island.trials)
    yield str(island.endings.get("kept", 0))
    for heading in not_kept:
        yield str(sum(island.endings.get(ending, 0) for ending in _NOT_KEPT[heading]))
    yield f"{100 * state.slice_use(name):.0f} %"
    if running:
        yield _trying(name, island, state)


def _trying(name: str, island: IslandState, state: State) -> str:
    if name in state.steering.paused and all(
        trial.island != name for trial in state.running.values()
    ):
        return "paused"
    if island.experiment is not None:
        return f"{island.experiment.state}: {first_line(island.experiment.hypothesis)}"
    if any(
        trial.island == name and trial.purpose == "baseline" for trial in state.running.values()
    ):
        return "measuring the baseline"
    return "nothing left to try" if island.exhausted else "waiting for its agent"
