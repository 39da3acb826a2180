"""The live view of a run: a table redrawn on a terminal, and a line for each event of interest."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from statistics import fmean, stdev

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from analysis.times import duration
from harness.contract import VoidCause
from islands import events as ev
from islands.events import steering as se
from islands.records import Ending, Gain
from islands.state.contention import NOTABLE_SLOWDOWN
from islands.state.population import IslandState
from islands.state.run_state import State
from islands.steering import said
from swarm.cli.console import plural
from swarm.coordinator.launch_plan import RunLimits

FRAME_S = 0.5
"""Seconds between two frames of the live table."""

LEAST_LOST_S = 0.1
"""Seconds that others took of a trial from which its line says so."""

WITHOUT_VERDICT: tuple[Ending, ...] = ("failed", "refused", "outdated")
"""How experiments end that got no verdict: one column of the table, or 80 columns do not do."""


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
        self._contended: set[str] = set()
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
            self._tell_of_contention(event.started.slice, state)
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

    def _tell_of_contention(self, name: str, state: State) -> None:
        """Print a line when others begin to use a slice, and one when it has its cores again."""
        latest = state.contention.by_slice.get(name)
        if latest is None:
            return
        if latest.notable and name not in self._contended:
            self._contended.add(name)
            self.say(latest.format(name))
        elif latest.negligible and name in self._contended:
            self._contended.discard(name)
            self.say(f"{name}: has its cores to itself again")

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
        curve = [Text(f"best gain {curve_of(self._best)} {self._best[-1]:+.4g}")]
        return Group(
            table(state, lines),
            *(curve if self._best else ()),
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
        yield f"void and run again: {causes}; {voids.seconds / 60:.1f} min of trials"
    if contention.lost > (NOTABLE_SLOWDOWN - 1) * contention.budget:
        slower = 1 + contention.lost / contention.budget
        yield (
            f"others took {contention.lost / 60:.1f} min of the trials' time, which took"
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


def unconfined(some: bool) -> str:
    """Return the mark of a run of which some scores were made with --sandbox none."""
    return ", UNCONFINED" if some else ""


def table(state: State, lines: int | None = None) -> Table:
    """Return one row per island: head's score, gain, how its experiments ended, what it tries.

    Of more islands than `lines` it shows those with the largest gains, and says how many it leaves
    out.
    """
    run = state.run
    islands = state.islands
    baseline = state.scores.baseline()
    marks = f"{run.direction}, {run.evidence}{unconfined(state.weakest_sandbox == 'none')}"
    start = f", base {mean_score(baseline)}" if baseline else ""
    title = f"{run.run}: {run.task}, {run.metric} ({marks}){start}"
    grid = Table(
        title=Text(title), box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), expand=True
    )
    grid.add_column("island", no_wrap=True)
    for heading in ("score", "gain", "trials", "kept", "discarded", "no verdict", "busy"):
        grid.add_column(Text(heading), justify="right", no_wrap=True)
    grid.add_column("trying", ratio=1, no_wrap=True, overflow="ellipsis")
    shown = list(islands)
    if lines is not None and len(shown) > lines:
        by_gain = sorted(shown, key=lambda name: -(state.gain(islands[name]) or 0.0))
        shown = [name for name in islands if name in set(by_gain[: max(1, lines - 1)])]
        left = len(islands) - len(shown)
        grid.caption = f"and {left} more with smaller gains: `swarm status` lists all"
    for name in shown:
        grid.add_row(*(Text(cell) for cell in _row(name, islands[name], state)))
    return grid


def _row(name: str, island: IslandState, state: State) -> Iterator[str]:
    score, gain = state.scores.mean(island.head), state.gain(island)
    yield name
    yield "-" if score is None else f"{score:.4f}"
    yield "-" if gain is None else f"{gain:+.4f}"
    yield str(island.trials)
    yield str(island.endings.get("kept", 0))
    yield str(island.endings.get("discarded", 0))
    yield str(sum(island.endings.get(ending, 0) for ending in WITHOUT_VERDICT))
    yield f"{100 * state.slice_use(name):.0f} %"
    yield _trying(name, island, state)


def _trying(name: str, island: IslandState, state: State) -> str:
    if state.stopped is not None:
        return ""
    if name in state.steering.paused and all(
        trial.island != name for trial in state.running.values()
    ):
        return "paused"
    if island.experiment is not None:
        return f"{island.experiment.state}: {_subject(island.experiment.hypothesis)}"
    if any(
        trial.island == name and trial.purpose == "baseline" for trial in state.running.values()
    ):
        return "measuring the baseline"
    return "nothing left to try" if island.exhausted else "waiting for its agent"


@singledispatch
def describe(event: ev.Event, state: State) -> str:
    """Return one line that tells a person of `event`, "" where it is not of interest."""
    del event, state
    return ""


@describe.register
def run_opened(event: ev.RunOpened, state: State) -> str:
    """Name the run, the branch and the commit it starts from, and the harness."""
    del state
    return f"run {event.run} starts on {event.target} at {event.base[:8]}, harness {event.harness}"


@describe.register
def run_resumed(event: ev.RunResumed, state: State) -> str:
    """Say how far the run had come."""
    del event
    return f"run {state.run.run} resumes after {plural(state.trials, 'trial')}"


@describe.register
def run_stopped(event: ev.RunStopped, state: State) -> str:
    """Say why, and after how many trials."""
    return f"run stopped ({event.reason}) after {plural(state.trials, 'trial')}"


@describe.register
def trial_ended(event: ev.TrialEnded, state: State) -> str:
    """Give the score, or what failed, and the seconds of the trial's budget that it used."""
    outcome = event.outcome
    ending = f"score {outcome.score:.6g}" if outcome.score is not None else ""
    if outcome.failure is not None:
        ending = f"failed, {outcome.failure.kind}: {outcome.failure.reason}"
    lost = outcome.seconds.get("lost", 0.0)
    waited = f", others took {lost:.1f} s more" if lost >= LEAST_LOST_S else ""
    trial = f"{_trial(event.started)}{_of(event.started, state)}"
    return f"{trial}: {ending} ({outcome.seconds.get('budget', 0.0):.1f} s{waited})"


