"""Reach a server of the host through an abstract socket."""

from __future__ import annotations

import socket


def attack(target):
    family, kind, address, port = target.servers["abstract"]
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        client.connect((address, port) if port else address)
        client.send(b"here")


def landed(seen):
    return "reached it" * ("abstract" in seen.reached)
