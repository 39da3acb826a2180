"""The gateway of one run: opens doors for agents, and answers what comes in through them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Self

import httpx2

from harness.contract import SetupError
from islands.records import Usage
from swarm.agents.gateway.forward import error_body, fail, forward
from swarm.agents.gateway.http_server import Exchange, serve_connection
from swarm.agents.gateway.lease import Lease
from swarm.agents.gateway.prices import priced
from swarm.agents.gateway.requests import KINDS, PATHS, estimated_tokens
from swarm.agents.llm import network
from swarm.agents.llm.budget import Budget
from swarm.agents.llm.factory import RateLimiters, read_key
from swarm.agents.llm.meter import Bill, CallRecorder, Meter, ignore_call
from swarm.agents.llm.settings import ModelSettings, check_settings, place_of

UsageCallback = Callable[[Usage], None]
"""Called with the most that a lease's calls can have cost so far: before each call goes out, and
when one is settled. A caller that records it at once has an upper bound at any moment."""

MAX_SOCKET_PATH = 100
"""Bytes of a Unix socket's path; the kernel takes 107."""


def ignore_usage(usage: Usage) -> None:
    """Ignore the usage."""


@dataclass(slots=True)
class Gateway:
    """A server on loopback for one run's agents; listens from the first lease on.

    budget, limiters, record: shared with the run's other agents
    settle_s: seconds that calls in flight have to tell their cost when their lease is closed
    """

    budget: Budget = field(repr=False)
    limiters: RateLimiters = field(repr=False)
    record: CallRecorder = field(default=ignore_call, repr=False)
    settle_s: float = 5.0
    _leases: dict[str, Lease] = field(default_factory=dict, repr=False)
    _clients: dict[tuple[str, float], httpx2.AsyncClient] = field(default_factory=dict, repr=False)
    _connections: set[asyncio.Task[None]] = field(default_factory=set, repr=False)
    _doors: dict[str, tuple[asyncio.Server, Path]] = field(default_factory=dict, repr=False)
    """The Unix sockets of leases that have one."""

    _server: asyncio.Server | None = field(default=None, repr=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for lease in [*self._leases.values()]:
            lease.settle_s = 0.0
            await lease.close()
        if self._server is not None:
            self._server.close()
        for task in [*self._connections]:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()

    async def open(
        self,
        agent: str,
        settings: ModelSettings,
        *,
        socket: Path | None = None,
        on_usage: UsageCallback = ignore_usage,
        experiment: int = 0,
    ) -> Lease:
        """Open a door for one proposal of `agent`; with `socket` also at a Unix socket there.

        Raises SetupError, with the fix, if a setting is invalid or the key is missing.
        """
        check_settings(agent, settings)
        settings = priced(settings)
        key = read_key(agent, settings)
        meter = Meter(
            agent, settings, self.limiters.shared(settings, key), self.budget, self.record
        )
        token = f"swarm-{secrets.token_urlsafe(24)}"
        lease = Lease(
            url=await self._listen(),
            token=token,
            meter=meter,
            bill=Bill(on_usage, experiment, report_settled=True),
            key=key,
            known=self.limiters.capabilities(settings),
            on_close=partial(self._forget, token),
            settle_s=self.settle_s,
        )
        if socket is not None:
            await self._listen_at(socket, lease)
        self._leases[token] = lease
        return lease

    async def _forget(self, token: str) -> None:
        """Close the door of a lease; calls under way go on."""
        self._leases.pop(token, None)
        door = self._doors.pop(token, None)
        if door is not None:
            server, path = door
            server.close()
            path.unlink(missing_ok=True)

    async def _listen(self) -> str:
        """Return the address of the port that all leases share."""
        async with self._opening:
            if self._server is None:
                connected = partial(self._serve, None)
                self._server = await asyncio.start_server(connected, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _listen_at(self, path: Path, lease: Lease) -> None:
        if len(bytes(path)) > MAX_SOCKET_PATH:
            raise SetupError(
                f"the path of the gateway's socket has more than {MAX_SOCKET_PATH} bytes: {path};"
                " work in a folder with a shorter path"
            )
        server = await asyncio.start_unix_server(partial(self._serve, lease), path)
        path.chmod(0o600)  # noqa: ASYNC240 - one system call
        self._doors[lease.token] = server, path

    async def _serve(
        self, only: Lease | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one connection, at the socket of the lease `only` or at the shared port."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task
        self._connections.add(task)
        try:
            # this task ends here: asyncio's streams would log a cancellation as an error
            with contextlib.suppress(asyncio.CancelledError):
                await serve_connection(partial(self._answer, only), reader, writer)
        finally:
            self._connections.discard(task)

    async def _answer(self, only: Lease | None, exchange: Exchange) -> None:
        """Answer one request; what goes wrong here is an answer too, and the lease's failure."""
        method, path = exchange.request.method, _path_of(exchange.request.path)
        if method == "HEAD" or not path:
            exchange.answer(HTTPStatus.OK)
            return
        lease = self._lease_of(exchange, only)
        if lease is None:
            text = "no open lease has this token: use the one that the agent was started with"
            body = error_body("messages", "authentication_error", text)
            exchange.answer(HTTPStatus.UNAUTHORIZED, body)
            return
        try:
            await self._answer_for(lease, exchange, method, path)
        except Exception as error:  # noqa: BLE001 - noted, and told to the client
            fail(exchange, PATHS.get(path, "messages"), lease, error)

    async def _answer_for(self, lease: Lease, exchange: Exchange, method: str, path: str) -> None:
        """Answer a lease's request: of its model, or what clients ask beside that."""
        model = lease.settings.model
        match method, path:
            case "GET", "/models":
                exchange.answer(HTTPStatus.OK, json.dumps(_models(model)).encode())
            case "GET", _ if path == f"/models/{model}":
                exchange.answer(HTTPStatus.OK, json.dumps(_model(model)).encode())
            case "POST", "/messages/count_tokens":
                count = {"input_tokens": estimated_tokens(exchange.request.body)}
                exchange.answer(HTTPStatus.OK, json.dumps(count).encode())
            case "POST", _ if path in PATHS:
                await self._forward(exchange, path, lease)
            case _:
                text = f"{method} {path} is not served here"
                body = error_body("messages", "not_found_error", text)
                exchange.answer(HTTPStatus.NOT_FOUND, body)

    async def _forward(self, exchange: Exchange, path: str, lease: Lease) -> None:
        api, settings = PATHS[path], lease.settings
        if KINDS[api] != settings.kind:
            text = f"{place_of(lease.meter.agent)} is of kind {settings.kind}, without {path}"
            exchange.answer(HTTPStatus.NOT_FOUND, error_body(api, "not_found_error", text))
            return
        encoding = exchange.request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            text = f"send the request without content-encoding {encoding}"
            body = error_body(api, "invalid_request_error", text)
            exchange.answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, body)
            return
        with lease.calling():
            await forward(exchange, api, lease, self._client(settings))

    def _lease_of(self, exchange: Exchange, only: Lease | None) -> Lease | None:
        headers = exchange.request.headers
        given = (headers.get("x-api-key", ""), headers.get("authorization", "")[len("Bearer ") :])
        found = [lease for token in given if (lease := self._leases.get(token)) is not None]
        return found[0] if found and only in (None, found[0]) else None

    def _client(self, settings: ModelSettings) -> httpx2.AsyncClient:
        place = settings.url, settings.timeout_seconds
        if place not in self._clients:
            self._clients[place] = network.http_client(settings)
        return self._clients[place]


def _path_of(target: str) -> str:
    """Return the path of a request after /v1, which clients add or not."""
    path = target.partition("?")[0].rstrip("/")
    while path.startswith("/v1/"):
        path = path[len("/v1") :]
    return "" if path == "/v1" else path


def _model(name: str) -> dict[str, object]:
    """Return a model as both formats describe one."""
    shared = {"id": name, "object": "model", "created": 0, "owned_by": "swarm"}
    return shared | {"type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _models(name: str) -> dict[str, object]:
    pages = {"has_more": False, "first_id": name, "last_id": name}
    return {"object": "list", "data": [_model(name)], "models": [], **pages}
