"""The feed: new events are told of as they are recorded, however long the ledger is."""

import asyncio
import dataclasses
import json
import shutil
import urllib.error
import urllib.request

import pytest

from analysis.dashboard import feed
from analysis.dashboard.headlines import MAX_TEXT, Headline, brief, headlines
from analysis.ledger import NAME, Ledger
from tests.support.recorded_repo import EVIL, RUN, another_keep, dashboard
from tests.support.target import environment, swarm


@pytest.fixture
def mine(repo, tmp_path):
    """Return a copy of the recorded repository, to write to."""
    shutil.copytree(repo.path, tmp_path / "repo")
    return dataclasses.replace(repo, path=tmp_path / "repo")


def appended(repo):
    """Record one more kept change; return its number."""
    number, events = another_keep(repo)
    with Ledger.open(repo.ledger, lambda: 2e9) as ledger:
        ledger.extend(events)
    return number


def test_the_latest_headlines_are_those_of_the_whole_ledger(repo, monkeypatch):
    """Read from its end; hostile text is one short printable line."""
    every = list(headlines(repo.events))
    assert feed.latest(repo.ledger, 1000) == list(brief(every[::-1]))
    monkeypatch.setattr(feed, "TAIL_BYTES", 40_000)
    assert (repo.ledger / NAME).stat().st_size > feed.TAIL_BYTES
    assert feed.latest(repo.ledger, 5) == list(brief(every[::-1]))[:5]
    assert all(len(one.text) <= MAX_TEXT and one.text.isprintable() for one in every)
    kept = [one for one in every if one.experiment == repo.kept.experiment]
    assert {"kept"} & {one.tone for one in kept}
    assert EVIL[:40] in " ".join(one.text for one in kept)


def test_a_row_of_discards_is_one_line(repo):
    """Kept changes stay lines of their own."""
    one = Headline(None, "a #1 discarded", "discarded", 1)
    kept = Headline(None, "a #9 kept", "kept", 9)
    row = [dataclasses.replace(one, experiment=n) for n in (4, 7, 2)]
    told = [each.text for each in brief([kept, *row, kept, one])]
    assert told == ["a #9 kept", "3 discarded, #2 to #7", "a #9 kept", "a #1 discarded"]


def test_a_new_keep_is_sent_when_it_is_recorded(mine, monkeypatch):
    """Half a line is not; the feed ends when the server does."""
    monkeypatch.setattr(feed, "POLL_S", 0.0)
    ended = []

    async def told():
        messages = feed.stream(mine.ledger, lambda: bool(ended))
        size = (mine.ledger / "ledger.jsonl").stat().st_size
        first = (await anext(messages)).splitlines()[-2]
        assert json.loads(first.removeprefix("data: ")) == {"bytes": size, "headlines": []}
        number = appended(mine)
        event, data = (await anext(messages)).split("\n")[:2]
        assert event == "event: recorded"
        found = json.loads(data.removeprefix("data: "))["headlines"]
        assert [(one["experiment"], one["tone"]) for one in found] == [(number, "kept")]
        assert "Try <b>tea</b>" in found[0]["text"]
        ended.append(True)
        return [message async for message in messages]

    assert asyncio.run(told()) == []


def test_the_served_page_tells_of_a_new_keep_and_shows_it(mine):
    """Over HTTP, from a process of its own that no coordinator runs in; Ctrl-C ends it."""
    with dashboard(mine.path, "--token") as at:
        base = f"http://{at.netloc}"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(base)
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert browser.open(at.geturl()).status == 200
        with browser.open(f"{base}/runs/{RUN}/events", timeout=30) as stream:
            assert stream.readline() == b"retry: 2000\n"
            number = appended(mine)
            told = set()
            while number not in told:  # its events may come in several pieces
                line = stream.readline()
                if line.startswith(b'data: {"bytes'):
                    told |= {one["experiment"] for one in json.loads(line[5:])["headlines"]}
        assert b"Try &lt;b&gt;tea" in browser.open(f"{base}/runs/{RUN}/changes/{number}").read()


def test_without_the_extra_a_line_names_the_command(tmp_path, repo):
    """Where Starlette or uvicorn is missing; outside of a repository it says that."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\nsys.modules['uvicorn'] = None\nsys.modules['starlette'] = None\n"
    )
    path = f"{hidden}:{environment()['PYTHONPATH']}"
    error = swarm(repo.path, "dashboard", code=2, PYTHONPATH=path)
    fix = "pip install 'swarm-ratchet[dashboard]'"
    assert error == f"swarm: the page needs starlette and uvicorn: {fix}\n"
    assert "not in a git repository" in swarm(tmp_path, "dashboard", code=2)
