"""The table of attacks: `python tests/attacks/table.py` runs every program at every tier.

Tiers 2 and 1 are attacked twice: in boxes that start cold, and in boxes that start warm.

Each tier is attacked by a child process, once as we are and, where we are root, once as a plain
user, who needs an interpreter that a plain user may run, as at tier 1 root's boxes do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
PLAIN_UID = 54_321  # anybody; no account is needed
TIERS = (2, 1, 0)
WALLED = (2, 1)  # the tiers whose boxes can be started warm, too
USERS = ("root", "user")


@cache
def results(tier: int, user: str, *, warm: bool = False) -> dict[str, str]:
    """Return what each attack came to at `tier` as `user`, "" where it failed.

    Boxes are started `warm`, as a run's are where genomes import torch, or cold.
    """
    python = interpreter(user, tier)
    assert python is not None, why_not(user, tier)
    words = [python, "-B", str(HERE / "suite.py"), str(tier), *["warm"] * warm]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **become(user))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def why_not(user: str, tier: int) -> str:
    """Say why attacks cannot be made as `user` at `tier` here, "" where they can."""
    if user == "root" and os.geteuid():
        return "only root can attack as root"
    if interpreter(user, tier) is None:
        return f"no interpreter here that can make boxes of tier {tier} as {user}"
    return ""


@cache
def interpreter(user: str, tier: int) -> str | None:
    """Return a Python that `user` may run, of our version since our packages are its."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        words = [python, "-B", "-c", f"from harness.sandbox.tiers import check; check({tier})"]
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
    starts = [*((tier, False) for tier in TIERS), *((tier, True) for tier in WALLED)]
    columns = [(*start, user) for start in starts for user in USERS if not why_not(user, start[0])]
    table = {column: results(column[0], column[2], warm=column[1]) for column in columns}
    titles = [f"{tier}{' warm' * warm}, {user}" for tier, warm, user in columns]
    print(f"{'tier':20}" + "".join(f"{title:16}" for title in titles))
    for name in next(iter(table.values())):
        marks = ["succeeds" if table[column][name] else "held" for column in columns]
        print(f"{name:20}" + "".join(f"{mark:16}" for mark in marks))
    sums = [f"{sum(map(bool, each.values()))} of {len(each)}" for each in table.values()]
    print(f"{'succeed':20}" + "".join(f"{each:16}" for each in sums))


if __name__ == "__main__":
    main()
