"""The process of a gateway killed with SIGKILL in the middle of calls, and started again."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.agents.gateway.test_storm import stormy, usd_of
from tests.support.loopback import KEY


class LedgerReader:
    """Follows a ledger that another process writes: the latest cost of each proposal."""

    def __init__(self, path):
        self.path, self.position, self.usd = path, 0, {}

    def total(self):
        """Return the dollars that all proposals can have cost by now."""
        with self.path.open("rb") as file:
            file.seek(self.position)
            whole, _, _ = file.read().rpartition(b"\n")
        self.position += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            event = json.loads(line)
            self.usd[event["experiment"]] = event["usage"]["usd"]
        return sum(self.usd.values())


@pytest.mark.parametrize("kills", [1, pytest.param(12, marks=pytest.mark.soak)])
def test_kills_exceed_no_limit_and_leave_no_gateway(server, monkeypatch, tmp_path, kills):
    """At no request has the provider billed more than the ledger holds, or the limit allows."""
    monkeypatch.setattr(server, "delay", 0.05)
    limit = 2.0 + 3.0 * kills  # what is in flight at a kill counts at its most
    script, draw, looks, billed = stormy(3), random.Random(3), [], [0, 0.0]
    books = LedgerReader(tmp_path / "ledger.jsonl")
    child, deadly = None, 0

    def watched(request):
        new = server.log[billed[0] :]
        billed[:] = billed[0] + len(new), billed[1] + sum(map(usd_of, new))
        looks.append((billed[1], books.total()))
        if request.number == deadly:
            os.kill(child.pid, signal.SIGKILL)
        return script(request)

    server.play(watched)
    for left in reversed(range(kills + 1)):
        deadly = len(looks) + draw.randrange(20, 40) if left else -1
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.gateway_process",
                tmp_path,
                server.url,
                f"{limit}",
            ],
            env={**os.environ, "LOOPBACK_KEY": KEY},
            stdout=subprocess.PIPE,
            text=True,
        )
        out, _ = child.communicate(timeout=200)
        assert child.returncode == (-signal.SIGKILL if left else 0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(out.split()[0]).port))
    assert len(looks) > 40
    assert all(spent <= written <= limit + 1e-9 for spent, written in looks)
    assert sum(map(usd_of, server.log)) <= books.total() <= limit + 1e-9
    assert KEY not in books.path.read_text()
