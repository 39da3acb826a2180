"""The self-check tells machines whose sandboxes hold from those whose sandboxes leak."""

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
from harness.sandbox.self_check import ATTACKS, require_self_check, run_self_check
from harness.sandbox.tiers import check
from swarm.cli.doctor import WEAKER

EVERY_CALL = struct.pack("<HBBI", seccomp.RETURN, 0, 0, seccomp.ALLOW)
NOTES = ("/tmp", "/dev/shm", "/var/tmp", "/run", "/")


def escaped(kind):
    """Return what escapes a kind of sandbox, by attack."""
    return {attack.name: attack.escaped for attack in run_self_check(kind) if attack.escaped}


def notes(token):
    """Return the notes of this self-check on this machine, where others may run as well."""
    return {path for folder in NOTES for path in Path(folder).glob(f"swarm-self-check-{token}*")}


@pytest.mark.sandbox
def test_nothing_escapes_from_a_sandbox():
    """With namespaces every line of defence holds on this machine, and each was attacked."""
    attacks = run_self_check("namespaces")
    assert [attack.name for attack in attacks] == list(ATTACKS)
    assert [attack for attack in attacks if attack.escaped] == []


@pytest.fixture
def landlock():
    """Skip the test where this process cannot make Landlock sandboxes."""
    try:
        check("landlock")
    except SetupError as error:
        pytest.skip(str(error))


def test_nothing_escapes_from_landlock(landlock):
    """With Landlock every line of defence holds on this machine, and each was attacked."""
    attacks = run_self_check("landlock")
    assert [attack.name for attack in attacks] == list(ATTACKS)
    assert [attack for attack in attacks if attack.escaped] == []


def test_a_hole_in_landlock_is_seen(landlock, monkeypatch):
    """Where the rules let one folder too many be read, the attack on files succeeds."""
    rules = walls.rules
    monkeypatch.setattr(walls, "rules", lambda *args: [*rules(*args), ("/tmp", OWN)])
    assert {"files", "notes"} <= set(escaped("landlock"))


def test_the_attacks_are_real(monkeypatch):
    """Where nothing is confined the same attacks succeed, and nothing of them is left behind."""
    names = {"files", "inputs", "processes", "tcp", "udp", "abstract socket", "path socket"}
    names |= {"locks", "leases", "page cache", "machine counts", "holders", "kernel memory"}
    names |= {"tracing", "privileges", "disk", "links", "notes"}
    token = secrets.token_hex(8)
    monkeypatch.setattr(secrets, "token_hex", lambda _: token)
    assert names <= set(escaped("none"))
    assert notes(token) == set()


@pytest.mark.sandbox
def test_a_hole_stops_a_launch_by_name(monkeypatch):
    """Without its system call filter a sandbox leaks, and the error names the first attack."""
    monkeypatch.setattr(seccomp, "program", lambda **_: EVERY_CALL)
    with pytest.raises(SetupError, match="could make a ring, whose requests no filter sees"):
        require_self_check("namespaces")


@pytest.mark.sandbox
def test_the_doctor_reports_what_holds_here():
    """`swarm doctor --json` names the sandbox, the slices and every attack, and exits with 0."""
    words = [sys.executable, "-m", "swarm.cli.main", "doctor", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["sandbox"], report["sound"]) == (0, "namespaces", True)
    assert [attack["name"] for attack in report["attacks"]] == list(ATTACKS)
    assert report["slices"]
    assert report["fixes"] == []


def test_the_doctor_says_what_to_install():
    """Without any walls the doctor shows what is not held, names the fixes, and exits with 2."""
    done = without(WITHOUT_BUBBLEWRAP + WITHOUT_LANDLOCK, "doctor")
    output = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "apt install bubblewrap" in output
    assert "this kernel has no Landlock: Linux 6.12" in output
    assert "pass --sandbox none" in output
    assert "nothing is confined" in output


def test_the_doctor_finds_the_second_best():
    """Where only Landlock holds, the doctor says so, and that a launch has to ask for it."""
    done = without(WITHOUT_BUBBLEWRAP, "doctor", "--json")
    report = json.loads(done.stdout)
    if report["sandbox"] == "none":
        pytest.skip(report["fixes"][-1])
    assert (done.returncode, report["sandbox"], report["sound"]) == (2, "landlock", False)
    assert [attack for attack in report["attacks"] if attack["escaped"]] == []
    assert "pass --sandbox landlock" in without(WITHOUT_BUBBLEWRAP, "doctor").stdout


def test_no_command_settles_for_less_by_itself():
    """Where the sandbox cannot be made, the error names the option that asks for less."""
    none = without(WITHOUT_BUBBLEWRAP + WITHOUT_LANDLOCK, "-c", REQUIRING).stdout
    assert "apt install bubblewrap" in none
    assert "nothing can be confined here" in none
    assert "`--sandbox none`" in none


def test_where_landlock_holds_it_is_what_to_ask_for(landlock):
    """A host that forbids namespaces is told of the kind that needs none."""
    output = without(WITHOUT_BUBBLEWRAP, "-c", REQUIRING).stdout
    assert "apt install bubblewrap" in output
    assert "`--sandbox landlock`" in output


def test_on_a_mac_nothing_is_confined_and_all_say_so():
    """The strongest kind is `none`, with reasons; a launch stops and names the option left."""
    found, output = without(ON_A_MAC, "-c", REQUIRING).stdout.splitlines()
    kind, reasons = json.loads(found)
    assert kind == "none"
    assert len(reasons) == 2
    assert all("needs Linux and this is darwin" in reason for reason in reasons)
    assert WEAKER[kind].endswith("pass --sandbox none; no score can be trusted then")
    assert "`--sandbox none` runs candidates unconfined" in output


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
print(json.dumps(tiers.strongest()))
"""

REQUIRING = """
from harness.contract import SetupError
from swarm.executors.require_sandbox import require_sandbox
try: require_sandbox("namespaces")
except SetupError as error: print(error)
"""
