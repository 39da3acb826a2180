"""Steering from the page: each form is a command, recorded as one; nobody else's form is."""

import dataclasses
import shutil

import pytest
from starlette.testclient import TestClient

from analysis.dashboard.access import Access
from analysis.dashboard.app import build
from analysis.dashboard.steer import MAX_FORM_BYTES, command_of, form_of
from analysis.ledger import read_events
from harness.contract import SetupError
from islands import steering
from islands.events import steering as se
from swarm.coordinator.inbox import send
from swarm.project.runs import RunFolder
from tests.support.recorded_repo import RUN

TOKEN = "t0ken-" + "x" * 26
BASE = "http://127.0.0.1:8765"
AT = f"/runs/{RUN}"


@pytest.fixture(scope="module")
def mine(repo, tmp_path_factory):
    """Return a copy of the recorded repository, to write to."""
    path = tmp_path_factory.mktemp("steer") / "repo"
    shutil.copytree(repo.path, path)
    return dataclasses.replace(repo, path=path)


@pytest.fixture
def person(mine):
    """Return the browser of somebody who opened the address with the token."""

    def steer(run, command):
        send(RunFolder(mine.path, run), command)

    client = TestClient(build(mine.path, Access(token=TOKEN), steer), base_url=BASE)
    assert client.get(f"{AT}?token={TOKEN}").status_code == 200
    return client


def post(client, fields, **headers):
    """Post a form of the run's page as a browser does."""
    return client.post(f"{AT}/steer", data=fields, headers={"origin": BASE, **headers})


def steered(repo):
    """Return the steering events in the ledger, with neither time nor request."""
    found = [e for _, e in read_events(repo.ledger / "ledger.jsonl") if isinstance(e, se.Command)]
    return [dataclasses.replace(event, request="", recorded=0.0) for event in found]


def test_a_form_is_recorded_as_a_command_and_shown(person, mine):
    """A note in the person's own words, quoted and inert; a pause; a limit."""
    words = "try <b>shorter</b> warmups"
    assert post(person, {"command": "note", "text": words}).status_code == 200
    assert post(person, {"command": "pause", "island": mine.kept.island}).status_code == 200
    post(person, {"command": "limits", "limit": "trials", "value": "500", "back": "7"})
    paused = se.IslandsPaused((mine.kept.island,))
    assert steered(mine) == [se.NoteAdded(1, words), paused, se.LimitsSet({"trials": 500.0})]
    page = person.get(AT).text
    assert "try &lt;b&gt;shorter&lt;/b&gt; warmups" in page
    assert f"Resume {mine.kept.island}" in page
    assert (
        f"Drop #{mine.kept.experiment}" in person.get(f"{AT}/changes/{mine.kept.experiment}").text
    )
    refused = post(person, {"command": "pause", "island": mine.kept.island})
    assert refused.status_code == 409
    assert "is paused already" in refused.text
    assert post(person, {"command": "stop"}).status_code == 409
    assert post(person, {"command": "nonsense"}).status_code == 409
    assert len(steered(mine)) == 3


def test_no_other_site_and_nobody_without_the_token_steers(person, mine):
    """Even with the cookie another origin is refused, and so is a form without an origin."""
    before, fields = steered(mine), {"command": "note", "text": "x"}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        assert post(person, fields, origin=origin).status_code == 403
    assert person.post(f"{AT}/steer", data=fields).status_code == 403
    assert post(person, fields, host="evil.example").status_code == 403
    assert post(person, fields, **{"sec-fetch-site": "cross-site"}).status_code == 403
    person.cookies.clear()
    assert post(person, fields).status_code == 403
    named = person.post(f"{AT}/steer?token={TOKEN}", data=fields, headers={"origin": BASE})
    assert named.status_code == 403
    assert steered(mine) == before


@pytest.mark.parametrize(
    ("form", "command"),
    [
        ("command=note&text=a+b&island=x", steering.AddNote("a b", "x")),
        ("command=withdraw&number=3", steering.WithdrawNote(3)),
        ("command=pause", steering.PauseIslands()),
        ("command=resume&island=x", steering.ResumeIslands("x")),
        ("command=stop", steering.StopLaunch()),
        ("command=restart&commit=abcd&island=x", steering.RestartIsland("abcd", "x")),
        ("command=drop&experiment=12", steering.DropChange(12)),
        ("command=limits&limit=usd&value=2.5", steering.SetLimits({"usd": 2.5})),
        ("command=limits&limit=stop_at&value=none", steering.SetLimits({"stop_at": None})),
    ],
)
def test_each_command_has_a_form(form, command):
    """The commands of the command line."""
    assert command_of(form_of(form.encode())) == command


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"command=",
        b"a=1&" * 30,
        b"command=drop&experiment=1e3",
        b"command=withdraw&number=-1",
        b"command=limits&limit=x&value=1",
        b"command=limits&limit=usd&value=much",
        b"command=limits&limit=usd&value=",
        b"command=limits&limit=usd&value=nan",
        b"command=limits&limit=usd&value=1e999",
        b"x" * (MAX_FORM_BYTES + 1),
    ],
)
def test_any_other_form_is_refused_in_a_line(body):
    """Never a traceback."""
    with pytest.raises(SetupError, match=r"\A[^\n]+\Z"):
        command_of(form_of(body))
