"""A recorded night: 250 experiments on `gpt` by the mutator, on two busy cores, with its objects.

Two islands, trials of two seconds of which others took six times as much, three kept changes, A/A
tests, a migrant, an adopted head, a person's note and stop.
"""

import lzma
import subprocess
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "gpt_night"
RUN = "run1"


def recorded_run(repo):
    """Make `repo` the repository in which that run was recorded; return the run's folder."""
    folder = repo / ".swarm" / RUN
    folder.mkdir(parents=True)
    with lzma.open(DATA / "ledger.jsonl.xz") as ledger:
        (folder / "ledger.jsonl").write_bytes(ledger.read())
    for words in (
        ("init", "-q", "-b", "main"),
        ("fetch", "-q", "--update-head-ok", DATA / "objects.bundle", "refs/*:refs/*"),
    ):
        subprocess.run(["git", "-C", repo, *words], check=True)
    return folder
