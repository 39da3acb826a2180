"""Reach a server of the host through a socket file."""

from __future__ import annotations

import socket


def attack(target):
    family, kind, address, port = target.servers["path"]
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        client.connect((address, port) if port else address)
        client.send(b"here")


def landed(seen):
    return "reached it" * ("path" in seen.reached)
