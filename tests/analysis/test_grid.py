"""Tables and lines for any width: text gives way, then columns, and a figure never."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from analysis.grid import Grid, folded, shortened

FIGURE = re.compile(r"\S*\d\S*(?: ± \S+)?")


def printed(what, columns):
    """Return what a terminal of that width shows."""
    out = io.StringIO()
    Console(file=out, width=columns, markup=False, highlight=False).print(what)
    return out.getvalue()


def changes(**more):
    """A table with a name, two figures, and text."""
    grid = Grid("stack 7: gain +142.8 ± 3.4", **more)
    grid.add_column("change")
    for header in ("kept for", "95 %"):
        grid.add_column(header, right=True)
    grid.add_column("hypothesis", fit="shorten")
    grid.add_row("#12", "+139.5 ± 2.1", "[+135.4, +143.6]", "Raise RATE from 1024 to 4096")
    return grid


def test_text_gives_way_first():
    """It ends before a word that does not fit, and every figure is whole."""
    wide, narrow = printed(changes(), 80), printed(changes(), 60)
    assert "Raise RATE from 1024 to 4096" in wide
    assert "#12     +139.5 ± 2.1  [+135.4, +143.6]  Raise RATE from …" in narrow


def test_then_columns_of_least_worth_go_and_a_line_says_which():
    """One after the other, until the rest fits."""
    seen = printed(changes(drop=("95 %", "kept for")), 45)
    assert "no room for the column 95 %\n" in seen
    assert "#12     +139.5 ± 2.1  Raise RATE from 1024…" not in seen
    assert "+139.5 ± 2.1" in seen
    assert "135.4" not in seen


def test_then_each_row_is_printed_down_the_page():
    """Where no column may go: one value a line, whole."""
    assert printed(changes(), 30) == (
        "stack 7: gain +142.8 ± 3.4\nchange #12\n  kept for: +139.5 ± 2.1\n"
        "  95 %: [+135.4, +143.6]\n  hypothesis: Raise RATE from\n    1024 to 4096\n"
    )


def test_a_heading_folds_between_words_before_a_column_goes():
    """`hours per loss` takes the width of `hours`."""
    grid = Grid(drop=("hours per loss",))
    for header in ("hours per loss", "kept"):
        grid.add_column(header, right=True)
    grid.add_row("0.125", "3")
    assert printed(grid, 12) == "hours      \n  per      \n loss  kept\n0.125     3\n"


@pytest.mark.parametrize(
    ("room", "seen"),
    [
        (40, "from 48.25 ± 0.5 to 64"),
        (20, "from 48.25 ± 0.5 …"),
        (17, "from …"),
        (6, "from …"),
        (3, "…"),
    ],
)
def test_a_line_is_shortened_between_figures(room, seen):
    """Neither a number nor its standard error is cut."""
    assert shortened(Text("from 48.25 ± 0.5 to 64"), room).plain == seen


def test_a_text_is_folded_between_figures():
    """A figure stays on one line with its standard error."""
    assert folded(Text("gain +0.5 ± 0.1, kept"), 12).plain == "gain\n+0.5 ± 0.1,\nkept"


words = st.text("abcdé#{}0123456789.±", min_size=1, max_size=9)
figures = st.floats(-1e6, 1e6).map(lambda x: f"{x:+.4g}")
gains = st.tuples(figures, figures).map(" ± ".join)
kinds = st.sampled_from(["", "fold", "shorten"])


@given(st.data(), st.integers(30, 120))
def test_no_width_cuts_a_figure(data, columns):
    """Every figure of a column that is shown is whole, and no line shows another figure."""
    cells = {"": gains, "fold": st.lists(figures, max_size=5).map(" ".join)}
    fits = data.draw(st.lists(st.sampled_from(list(cells)), min_size=1, max_size=7))
    headers = [f"h{chr(97 + n)}" for n in range(len(fits))]
    grid = Grid(drop=data.draw(st.lists(st.sampled_from(headers), unique=True)))
    for header, fit in zip(headers, fits, strict=True):
        grid.add_column(header, right=not fit, fit=fit)
    rows = data.draw(st.integers(0, 3))
    for _ in range(rows):
        grid.add_row(*(data.draw(cells[fit]) for fit in fits))
    seen = printed(grid, columns)
    left_out = re.findall(r"\bh\w\b", " ".join(seen.partition("no room for")[1:]))
    wanted = [
        figure
        for column in grid.columns
        for cell in column.cells
        for figure in FIGURE.findall(cell.plain)
        if column.header not in left_out
    ]
    assert sorted(FIGURE.findall(seen)) == sorted(wanted)
