"""Become root in new namespaces, from which more of the kernel can be reached."""

from __future__ import annotations

from pathlib import Path

USER, MOUNT = 0x10000000, 0x20000


def attack(target):
    target.call("unshare", USER | MOUNT)
    print("got namespaces", Path("/proc/self/status").read_text().count("CapEff"))
