"""A small HTTP/1.1 server for one machine: h11's protocol on asyncio's streams.

h11 comes with the providers' HTTP client, so it adds nothing to an installation. A server such as
uvicorn would bring signal handlers of its own, wake ten times a second beside measured trials, and
open no socket for one proposal alone.

Not covered: limits on the number of connections. Who reaches a socket of the gateway is an agent
of the run or the user's own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import h11

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a request's body; providers take no more."""

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request; the names of its headers are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class ClientGoneError(Exception):
    """The client closed the connection or broke the protocol."""


class Exchange:
    """One request and its answer. What is written to a client that has gone is dropped.

    Nothing waits for the client to read: it could hold up the provider's stream, whose end tells
    the cost. An answer is bounded by the model's output tokens, so it fits into memory.
    """

    def __init__(
        self,
        request: HttpRequest,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.request = request
        self.started = False
        self._connection, self._reader, self._writer = connection, reader, writer

    @property
    def client_waits(self) -> bool:
        """Whether the client is still there."""
        return not self._reader.at_eof() and not self._writer.transport.is_closing()

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the answer's status and headers."""
        self.started = True
        fields = [*headers.items()]
        self._send(h11.Response(status_code=status, headers=fields))

    def write(self, data: bytes) -> None:
        """Send a part of the answer's body."""
        if data:
            self._send(h11.Data(data=data))

    def end(self) -> None:
        """Send the answer's end."""
        self._send(h11.EndOfMessage())

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        head = self.request.method == "HEAD"
        length = {"content-length": str(len(body))}
        self.start(status, {"content-type": "application/json", **(headers or {}), **length})
        self.write(b"" if head else body)
        self.end()

    def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(self._connection.send(event) or b"")


Handler = Callable[[Exchange], Awaitable[None]]
"""Answers one request. It raises only CancelledError."""


async def serve_connection(
    handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer the requests of one connection, until either side ends it."""
    connection = h11.Connection(h11.SERVER)
    with contextlib.suppress(ClientGoneError, OSError):
        try:
            while True:
                request = await _receive(connection, reader, writer)
                exchange = Exchange(request, connection, reader, writer)
                await handler(exchange)
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    break
                connection.start_next_cycle()
        finally:
            writer.close()


async def _receive(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> HttpRequest:
    """Return the next request. Raises ClientGoneError if there is none."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = await _next_event(connection, reader, writer)
        match event:
            case h11.Request():
                head = event
            case h11.Data():
                body += event.data
                if len(body) > MAX_BODY:
                    _refuse(connection, writer, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            case h11.EndOfMessage() if head is not None:
                return _request(head, bytes(body))
            case _:
                raise ClientGoneError


async def _next_event(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> object:
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            _refuse(connection, writer, error.error_status_hint)
        if event is not h11.NEED_DATA:
            return event
        if connection.they_are_waiting_for_100_continue:
            proceed = h11.InformationalResponse(status_code=100, headers=[])
            writer.write(connection.send(proceed) or b"")
        connection.receive_data(await reader.read(_CHUNK))


def _refuse(connection: h11.Connection, writer: asyncio.StreamWriter, status: int) -> None:
    """Answer that the request is none. Raises ClientGoneError."""
    if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        headers = [("content-length", "0"), ("connection", "close")]
        answer = h11.Response(status_code=status, headers=headers)
        writer.write(connection.send(answer) or b"")
    raise ClientGoneError


def _request(head: h11.Request, body: bytes) -> HttpRequest:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return HttpRequest(head.method.decode(), head.target.decode("latin-1"), headers, body)
