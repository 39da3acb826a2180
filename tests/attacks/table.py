"""The table of attacks: runs every program in every kind of sandbox, then every channel.

Usage: `python tests/attacks/table.py`. Attacks succeed or are held; a channel's cell is what passes
between two sandboxes, in bits a second (tests/attacks/channels.py).

The kinds that confine are attacked in sandboxes that start cold and from a zygote; with namespaces
also in bare ones, which see no file of the system's.

A child process makes the attacks, once as the caller and, where that is root, once as a plain user.
That user needs an interpreter that a plain user may run, as do root's Landlock sandboxes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from harness.sandbox.tiers import CONFINED, STRENGTH, SandboxKind
from tests.attacks import channels

HERE = Path(__file__).parent
PLAIN_UID = 54_321  # anybody; no account is needed
WALLED = CONFINED  # these start warm, too
USERS = ("root", "user")


def results(
    kind: SandboxKind, user: str, start: str = "cold", only: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return what each attack, or `only` some, came to in a sandbox of `kind`, "" where it failed.

    Attacks are made as `user`. Sandboxes `start` cold, or from a process that has imported `numpy`
    or `torch`, as a run's do.
    """
    done = _suite(kind, user, start, only)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@cache
def _suite(
    kind: SandboxKind, user: str, start: str, only: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    """Run the suite once, also where it fails: every test of it asks for its results."""
    python = interpreter(user, kind)
    assert python is not None, why_not(user, kind)
    words = [python, "-B", str(HERE / "suite.py"), kind, start, *only]
    return subprocess.run(words, capture_output=True, text=True, check=False, **become(user))


def why_not(user: str, kind: SandboxKind) -> str:
    """Say why attacks cannot be made as `user` in a sandbox of `kind` here, "" where they can."""
    if user == "root" and os.geteuid():
        return "only root can attack as root"
    if interpreter(user, kind) is None:
        return f"no interpreter here that can make sandboxes of kind {kind} as {user}"
    return ""


@cache
def interpreter(user: str, kind: SandboxKind) -> str | None:
    """Return a Python that `user` may run, of our version since our packages are its."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        words = [python, "-B", "-c", f"from harness.sandbox.tiers import check; check({kind!r})"]
        try:
            done = subprocess.run(words, capture_output=True, check=False, **become(user))
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


def become(user: str) -> dict[str, object]:
    """Return what makes a child process `user`'s: its uid, and our modules to import."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path])}
    if user == "root" or os.geteuid():
        return {"env": env}
    plain = {"user": PLAIN_UID, "group": PLAIN_UID, "extra_groups": []}
    return {"env": env | {"HOME": "/", "TMPDIR": "/tmp"}, "cwd": "/", **plain}


def main() -> None:
    """Print what every attack comes to, and the sums."""
    starts = [*((kind, "cold") for kind in STRENGTH), *((kind, "torch") for kind in WALLED)]
    starts.append(("namespaces", "bare"))
    columns = [(*start, user) for start in starts for user in USERS if not why_not(user, start[0])]
    table = {column: results(column[0], column[2], column[1]) for column in columns}
    titles = [f"{kind} {start}, {user}" for kind, start, user in columns]
    print(f"{'sandbox':20}" + "".join(f"{title:24}" for title in titles))
    for name in next(iter(table.values())):
        marks = ["succeeds" if table[column][name] else "held" for column in columns]
        print(f"{name:20}" + "".join(f"{mark:24}" for mark in marks))
    sums = [f"{sum(map(bool, each.values()))} of {len(each)}" for each in table.values()]
    print(f"{'succeed':20}" + "".join(f"{each:24}" for each in sums), end="\n\n", flush=True)
    channels.main()


if __name__ == "__main__":
    main()
