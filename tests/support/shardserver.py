"""A server of shards on loopback with faults to order, and the shards' content."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import duckdb


@dataclass
class Fault:
    """A faulty response to one request.

    - `status`, `headers`: a status other than 200 is sent with these headers and no body
    - `cut`: bytes of the body after which the connection is closed
    - `hang`: hold the connection open after `cut` instead
    - `spoil`: flip a byte of the body
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hang: bool = False
    spoil: bool = False


@dataclass
class ShardServer:
    """State of the server.

    - `files`: contents by name
    - `faults`: by name, one used up by each request
    - `requests`: name, Range header and status of each request, in order
    - `says_sha256`, `etags`: whether responses carry the sha256, and ETags
    - `redirects`: whether each file is redirected to `/cdn/`, as a mirror does
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    requests: list[tuple[str, str | None, int]] = field(default_factory=list)
    says_sha256: bool = True
    etags: bool = True
    redirects: bool = False
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[ShardServer]:
    """Serve `files` until the block ends."""
    state = ShardServer(files=dict(files))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: ShardServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        state, name = self.state, self.path.removeprefix("/cdn").removeprefix("/")
        data = state.files.get(name)
        if data is not None and state.redirects and not self.path.startswith("/cdn"):
            self._answer(302, {"Location": f"/cdn/{name}", **self._linked(data)}, b"")
            return
        fault = state.faults[name].popleft() if state.faults[name] else Fault()
        status = fault.status if data is not None else 404
        if status != 200:
            self._note(name, status)
            self._answer(status, fault.headers, b"")
            return
        self._send(name, data, fault)

    def _send(self, name, data, fault):
        etag, status, start = f'"{hashlib.md5(data).hexdigest()}"', 200, 0
        headers = {"ETag": etag} if self.state.etags else {}
        range_ = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if range_ and self.headers.get("If-Range") == etag:
            status, start = 206, int(range_[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if not self.state.redirects:
            headers |= self._linked(data)
        body = bytearray(data[start:])
        if fault.spoil:
            body[len(body) // 2] ^= 1
        self._note(name, status)
        self._answer(status, headers, bytes(body), fault)

    def _linked(self, data):
        if not self.state.says_sha256:
            return {}
        return {"X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"'}

    def _note(self, name, status):
        self.state.requests.append((name, self.headers.get("Range"), status))

    def _answer(self, status, headers, body, fault=None):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if fault is None or fault.cut is None:
            self.wfile.write(body)
            return
        self.wfile.write(body[: fault.cut])
        self.wfile.flush()
        if fault.hang:
            self.state.closing.wait(60)
        self.close_connection = True


def documents(seed, count=120):
    """Make documents of words from a lexicon of 20,000, which hold far more than 8,192 merges."""
    draw = random.Random(seed)
    lexicon = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyzé"
    words = ["".join(lexicon.choices(letters, k=lexicon.randint(2, 9))) for _ in range(20_000)]
    return [" ".join(draw.choices(words, k=draw.randint(1, 900))) + "." for _ in range(count)]


def parquet(path, texts, column="text"):
    """Write a parquet file of one column in row groups of 2,048; return its bytes."""
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE t ({column} VARCHAR)")
        db.execute("INSERT INTO t SELECT unnest(?)", [texts])
        db.execute(f"COPY t TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return path.read_bytes()
