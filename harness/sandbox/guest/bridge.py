"""Bridge from a sandbox's loopback to a Unix socket, its only way out where it has one.

Programs speak HTTP to a port of the loopback; the socket leads to the gateway of language models.
"""

from __future__ import annotations

import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

PIECE_BYTES = 1 << 16


def listen(port: int = 0) -> socket.socket:
    """Return a listener on a port of the loopback, any free one for 0."""
    return socket.create_server(("127.0.0.1", port), backlog=128)


def serve(listener: socket.socket, path: str) -> NoReturn:
    """Pass each connection on to the Unix socket `path`, for ever."""
    while True:
        near, _ = listener.accept()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(path)
        except OSError:
            near.close()
            far.close()
            continue
        for pair in ((near, far), (far, near)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what one side sends until it stops, then say so to the other."""
    try:
        while data := source.recv(PIECE_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for side in (source, sink):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
