"""Canaries tell a machine whose boxes hold from one whose boxes do not."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from harness.confine import seccomp
from harness.confine.canary import TRIES, fail_closed, sing
from harness.contract import SetupError

EVERY_CALL = struct.pack("<HBBI", seccomp.RETURN, 0, 0, seccomp.ALLOW)
NOTES = ("/tmp", "/dev/shm", "/var/tmp", "/run", "/")


def escaped(tier):
    """Return what escapes at a tier, by canary."""
    return {each.name: each.escaped for each in sing(tier) if each.escaped}


def notes():
    """Return what canaries have left on this machine."""
    return {path for folder in NOTES for path in Path(folder).glob("swarm-canary-*")}


def test_nothing_escapes_from_a_sandbox():
    """At tier 2 every line of defence holds on this machine, and each was attacked."""
    found = sing(2)
    assert [each.name for each in found] == list(TRIES)
    assert [each for each in found if each.escaped] == []


def test_the_attacks_are_real():
    """Where nothing is confined the same attacks succeed, and nothing of them is left behind."""
    names = {"files", "inputs", "processes", "tcp", "udp", "abstract socket", "path socket"}
    names |= {"tracing", "privileges", "disk", "links", "notes"}
    before = notes()  # of launches that were killed while their canaries sang
    assert names <= set(escaped(0))
    assert notes() <= before


def test_a_hole_stops_a_launch_by_name(monkeypatch):
    """Without its system call filter a sandbox lets canaries out, and the error names the first."""
    monkeypatch.setattr(seccomp, "program", lambda memfd: EVERY_CALL)
    with pytest.raises(SetupError, match="could make a ring, whose requests no filter sees"):
        fail_closed(2)


def test_the_doctor_tells_what_holds_here():
    """`swarm doctor --json` names the tier, the slices and every canary, and exits with 0."""
    words = [sys.executable, "-m", "swarm.cli", "doctor", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["tier"], found["sound"]) == (0, 2, True)
    assert [each["name"] for each in found["canaries"]] == list(TRIES)
    assert found["slices"]
    assert found["mends"] == []


def test_the_doctor_says_what_to_install():
    """Without bubblewrap the doctor shows what is not held, names the mend, and exits with 2."""
    words = [sys.executable, "-c", WITHOUT_BUBBLEWRAP, "doctor"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "apt install bubblewrap" in " ".join(done.stdout.split())
    assert "escaped" in done.stdout


WITHOUT_BUBBLEWRAP = """
import pathlib, sys
from harness.confine import bubblewrap
bubblewrap.util.find_spec = lambda name: None
bubblewrap.Path = lambda *parts: pathlib.Path("/nonexistent", *parts[1:])
from swarm.cli import main
main()
"""
