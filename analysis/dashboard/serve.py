"""Serving of the page: the socket, who may ask there, and uvicorn until it is stopped."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import uvicorn

from analysis.dashboard.access import LOOPBACK, Access
from analysis.dashboard.app import build
from analysis.dashboard.steer import Steer
from harness.contract import SetupError

PORT: Final = 8765
"""The port where none is asked for and it is free."""

_STOP_S: Final = 2
"""Seconds that open connections get when the server is stopped."""


@dataclass(frozen=True, slots=True)
class Served:
    """Where the page is served.

    url: its address, with the token
    listener: the socket, which listens already: requests wait until `run`
    access: who may ask there
    """

    url: str
    listener: socket.socket
    access: Access


def listen(host: str, port: int | None, *, token: bool = False) -> Served:
    """Open the page's socket on `host`; on others than loopback, reading needs the token too.

    port: None takes PORT, or any that is free; 0 any
    token: whether it does on loopback

    Raises SetupError where the address cannot be had.
    """
    listener = _socket(host, port)
    bound = listener.getsockname()[1]
    local, secret = is_loopback(host), secrets.token_urlsafe(24)
    hosts = LOOPBACK | {_bare(host)} if local else _own_names(host)
    name = f"[{host}]" if ":" in host else host
    if _is_any(host):
        name = socket.gethostname()
    access = Access(frozenset(hosts), secret, token or not local, f"swarm-token-{bound}")
    return Served(f"http://{name}:{bound}/?token={secret}", listener, access)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(repo: Path, served: Served, steer: Steer) -> None:
    """Serve the runs of the repository at `repo` until interrupted.

    `steer` carries out commands.
    """

    def stopping() -> bool:
        return server.should_exit

    config = uvicorn.Config(
        build(repo, served.access, steer, stopping),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_STOP_S,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[served.listener])


def _socket(host: str, port: int | None) -> socket.socket:
    wanted = PORT if port is None else port
    try:
        return _bound(host, wanted)
    except OSError as error:
        if port is None:
            return _any(host, error)
        raise SetupError(_refused(host, wanted, error)) from None


def _any(host: str, first: OSError) -> socket.socket:
    try:
        return _bound(host, 0)
    except OSError:
        raise SetupError(_refused(host, PORT, first)) from None


def _refused(host: str, port: int, error: OSError) -> str:
    why = error.strerror or str(error)
    return f"cannot listen on --host {host} --port {port}: {why}; --port 0 takes a free port"


def _bound(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.create_server(address[:2], family=family)
    # asyncio asks for this only of sockets that it made: without it each answer takes 40 ms
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _own_names(host: str) -> set[str]:
    """Return the names by which a page on `host` may be addressed."""
    if not _is_any(host):
        return {_bare(host), *LOOPBACK}
    interfaces = psutil.net_if_addrs().values()
    addresses = {one.address.partition("%")[0] for own in interfaces for one in own}
    names = {socket.gethostname().lower(), socket.getfqdn().lower()}
    return {name for name in {*addresses, *names, *LOOPBACK} if name}


def _bare(host: str) -> str:
    return host.strip("[]").lower()


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
