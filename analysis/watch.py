"""Terminal view of a run, with Textual: what the page shows first, for a terminal over ssh.

It reads the record as the page does (analysis/dashboard/records.py), writes nothing, and may be
opened and closed at any time. Its library is the extra `watch`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Header, Static

from analysis.dashboard import pages
from analysis.dashboard.records import Records
from analysis.questions.evidence import ChangeEvidence
from analysis.run import RecordedRun
from analysis.untrusted_text import cut, first_line, printable
from harness.contract import SetupError
from islands.git.plumbing import GitError
from islands.records import Gain

POLL_S: Final = 1.0
"""Seconds between two looks at the record."""

MAX_DIFF_LINES: Final = 400

_STYLES: Final[Mapping[str, str]] = {
    "kept": "green",
    "trouble": "red",
    "steered": "cyan",
    "discarded": "dim",
    "plain": "",
}


class ChangeScreen(ModalScreen[None]):
    """The evidence on one change and its diff; any text in it is inert."""

    BINDINGS: ClassVar = [Binding("escape,q,enter", "dismiss", "Back")]

    def __init__(self, text: Text) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Show the text in a box that scrolls."""
        with VerticalScroll():
            yield Static(self._text)


class WatchApp(App[None]):
    """One run, redrawn as its ledger grows."""

    CSS = """
    #standing { height: auto; padding: 0 1; }
    #islands { height: auto; max-height: 40%; }
    #kept, #events { width: 1fr; height: 1fr; border: round $primary; }
    ChangeScreen VerticalScroll { margin: 1 3; padding: 0 1; border: round $primary; }
    ChangeScreen VerticalScroll { background: $surface; }
    """
    BINDINGS: ClassVar = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),  # over the evidence, too
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, records: Records, run: str) -> None:
        super().__init__()
        self._records, self._run = records, run
        self._shown = -1

    def compose(self) -> ComposeResult:
        """Lay out the standing, the islands, and kept changes beside events."""
        yield Header(icon="")
        yield Static(id="standing")
        yield DataTable(id="islands", cursor_type="none")
        with Horizontal():
            yield DataTable(id="kept", cursor_type="row")
            yield VerticalScroll(Static(id="headlines"), id="events")
        yield Footer()

    def on_mount(self) -> None:
        """Draw at once, and look for more each POLL_S; SIGINT from outside ends it as Ctrl-C."""
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in every thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.exit)
        self.title = self._run
        self.query_one("#kept").border_title = "kept (Enter: evidence)"
        self.query_one("#events").border_title = "events"
        self.query_one("#kept", DataTable).focus()
        self.draw()
        self.set_interval(POLL_S, self.draw)

    def draw(self) -> None:
        """Redraw what the record has new."""
        try:
            found = self._records.answer(self._run, "overview", pages.overview)
        except SetupError as error:
            self.query_one("#standing", Static).update(Text(first_line(str(error))))
            return
        self.query_one("#standing", Static).update(_standing(found.value))
        if found.bytes != self._shown:
            self._shown = found.bytes
            self._fill(found.value)

    def _fill(self, facts: Mapping[str, Any]) -> None:
        _refill(self.query_one("#islands", DataTable), _islands(facts))
        _refill(self.query_one("#kept", DataTable), _kept(facts))
        told = Text("\n").join(
            Text(f"{one.when:%H:%M:%S}  {one.text}", style=_STYLES[one.tone])
            for one in facts["headlines"]
        )
        self.query_one("#headlines", Static).update(told)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the evidence on the change in the row."""
        number = event.row_key.value
        try:
            found = self._records.answer(
                self._run, ("change", number), lambda run: _evidence(run, f"#{number}")
            )
        except SetupError as error:
            self.notify(first_line(str(error)), severity="error", markup=False)
            return
        self.push_screen(ChangeScreen(found.value))


def watch(records: Records, run: str) -> None:
    """Show the run on this terminal until the person leaves."""
    WatchApp(records, run).run()


def _refill(table: DataTable[Text], rows: list[tuple[str, tuple[Text, ...]]]) -> None:
    """Replace all rows but the first, the headings; the cursor stays on its change."""
    before = table.cursor_row
    key = list(table.rows)[before].value if table.row_count > before >= 0 else None
    table.clear(columns=True)
    table.add_columns(*rows[0][1])
    for name, cells in rows[1:]:
        table.add_row(*cells, key=name)
    names = [name for name, _ in rows[1:]]
    if key in names:
        table.move_cursor(row=names.index(key))


def _standing(facts: Mapping[str, Any]) -> Text:
    run, totals = facts["run"], facts["totals"]
    what = f"{run['task']}: {run['metric']}, {run['direction']}, {run['evidence']}"
    counts = (
        f"{totals['kept']} kept of {totals['tried']:,} tried, {totals['trials']:,} trials,"
        f" A/A tests kept {facts['nulls_kept']} of {facts['nulls']}, ${totals['usd']:.2f}"
    )
    return Text(f"{first_line(what)}\n{facts['activity']}; {counts}")


def _islands(facts: Mapping[str, Any]) -> list[tuple[str, tuple[Text, ...]]]:
    headings = ("island", "agent", "head", "score", "gain", "trials", "kept", "trying")
    rows = [("", tuple(map(Text, headings)))]
    for island in facts["islands"]:
        trying = next(iter(island["trying"]), None) if facts["pid"] is not None else None
        what = f"#{trying['experiment']} {first_line(trying['hypothesis'] or '')}" if trying else ""
        score = "-" if island["score"] is None else f"{island['score']:.6g}"
        cells = (
            island["island"],
            island["agent"],
            island["head"][:8],
            score,
            _gain(island),
            f"{island['trials']:,}",
            f"{island['kept']}",
            what[:80],
        )
        rows.append((island["island"], tuple(map(Text, cells))))
    return rows


def _kept(facts: Mapping[str, Any]) -> list[tuple[str, tuple[Text, ...]]]:
    rows = [("", tuple(map(Text, ("#", "gain", "island", "change"))))]
    for row in facts["kept"]:
        idea = cut(first_line(row["hypothesis"]), 100)
        cells = (f"#{row['experiment']}", _gain(row), row["island"], idea)
        rows.append((str(row["experiment"]), tuple(map(Text, cells))))
    return rows


def _gain(row: Mapping[str, Any]) -> str:
    return "-" if row["gain"] is None else Gain(row["gain"], row["noise"] or 0.0, 0).format()


def _evidence(run: RecordedRun, target: str) -> Text:
    """Return the evidence on a change as `swarm why` tells it, and its diff in colours."""
    found, metric = run.why(target), run.opened["metric"]
    shown = Text(
        f"#{found.experiment} {found.ending} on {found.island}, by {found.agent}\n", "bold"
    )
    shown.append(cut(first_line(found.hypothesis), 1000) + "\n\n", "not bold")
    for line in _facts(found, metric):
        shown.append(f"{line}\n", "not bold")
    try:
        diff = run.diff(found.node)
    except GitError as error:
        diff = f"git has no diff of it: {error}"
    lines = diff.splitlines()
    for line in lines[:MAX_DIFF_LINES]:
        tone = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "not bold")
        shown.append(f"\n{printable(line, keep=chr(9))}", tone)
    if len(lines) > MAX_DIFF_LINES:
        shown.append(f"\n({len(lines) - MAX_DIFF_LINES} more lines: swarm why '{target}')")
    return shown


def _facts(found: ChangeEvidence, metric: str) -> Iterator[str]:
    if found.gain is not None:
        yield f"gain {found.gain.format()} {metric} on {found.gain.pairs} pairs"
    if found.reason:
        yield f"because {first_line(found.reason)}"
    for pair in found.pairs:
        void = ", void" if pair.void else ""
        scores = f"head {pair.head:.6g}, candidate {pair.candidate:.6g}"
        yield f"  seed {pair.seed} on {pair.slice}: {scores}, gain {pair.gain:+.4g}{void}"
    for one in found.consequences:
        gain = f", {one.gain.format()}" if one.gain is not None else ""
        yield f"{one.what} {one.where}: {one.result}{gain}"
