"""Every command's table in terminals of several widths: no figure is cut into another."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.grid import Grid
from swarm.cli.main import swarm
from tests.support.recorded_run import RUN, recorded_run

FIGURE = re.compile(r"[^\s│├└─]*\d[^\s]*(?: ± \S+)?")
"""A word with a digit, with the standard error that follows it."""

ROW = re.compile(r"(?m)^row \d+$")
"""The line above a row that `query` prints down the page."""

WIDE = 1000


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Return the repository of the recorded run."""
    repo = tmp_path_factory.mktemp("night")
    folder = recorded_run(repo)
    shutil.copytree(folder, folder.with_name("again"))
    return repo


def shown(words, columns, monkeypatch):
    """Return what a command prints at a width, and the tables in it."""
    grids = []
    build = Grid.__init__

    def noted(grid, *args, **kwargs):
        grids.append(grid)
        build(grid, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Grid, "__init__", noted)
        patch.setenv("SWARM_COLUMNS", str(columns))
        done = CliRunner().invoke(swarm, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output, grids


def figures(text):
    """Return the figures in what a command printed; a colon follows a name down the page."""
    return {each.rstrip(":") for each in FIGURE.findall(ROW.sub("", text))}


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["runs"],
        ["why", "#55", "--no-diff"],
        ["tried", "PAIR_LR"],
        ["tried", "--like", "#48"],
        ["ablation"],
        ["cost"],
        ["compare", RUN, "again"],
        ["transfer"],
        ["migrations"],
        ["slices"],
        ["lineage"],
        ["lineage", "--kept"],
        ["query", "SELECT experiment, gain, noise, hypothesis FROM kept"],
        ["query", "FROM nodes LIMIT 3"],
        ["cost", "--arms"],
    ],
    ids=" ".join,
)
def test_no_width_cuts_a_figure(night, monkeypatch, words, columns):
    """What a narrow terminal shows is in the wide one too, and all of a table is there or named."""
    monkeypatch.chdir(night)
    wide, _ = shown(words, WIDE, monkeypatch)
    narrow, grids = shown(words, columns, monkeypatch)
    assert figures(narrow) <= figures(wide)
    left_out = re.findall(r"no room for the columns?((?:.+\n)*)", narrow)
    names = {name.strip() for each in left_out for name in " ".join(each.split()).split(",")}
    for grid in grids:
        for column in grid.columns:
            if column.fit != "shorten" and column.header not in names:
                cells = "\n".join(cell.plain for cell in column.cells)
                assert figures(cells) <= figures(narrow)


def test_every_table_of_a_command_is_such_a_one():
    """None is rich's own, which cuts figures; `query` prints rows down the page itself."""
    homes = [Path(swarm.callback.__code__.co_filename).parent]
    homes += [home.parent.parent / "simulation" for home in homes]
    files = [path for home in homes for path in home.glob("*.py")]
    assert len(files) > 40
    assert [path.name for path in files if "rich.table" in path.read_text()] == ["query.py"]
