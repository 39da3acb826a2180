"""`swarm watch`: the same figures in a terminal, with nothing that an agent wrote alive."""

import asyncio
import dataclasses
import os
import re
import shutil
import signal

import pytest

pytest.importorskip("textual", reason="textual is not installed")

from textual.widgets import DataTable, Static

from analysis.dashboard.records import Records
from analysis.ledger import Ledger
from analysis.watch import ChangeScreen, WatchApp
from tests.support.recorded_repo import RUN, another_keep
from tests.support.target import swarm


def test_a_run_is_watched_and_enter_shows_the_evidence(repo, tmp_path):
    """A new keep appears; hostile text is printable text, markup of rich too."""
    shutil.copytree(repo.path, tmp_path / "repo")
    mine = dataclasses.replace(repo, path=tmp_path / "repo")
    now = [0.0]

    async def watched():
        app = WatchApp(Records(mine.path, lambda: now[0]), RUN)
        async with app.run_test(size=(120, 40)) as pilot:
            kept = app.query_one("#kept", DataTable)
            before = [row.value for row in kept.rows]
            number, events = another_keep(mine)
            with Ledger.open(mine.ledger, lambda: 2e9) as ledger:
                ledger.extend(events)
            now[0] += 1e6
            app.draw()
            assert [row.value for row in kept.rows] == [str(number), *before]
            assert "Try <b>tea</b>" in str(kept.get_row(str(number))[-1])
            kept.move_cursor(row=kept.get_row_index(str(repo.kept.experiment)))
            await pilot.press("enter")
            assert isinstance(app.screen, ChangeScreen)
            shown = str(app.screen.query_one(Static).content)
            standing = str(app.screen_stack[0].query_one("#standing", Static).content)
            await pilot.press("escape")
            assert not isinstance(app.screen, ChangeScreen)
            return shown, standing

    shown, standing = asyncio.run(watched())
    assert "[red]bold[/red]" in shown
    assert repo.kept.gain.format() in shown
    assert "+# </pre><script>" in shown
    assert not re.search("[\x00-\x08\x1b\u202a-\u202e\u2066-\u2069]", shown)
    assert "trials, A/A tests kept" in standing


@pytest.mark.parametrize("over_evidence", [False, True])
def test_ctrl_c_ends_it(repo, over_evidence):
    """As q does, and over the evidence on a change, too."""

    async def ended():
        app = WatchApp(Records(repo.path), RUN)
        async with app.run_test(size=(120, 40)) as pilot:
            if over_evidence:
                await pilot.press("enter")
                assert isinstance(app.screen, ChangeScreen)
            await pilot.press("ctrl+c")
            return app._exit

    assert asyncio.run(ended())


def test_sigint_from_outside_ends_it(repo):
    """`kill -INT` is what Ctrl-C is where the terminal is not raw."""

    async def ended():
        app = WatchApp(Records(repo.path), RUN)
        async with app.run_test(size=(120, 40)) as pilot:
            os.kill(os.getpid(), signal.SIGINT)
            await pilot.pause()
            return app._exit

    assert asyncio.run(ended())


def test_without_a_terminal_a_line_says_what_to_use(repo):
    """It draws nothing into a pipe."""
    assert "`swarm status` prints the same once" in swarm(repo.path, "watch", code=2)
