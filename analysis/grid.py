"""Tables and lines for a terminal of any width, in which no figure is ever cut.

Where a table is too wide, it gives up in this order: the width of columns of text, the width of
headings, whole columns that its maker named as of least worth (a line says which), and at last its
form: each row is printed down the page, one value a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

LEAST_TEXT: Final = 16
"""A column of text gets no narrower than this, unless all it holds is."""

LONGEST_FIGURE: Final = 24
"""A longer word with a digit in it is a name."""

_GAP: Final = 2
"""Spaces between two columns."""

_WORD: Final = re.compile(r"\S+(?: ± \S+)?")
"""What no line is broken in: a word, or a figure with its standard error."""

Fit = Literal["", "fold", "shorten"]
"""What a column does where there is no room: nothing, fold its text, or end it with `…`."""


@dataclass(slots=True)
class GridColumn:
    """A column of a grid: its header, its side, how it gives way, and its cells."""

    header: str
    right: bool
    fit: Fit
    cells: list[Text] = field(default_factory=list)

    def natural(self) -> int:
        """Return the width at which nothing is folded."""
        return max(cell_len(self.header), self._of_cells())

    def least(self) -> int:
        """Return the smallest width: text may be narrow, a figure stays whole."""
        of_cells = self._of_cells()
        heading = max((cell_len(word) for word in self.header.split()), default=0)
        of_text = max(LEAST_TEXT, self._longest_figure() if self.fit == "fold" else 0)
        return max(heading, min(of_cells, of_text) if self.fit else of_cells)

    def _longest_figure(self) -> int:
        words = (word for cell in self.cells for word in _WORD.findall(cell.plain))
        sizes = (cell_len(word) for word in words if any(map(str.isdigit, word)))
        return max((size for size in sizes if size <= LONGEST_FIGURE), default=0)

    def _of_cells(self) -> int:
        lines = (line for cell in self.cells for line in cell.plain.split("\n"))
        return max(map(cell_len, lines), default=0)

    def at(self, width: int, row: int) -> Text:
        """Return a cell as it stands in a column of this width."""
        cell = self.cells[row]
        return shortened(cell, width) if self.fit == "shorten" else folded(cell, width)


class Grid:
    """A table; `drop` names the columns that it may leave out, those of least worth first.

    With `rule` there is a line below its headings.
    """

    def __init__(self, title: str = "", *, rule: bool = False, drop: Sequence[str] = ()) -> None:
        self.title, self.caption = title, ""
        self._rule, self._drop = rule, tuple(drop)
        self.columns: list[GridColumn] = []
        self._styles: list[str] = []

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return len(self._styles)

    def add_column(self, heading: str, *, right: bool = False, fit: Fit = "") -> None:
        """Add a column: of figures or names, which are never cut, or of text (`fit`)."""
        self.columns.append(GridColumn(heading, right, fit))

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """Add a row with a cell for each column."""
        for column, cell in zip(self.columns, cells, strict=True):
            column.cells.append(Text(cell) if isinstance(cell, str) else cell)
        self._styles.append(style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the title, the table as it fits or its rows down the page, and the caption."""
        del console
        room = options.max_width
        if self.title:
            yield folded(Text(self.title, style="table.title"), room)
        shown, widths = self._fitting(room)
        if shown:
            yield self._table(shown, widths)
        else:
            yield from self._records(room)
        missing = [column.header for column in self.columns if column not in shown]
        if shown and missing:
            columns = "column" if len(missing) == 1 else "columns"
            yield folded(Text(f"no room for the {columns} {', '.join(missing)}", "dim"), room)
        if self.caption:
            yield folded(Text(self.caption, style="table.caption"), room)

    def _fitting(self, room: int) -> tuple[list[GridColumn], list[int]]:
        """Return the columns to show and their widths; none where no choice of them fits."""
        shown = list(self.columns)
        for leave_out in (None, *self._drop):
            shown = [column for column in shown if column.header != leave_out]
            for whole_headings in (True, False):
                gaps = _GAP * (len(shown) - 1)
                widths = _shared(shown, room - gaps, whole_headings=whole_headings)
                if widths:
                    return shown, widths
        return [], []

    def _table(self, shown: list[GridColumn], widths: list[int]) -> Table:
        lines = box.SIMPLE_HEAD if self._rule else None  # its lines are one of the spaces of a gap
        table = Table(box=lines, show_edge=False, pad_edge=False)
        table.padding = (0, _GAP - 1 if self._rule else _GAP, 0, 0)
        for column, width in zip(shown, widths, strict=True):
            table.add_column(
                folded(Text(column.header), width),
                justify="right" if column.right else "left",
                width=width,
                overflow="fold",
            )
        for number, style in enumerate(self._styles):
            cells = (column.at(width, number) for column, width in zip(shown, widths, strict=True))
            table.add_row(*cells, style=style)
        return table

    def _records(self, room: int) -> Iterator[Text]:
        """Yield each row down the page: its first cell, then a line for each value that it has."""
        first, *others = self.columns
        for number, style in enumerate(self._styles):
            name = Text(f"{first.header} " if first.header else "", style)
            yield folded(name + first.cells[number], room)
            for column in others:
                if column.cells[number].plain:
                    label = Text(f"  {column.header}: " if column.header else "  ", style)
                    yield folded(label + column.cells[number], room, indent=4)


def _shared(shown: list[GridColumn], room: int, *, whole_headings: bool) -> list[int]:
    """Return widths that fit into the room, the widest text giving way first; [] for none."""
    least = [column.least() for column in shown]
    if whole_headings:
        least = [
            max(width, cell_len(column.header)) for width, column in zip(least, shown, strict=True)
        ]
    widths = [
        max(width, column.natural() if column.fit else 0)
        for width, column in zip(least, shown, strict=True)
    ]
    while sum(widths) > room:
        place = max(range(len(widths)), key=lambda n: (widths[n] > least[n], widths[n]))
        if widths[place] == least[place]:
            return []
        widths[place] -= 1
    return widths


class Shortened:
    """A line that ends with `…` before the first word that does not fit."""

    def __init__(self, line: Text) -> None:
        self.line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the line as it fits."""
        del console
        yield shortened(self.line, options.max_width)


def shortened(line: Text, room: int) -> Text:
    """Return `line`, ended with `…` before the first word that does not fit; no figure is cut."""
    if cell_len(line.plain) <= room:
        return line
    ends = [match.end() for match in _WORD.finditer(line.plain)]
    end = max((n for n in ends if cell_len(line.plain[:n]) <= room - 2), default=0)
    kept = line.divide([end])[0] if end else Text(style=line.style)
    return kept.append(" …" if end else "…")


def folded(text: Text, room: int, *, indent: int = 0) -> Text:
    """Return `text` broken between words, and in words that are longer than a line."""
    starts: list[int] = []
    begin = 0
    for match in _WORD.finditer(text.plain):
        taken = text.plain[begin : match.end()]
        if "\n" in taken:
            begin = begin + taken.rindex("\n") + 1
        elif begin < match.start() and cell_len(taken) > room - (indent if starts else 0):
            starts.append(begin := match.start())
    lines = text.divide(starts)
    for line in lines:
        line.rstrip()
    return Text("\n" + " " * indent).join(lines)
