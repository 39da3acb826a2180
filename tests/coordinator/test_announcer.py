"""Announcements: the user's command for each claim, at trouble and at the end."""

import asyncio
import json

import pytest

from swarm.coordinator.announcer import Announcer, topic_of
from swarm.coordinator.launch_plan import RunLimits
from tests.coordinator.test_steering import steered


async def tell(command, folder, news, seconds=20.0):
    """Return what was logged when `news` were announced."""
    logged = []
    announcer = Announcer(command, folder, logged.append, seconds)
    task = asyncio.create_task(announcer.run())
    for one in news:
        announcer.announce(one)
    await announcer.finish()
    task.cancel()
    return logged


def test_a_command_gets_each_announcement_as_json_in_order(tmp_path, monkeypatch):
    """In the repository, without any key."""
    monkeypatch.setenv("MY_API_KEY", "sk-secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    news = [{"topic": "claim", "n": 1}, {"topic": "end", "n": 2}]
    assert asyncio.run(tell("cat >> said; env > env", tmp_path, news)) == []
    said = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]
    assert said == news
    env = (tmp_path / "env").read_text()
    assert "LC_ALL" in env and "sk-secret" not in env


@pytest.mark.parametrize(
    ("command", "seconds", "problem"),
    [
        ("echo no route >&2; exit 3", 20.0, "exited with 3: no route"),
        ("exec sleep 100", 0.2, "took longer than 0.2 s"),
        ("no-such-program", 20.0, "exited with 127"),
    ],
)
def test_one_that_fails_is_logged_and_forgotten(tmp_path, command, seconds, problem):
    """And its processes end with it."""
    (line,) = asyncio.run(tell(command, tmp_path, [{}], seconds))
    assert line.startswith(f"notify: `{command}` {problem}")


def test_claims_and_the_end_are_news(tmp_path):
    """No trial and no discard is."""
    run = steered(tmp_path, limits=RunLimits(trials=60))
    topics = [topic_of(event, run.state) for event in run.ledger.kept]
    assert topics.count("claim") == len(run.state.keeps) > 0
    assert topics[-1] == "end" and topics.count(None) == len(topics) - topics.count("claim") - 1
