"""Who is answered: requests by another name, from another site or without the token are refused."""

import pytest
from starlette.testclient import TestClient

from analysis.dashboard import serve
from analysis.dashboard.access import Access
from analysis.dashboard.app import build
from harness.contract import SetupError
from tests.support.recorded_repo import RUN

TOKEN = "t0ken-" + "x" * 26


@pytest.fixture(scope="module")
def client(repo):
    """Return a browser on the page that anybody here may read."""
    app = build(repo.path, Access(token=TOKEN))
    return TestClient(app, base_url="http://127.0.0.1:8765")


@pytest.fixture
def guarded(repo):
    """Return a browser, with no cookies yet, on the page with a token."""
    app = build(repo.path, Access(token=TOKEN, guarded=True))
    return TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8765"},
        {"host": "127.0.0.1.evil.example"},
        {"host": ""},
        {"host": "["},
        {"host": "localhost@evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8765"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    ],
)
def test_another_host_or_origin_is_refused(client, headers):
    """On every path, the feed and the static files too."""
    for path in ("/", f"/runs/{RUN}", f"/runs/{RUN}/events", "/static/page.css", "/none"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 403, path
        assert answer.text.startswith("refused: ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_whoever_reads_can_do_nothing_else(client, method):
    """Without the token, on no path."""
    for path in (f"/runs/{RUN}", f"/runs/{RUN}/steer"):
        headers = {"origin": "http://127.0.0.1:8765"}
        answer = client.request(method, path, headers=headers, content="command=stop")
        assert answer.status_code == 403
    assert '<form class="ask"' not in client.get(f"/runs/{RUN}").text


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8765"},
        {"host": "LOCALHOST"},
        {"host": "[::1]:9000"},
        {"host": "127.0.0.1:1234", "origin": "http://127.0.0.1:1234"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    ],
)
def test_own_names_on_any_port_and_links_are_answered(client, headers):
    """Ports may be forwarded by ssh, and a person may follow a link."""
    assert client.get("/", headers=headers).status_code == 200


def test_browsers_are_told_to_load_and_run_nothing_else(client):
    """By headers on pages, static files, data and refusals alike."""
    for path in ("/", "/static/live.js", f"/runs/{RUN}/charts/lanes.json", "/none"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert client.get(path).headers["x-content-type-options"] == "nosniff"
    refused = client.get("/", headers={"host": "evil.example"})
    assert refused.headers["x-frame-options"] == "DENY"
    picture = client.get(f"/runs/{RUN}/pictures/slices.svg").headers["content-security-policy"]
    assert picture == "default-src 'none'; style-src 'unsafe-inline'; sandbox"


def test_a_page_with_a_token_answers_nobody_without_it(guarded):
    """Neither a wrong one nor a part of it."""
    for path in ("/", "/?token=", "/?token=wrong", f"/?token={TOKEN[:-1]}", "/static/live.js"):
        assert guarded.get(path).status_code == 403, path
    guarded.cookies.set("swarm-token", "wrong")
    assert guarded.get("/").status_code == 403


def test_the_token_moves_from_the_address_into_a_cookie(guarded):
    """Which scripts cannot read and other sites cannot send; the rest of the address stays."""
    answer = guarded.get(f"/compare?a={RUN}&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/compare?a={RUN}")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert guarded.get("/").status_code == 200
    assert guarded.get("/", headers={"host": "evil.example"}).status_code == 403


def test_the_way_without_the_token_stays_on_this_server(guarded):
    """A path that a browser would read as another host's is none."""
    answer = guarded.get(f"http://127.0.0.1:8765//evil.example/?token={TOKEN}")
    assert answer.headers["location"] == "/evil.example/"


def test_off_loopback_reading_needs_the_token_too():
    """On loopback when asked for; steering needs it everywhere."""
    for host, asked in (("127.0.0.1", False), ("127.0.0.1", True), ("0.0.0.0", False)):
        served = serve.listen(host, 0, token=asked)
        served.listener.close()
        assert served.access.guarded == (asked or host == "0.0.0.0")
        assert served.url.endswith(f"?token={served.access.token}")
        assert len(served.access.token) >= 32
        assert {"127.0.0.1", "localhost"} <= served.access.hosts
        assert "evil.example" not in served.access.hosts


def test_an_address_that_cannot_be_had_is_a_line():
    """A taken port that was asked for, a port that is ours, a host that is not."""
    taken = serve.listen("127.0.0.1", 0)
    port = taken.listener.getsockname()[1]
    with pytest.raises(SetupError, match=f"--port {port}: .*; --port 0 takes a free port"):
        serve.listen("127.0.0.1", port)
    taken.listener.close()
    with pytest.raises(SetupError, match=r"--host 203\.0\.113\.7"):
        serve.listen("203.0.113.7", 0)
