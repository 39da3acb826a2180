"""Tables and lines are printed as they are: whole, and without a markup of their own."""

from rich.table import Table

from swarm.cli.console import PIPED_COLUMNS, wide_console

NAME = "loss[val] of [/b] at :smile:"


def test_brackets_in_a_name_are_no_markup(capsys):
    """A metric may be called `loss[val]`, in a title, a cell and a line."""
    grid = Table("score of [red]", title=NAME)
    grid.add_row(NAME)
    for stderr in (False, True):
        wide_console(stderr=stderr).print(grid, NAME)
        seen = capsys.readouterr()[stderr]
        assert seen.count(NAME) == 3
        assert "score of [red]" in seen


def test_a_pipe_gets_whole_lines(capsys, monkeypatch):
    """They are as wide as PIPED_COLUMNS allows, or SWARM_COLUMNS."""
    line = " ".join(["word"] * 40)
    wide_console().print(line)
    assert capsys.readouterr().out == f"{line}\n"
    assert len(line) < PIPED_COLUMNS
    monkeypatch.setenv("SWARM_COLUMNS", "80")
    wide_console().print(line)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