def _of(started: ev.TrialStarted, state: State) -> str:
    """Return what a trial ran if it was not its experiment's candidate."""
    if not started.experiment:
        return "" if started.purpose in {"baseline", "sentinel"} else f" of {started.commit[:8]}"
    open_ = state.islands[started.island].experiment
    of_head = open_ is not None and open_.number == started.experiment
    return " of the head" if open_ and of_head and open_.commit != started.commit else ""


def base_score(event: ev.TrialEnded, state: State) -> str:
    """Return where the run starts, once the last baseline trial is done; "" for other trials."""
    if event.started.purpose != "baseline" or state.opened is None:
        return ""
    scores, wanted = state.scores.baseline(), len(state.scores.baseline_seeds())
    if len(scores) < wanted:
        return ""
    return f"the base scores {mean_score(scores)} on {plural(wanted, 'seed')}"


def mean_score(scores: Sequence[float]) -> str:
    """Return the mean of a commit's scores, with its standard error where there is one."""
    if len(scores) < 2:  # noqa: PLR2004 - one score has no spread
        return f"{scores[0]:.6g}"
    error = stdev(scores) / math.sqrt(len(scores))
    return Gain(fmean(scores), error, len(scores)).format().removeprefix("+")


@describe.register
def trial_voided(event: ev.TrialVoided, state: State) -> str:
    """Say why the trial does not count."""
    del state
    return f"{_trial(event.started)} is void and runs again: {event.reason}"


@describe.register
def commit_checked(event: ev.CommitChecked, state: State) -> str:
    """Say whether the checks passed, and which one failed."""
    commands = plural(len(state.run.checks), "check")
    subject = f"{event.island} #{event.experiment}" if event.experiment else "the base"
    if event.stack:
        subject = f"a combination of stack check {event.stack}"
    elif event.promotion:
        subject = f"the stack of promotion {event.promotion}"
    if event.ok:
        return f"{subject} passes {commands} ({event.seconds:.1f} s)"
    return f"{subject} fails a check: {event.reason}"


@describe.register
def migrant_offered(event: ev.MigrantOffered, state: State) -> str:
    """Name the change that an island tries, and where it comes from."""
    del state
    migrant = event.migrant
    change = f"#{migrant.experiment} of {migrant.island}: {_subject(migrant.hypothesis)}"
    return f"{event.island} #{event.experiment} tries change {change}"


@describe.register
def candidate_admitted(event: ev.CandidateAdmitted, state: State) -> str:
    """Give the candidate's commit, its size in lines and its hypothesis."""
    queue = [one for one in state.islands[event.island].queue if one.number == event.experiment]
    experiment = f"{event.island} #{event.experiment} {event.commit[:8]}"
    if any(one.null for one in queue):
        return f"{experiment} is an A/A test: a change that does nothing"
    ideas = "".join(_subject(one.hypothesis) for one in queue)
    return f"{experiment} (+{event.added} -{event.removed} lines): {ideas}"


@describe.register
def candidate_rebased(event: ev.CandidateRebased, state: State) -> str:
    """Give the commits of the candidate and of the new head below it."""
    del state
    commit, head = event.commit[:8], event.parent[:8]
    return f"{event.island} #{event.experiment} rebased on the new head {head}: {commit}"


@describe.register
def candidate_dropped(event: ev.CandidateDropped, state: State) -> str:
    """Say why the candidate is not tried."""
    del state
    return f"{event.island} #{event.experiment} outdated: {event.reason}"


@describe.register
def proposal_refused(event: ev.ProposalRefused, state: State) -> str:
    """Name the rule and the reason."""
    del state
    return f"{event.island} #{event.experiment} refused, {event.rule}: {event.reason}"


@describe.register
def agent_failed(event: ev.AgentFailed, state: State) -> str:
    """Name the agent and its error."""
    del state
    if event.error_kind == "exhausted":
        return f"{event.island} agent {event.agent} has nothing left to try: {event.reason}"
    return f"{event.island} agent {event.agent} failed, {event.error_kind}: {event.reason}"


