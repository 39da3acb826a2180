"""Fetching a file over HTTP: every byte once, checked, through every kind of trouble."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from harness.contract import SetupError
from harness.data.download import download
from tests.support.shardserver import Fault, documents, parquet, serving

NAME = "shard_00000.parquet"


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two files of 300 kB and more."""
    folder = tmp_path_factory.mktemp("shards")
    return [parquet(folder / f"{seed}", documents(seed)) for seed in (1, 2)]


@pytest.fixture
def server(shards, monkeypatch):
    """A server of the first."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving({NAME: shards[0]}) as state:
        yield state


@pytest.fixture
def target(tmp_path):
    """Where the file is downloaded to."""
    return tmp_path / NAME


def bring(server, target):
    """Fetch the first shard; return the waits that were asked for on the way."""
    waits = []
    download(f"{server.url}/{NAME}", target, lambda _: None, waits.append)
    assert target.read_bytes() == server.files[NAME]
    assert {path.name for path in target.parent.iterdir()} == {NAME, f"{NAME}.sha256"}
    return waits


def refused(server, target, says):
    """Fetch in vain; return the waits. The error is one line, and nothing stands at the target."""
    waits = []
    with pytest.raises(SetupError, match=says) as error:
        download(f"{server.url}/{NAME}", target, lambda _: None, waits.append)
    assert "\n" not in str(error.value)
    assert f"{server.url}/{NAME}" in str(error.value)
    assert not target.exists()
    return waits


@pytest.mark.parametrize("redirects", [False, True])
def test_cut_connections_are_resumed(server, target, redirects):
    """A body cut three times is downloaded in four pieces, each byte once, also after redirects."""
    server.redirects = redirects
    server.faults[NAME].extend(Fault(cut=cut) for cut in (70_000, 70_000, 70_000))
    assert bring(server, target) == [1.0, 1.0, 1.0]
    starts = [int((range_ or "bytes=0-")[6:-1]) for _, range_, _ in server.requests]
    assert [status for _, _, status in server.requests] == [200, 206, 206, 206]
    assert starts == [0, 65536, 131072, 196608]


def test_a_file_that_changed_meanwhile_is_downloaded_again(server, target, shards):
    """If-Range keeps bytes of an old file from meeting those of a new one."""
    server.faults[NAME].append(Fault(cut=100_000))
    with pytest.raises(ZeroDivisionError):
        download(f"{server.url}/{NAME}", target, lambda _: None, lambda _: 1 // 0)
    server.files[NAME] = shards[1]
    bring(server, target)
    assert server.requests[-1][1:] == ("bytes=65536-", 200)


def test_without_an_etag_a_cut_file_is_downloaded_again(server, target):
    """Where nothing tells an old file from a new one, nothing is put together."""
    server.etags = False
    server.faults[NAME].append(Fault(cut=100_000))
    bring(server, target)
    assert [range_ for _, range_, _ in server.requests] == [None, None]


def test_a_spoiled_body_is_downloaded_again_in_full(server, target):
    """A body that is not what its sha256 promises is dropped and downloaded once more."""
    server.faults[NAME].append(Fault(spoil=True))
    assert bring(server, target) == [1.0]


def test_a_body_spoiled_each_time_is_refused(server, target):
    """Five wrong bodies are enough, and none of them is left behind."""
    server.faults[NAME].extend([Fault(spoil=True)] * 5)
    assert refused(server, target, "its sha256 is .* the server promised") == [1.0, 2.0, 4.0, 8.0]
    assert list(target.parent.iterdir()) == []


def test_a_web_page_is_no_shard(server, target):
    """A page that answers for a file, as in a hotel's network, is refused."""
    server.says_sha256 = False
    server.files[NAME] = b"<html>please log in</html>"
    refused(server, target, "not a parquet file")


def test_a_missing_shard_is_refused_at_once(server, target):
    """404 is not retried."""
    server.files = {}
    assert refused(server, target, "answered 404 Not Found: check --base-url and --shards") == []
    assert len(server.requests) == 1


def test_retry_after_is_honoured(server, target):
    """429 with Retry-After, in seconds or as a date, is waited out."""
    later = formatdate(time.time() + 50, usegmt=True)
    server.faults[NAME].append(Fault(429, {"Retry-After": "7"}))
    server.faults[NAME].append(Fault(503, {"Retry-After": later}))
    server.faults[NAME].append(Fault(429, {"Retry-After": "soon"}))
    first, second, third = bring(server, target)
    assert (first, third) == (7.0, 4.0)
    assert 40 < second <= 50


def test_a_long_retry_after_is_reported(server, target):
    """A server that asks for more than five minutes is not waited for."""
    server.faults[NAME].append(Fault(429, {"Retry-After": "4000"}))
    assert refused(server, target, "answered 429 .* asking to wait 4000 s") == []


def test_a_failing_server_is_given_up(server, target):
    """Five errors in a row are enough, with longer waits between them."""
    server.faults[NAME].extend([Fault(500)] * 9)
    assert refused(server, target, "answered 500 .*: run again") == [1.0, 2.0, 4.0, 8.0]


def test_a_refused_connection_is_reported(server, target, shards):
    """A refused connection is reported in one line."""
    with serving({}) as gone:
        pass
    gone.requests.clear()
    refused(gone, target, "ConnectError")


def test_a_whole_file_is_not_asked_for_again(server, target):
    """A file that is there and right costs no request; one that was changed is downloaded again."""
    bring(server, target)
    bring(server, target)
    assert len(server.requests) == 1
    target.write_bytes(b"PAR1" + target.read_bytes()[4:-1] + b"?")
    bring(server, target)
    assert len(server.requests) == 2
