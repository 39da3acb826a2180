"""Canaries tell a machine whose boxes hold from one whose boxes do not."""

from __future__ import annotations

import json
import secrets
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from harness.contract import SetupError
from harness.sandbox.backends import landlock as walls
from harness.sandbox.backends import seccomp
from harness.sandbox.guest.landlock_syscalls import OWN
from harness.sandbox.self_check import TRIES, require_self_check, run_self_check
from harness.sandbox.tiers import check
from swarm.cli.doctor import SETTLING

EVERY_CALL = struct.pack("<HBBI", seccomp.RETURN, 0, 0, seccomp.ALLOW)
NOTES = ("/tmp", "/dev/shm", "/var/tmp", "/run", "/")


def escaped(tier):
    """Return what escapes at a tier, by canary."""
    return {each.name: each.escaped for each in run_self_check(tier) if each.escaped}


def notes(token):
    """Return what a canary of ours has left on this machine, where others may sing as well."""
    return {path for folder in NOTES for path in Path(folder).glob(f"swarm-canary-{token}*")}


def test_nothing_escapes_from_a_sandbox(sandbox):
    """At tier 2 every line of defence holds on this machine, and each was attacked."""
    found = run_self_check(2)
    assert [each.name for each in found] == list(TRIES)
    assert [each for each in found if each.escaped] == []


@pytest.fixture
def landlock():
    """Skip the test where this process cannot make boxes of tier 1."""
    try:
        check(1)
    except SetupError as error:
        pytest.skip(str(error))


def test_nothing_escapes_from_landlock(landlock):
    """At tier 1 every line of defence holds on this machine, and each was attacked."""
    found = run_self_check(1)
    assert [each.name for each in found] == list(TRIES)
    assert [each for each in found if each.escaped] == []


def test_a_hole_in_landlock_is_seen(landlock, monkeypatch):
    """Where the rules let one folder too many be read, the canary of files gets out."""
    rules = walls.rules
    monkeypatch.setattr(walls, "rules", lambda *args: [*rules(*args), ("/tmp", OWN)])
    assert {"files", "notes"} <= set(escaped(1))


def test_the_attacks_are_real(monkeypatch):
    """Where nothing is confined the same attacks succeed, and nothing of them is left behind."""
    names = {"files", "inputs", "processes", "tcp", "udp", "abstract socket", "path socket"}
    names |= {"tracing", "privileges", "disk", "links", "notes"}
    token = secrets.token_hex(8)
    monkeypatch.setattr(secrets, "token_hex", lambda _: token)
    assert names <= set(escaped(0))
    assert notes(token) == set()


def test_a_hole_stops_a_launch_by_name(sandbox, monkeypatch):
    """Without its system call filter a sandbox lets canaries out, and the error names the first."""
    monkeypatch.setattr(seccomp, "program", lambda memfd: EVERY_CALL)
    with pytest.raises(SetupError, match="could make a ring, whose requests no filter sees"):
        require_self_check(2)


def test_the_doctor_tells_what_holds_here(sandbox):
    """`swarm doctor --json` names the tier, the slices and every canary, and exits with 0."""
    words = [sys.executable, "-m", "swarm.cli.main", "doctor", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["tier"], found["sound"]) == (0, 2, True)
    assert [each["name"] for each in found["canaries"]] == list(TRIES)
    assert found["slices"]
    assert found["mends"] == []


def test_the_doctor_says_what_to_install():
    """Without any walls the doctor shows what is not held, names the mends, and exits with 2."""
    done = without(WITHOUT_BUBBLEWRAP + WITHOUT_LANDLOCK, "doctor")
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "apt install bubblewrap" in said
    assert "this kernel has no Landlock: Linux 6.12" in said
    assert "a launch needs --unsafe" in said
    assert "escaped" in done.stdout


def test_the_doctor_finds_the_second_best():
    """Where only Landlock holds, the doctor says so, and that a launch has to ask for it."""
    done = without(WITHOUT_BUBBLEWRAP, "doctor", "--json")
    found = json.loads(done.stdout)
    if found["tier"] == 0:
        pytest.skip(found["mends"][-1])
    assert (done.returncode, found["tier"], found["sound"]) == (2, 1, False)
    assert [each for each in found["canaries"] if each["escaped"]] == []
    assert "a launch here needs --tier 1" in without(WITHOUT_BUBBLEWRAP, "doctor").stdout


def test_no_command_settles_for_less_by_itself():
    """Where the sandbox cannot be made, the error names the option that asks for less."""
    none = without(WITHOUT_BUBBLEWRAP + WITHOUT_LANDLOCK, "-c", REQUIRING).stdout
    assert "apt install bubblewrap" in none
    assert "nothing can be confined here" in none
    assert "`--unsafe`" in none


def test_where_landlock_holds_it_is_what_to_ask_for(landlock):
    """A host that forbids namespaces is told of the tier that needs none."""
    said = without(WITHOUT_BUBBLEWRAP, "-c", REQUIRING).stdout
    assert "apt install bubblewrap" in said
    assert "`--tier 1`" in said


def test_on_a_mac_nothing_is_confined_and_all_say_so():
    """The best tier is 0 for stated reasons; a launch stops, and names the option that is left."""
    found, said = without(ON_A_MAC, "-c", REQUIRING).stdout.splitlines()
    tier, reasons = json.loads(found)
    assert tier == 0
    assert len(reasons) == 2
    assert all("needs Linux and this is darwin" in reason for reason in reasons)
    assert SETTLING[tier].startswith("without confinement a launch needs --unsafe")
    assert "`--unsafe` runs candidates all the same" in said


def without(patches, *words):
    """Run a command of swarm's, or with -c a program, as if this machine had less."""
    own = words[0] == "-c"
    program = patches + (words[1] if own else "from swarm.cli.main import main\nmain()\n")
    words = [sys.executable, "-c", program, *words[2 * own :]]
    return subprocess.run(words, capture_output=True, text=True, check=False)


WITHOUT_BUBBLEWRAP = """
import pathlib, sys
from harness.sandbox.backends import bubblewrap
bubblewrap.util.find_spec = lambda name: None
bubblewrap.Path = lambda *parts: pathlib.Path("/nonexistent", *parts[1:])
"""

WITHOUT_LANDLOCK = """
from harness.sandbox.backends import landlock
landlock.abi = lambda: 0
"""

ON_A_MAC = """
import json, sys
from harness.sandbox import tiers
from swarm.executors import require_sandbox
sys.platform = "darwin"
print(json.dumps(tiers.best()))
"""

REQUIRING = """
from harness.contract import SetupError
from swarm.executors.require_sandbox import require_sandbox
try: require_sandbox(2)
except SetupError as error: print(error)
"""