@describe.register
def verdict_reached(event: ev.VerdictReached, state: State) -> str:
    """Give the verdict, the gain with its standard error, the reason and the head's score."""
    gain = f"gain {event.gain.format()}, " if event.gain and not event.simpler else ""
    experiment = f"{event.island} #{event.experiment}"
    if event.verdict == "discard":
        null = " (A/A test)" if event.null else ""
        return f"{experiment}{null} discarded: {gain}{event.reason}"
    if event.null:
        return f"{experiment} is an A/A test and was kept, a false keep: {gain}{event.reason}"
    score = state.scores.mean(state.islands[event.island].head)
    return f"{experiment} KEPT: {gain}{event.reason}; head scores {score:.4f}"


@describe.register
def stack_check_started(event: ev.StackCheckStarted, state: State) -> str:
    """Say how many changes are checked together."""
    del state
    return f"stack check {event.number}: do {plural(len(event.parts), 'kept change')} add up?"


@describe.register
def stack_check_ended(event: ev.StackCheckEnded, state: State) -> str:
    """Give the verdict, the gain of the whole and its interaction, and what stays."""
    del state
    return (
        f"stack check {event.number} {event.verdict}: gain {event.observed.format()},"
        f" interaction {event.interaction.format()},"
        f" {_numbers(event.parts)} stay, {_numbers(event.dropped)} dropped"
    )


@describe.register
def promotion_started(event: ev.PromotionStarted, state: State) -> str:
    """Give the rung and how many changes are measured there."""
    rung = state.run.rungs[event.rung]
    again = ", the only rung, on fresh seeds" if len(state.run.rungs) == 1 else ""
    return (
        f"promotion {event.number}: {plural(len(event.parts), 'change')} at rung {event.rung}"
        f" (depth {rung.depth}, {rung.seconds:g} s){again}"
    )


@describe.register
def promotion_ended(event: ev.PromotionEnded, state: State) -> str:
    """Give the verdict and, where known, how soon the base's score is reached."""
    del state
    time = f"; reaches the base's score in {event.reached:.3g} s" if event.reached else ""
    return f"promotion {event.number} {event.verdict.upper()}: {event.reason}{time}"


@describe.register
def consensus_moved(event: ev.ConsensusMoved, state: State) -> str:
    """Name the consensus branch and what it holds."""
    branch = f"swarm/{state.run.run}/consensus"
    return f"consensus: {plural(len(event.changes), 'commit')} on {event.base[:8]}, branch {branch}"


@describe.register
def fresh_checked(event: ev.FreshChecked, state: State) -> str:
    """Give the gains on fresh data and on dev."""
    del state
    gains = f"{event.fresh.format()} on fresh data, {event.dev.format()} on dev"
    ending = "holds" if event.ok else "DOES NOT HOLD"
    return f"{event.island} #{event.experiment}: gain {ending}: {gains}"


@describe.register
def commit_quarantined(event: ev.CommitQuarantined, state: State) -> str:
    """Name the invalid commit and the islands that fell back."""
    del state
    if event.trial:
        commit = f"{event.commit[:8]} is INVALID by trial {event.trial}"
    else:
        commit = f"{event.commit[:8]} is dropped"
    back = [f"{head.island} falls back to {head.new[:8] or 'no commit'}" for head in event.heads]
    return "; ".join([f"{commit}: {plural(len(event.commits), 'commit')} quarantined", *back])


@describe.register
def slice_quarantined(event: ev.SliceQuarantined, state: State) -> str:
    """Say why the slice is quarantined and what becomes void with it."""
    del state
    void = f"{plural(len(event.trials), 'trial')}, {plural(len(event.discards), 'discard')} void"
    return f"slice {event.slice} QUARANTINED: {event.reason}; {void}"


@describe.register
def slice_released(event: ev.SliceReleased, state: State) -> str:
    """Say why the slice is used again."""
    del state
    return f"slice {event.slice} is no longer quarantined: {event.reason}"


@describe.register
def island_reassigned(event: ev.IslandReassigned, state: State) -> str:
    """Name the slice that the island's trials run on from now on."""
    del state
    return f"{event.island} now runs on slice {event.slice.name}: {event.reason}"


@describe.register
def head_adopted(event: ev.HeadAdopted, state: State) -> str:
    """Name the island whose head was adopted and the changes that came with it."""
    del state
    source = f"the head {event.new[:8]} of {event.source}"
    return f"{event.island} adopts {source} without a trial: {_numbers(event.changes)}"


@describe.register
def steered(event: se.Steered, state: State) -> str:
    """Say what a person said, or what came of it."""
    del state
    return said(event)


def _trial(started: ev.TrialStarted) -> str:
    experiment = f" #{started.experiment}" if started.experiment else ""
    return f"{started.island}{experiment} {started.purpose} trial {started.trial}"


def _numbers(experiments: Sequence[int]) -> str:
    return " ".join(f"#{number}" for number in experiments) or "none"


def _subject(hypothesis: str) -> str:
    return hypothesis.partition("\n")[0]
