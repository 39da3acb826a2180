"""Reach a server of the host over UDP."""

from __future__ import annotations

import socket


def attack(target):
    family, kind, address, port = target.servers["udp"]
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        client.connect((address, port) if port else address)
        client.send(b"here")


def landed(seen):
    return "reached it" * ("udp" in seen.reached)
