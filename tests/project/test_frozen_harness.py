"""Frozen means frozen: which harness runs, what an edit of it does, and what guards hold."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest

from harness import fingerprint as identity
from harness.contract import HarnessError, SetupError
from swarm.coordinator.task_tree import run_islands
from swarm.project import repository as target
from swarm.simulation.virtual_time import run_virtual
from tests.support.laboratory import LabExecutor, MemoryBranches, make_run
from tests.support.repository import git, make
from tests.support.target import PACKAGES, environment, installed, ledger, packing, swarm

BYTE_CODE = shutil.ignore_patterns("__pycache__")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with the four houses in it, whose harness is the one that would run."""
    repo = make(tmp_path / "checkout", {"README": "swarm\n"})
    for house in PACKAGES:
        shutil.copytree(installed() / house, repo / house, ignore=BYTE_CODE)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "All of it")
    monkeypatch.setattr(identity, "HARNESS_DIR", repo / "harness")
    monkeypatch.setattr(identity.tree_id, "__defaults__", (repo / "harness",))
    return repo


def test_a_committed_harness_may_run(checkout):
    """So may one with byte code beside it, and one that is no checkout at all."""
    target.require_frozen_harness()
    (checkout / "harness/__pycache__").mkdir(exist_ok=True)
    (checkout / "harness/__pycache__/x.pyc").write_bytes(b"")
    target.require_frozen_harness()
    shutil.rmtree(checkout / ".git")
    target.require_frozen_harness()


@pytest.mark.parametrize(
    "dirt",
    [
        lambda harness: (harness / "trial.py").open("a").write("# kinder\n"),
        lambda harness: (harness / "tasks/base.py").unlink(),
        lambda harness: (harness / "new.py").touch(),
        lambda harness: (harness / "trial.py").chmod(0o755),
    ],
    ids=["edited", "deleted", "added", "mode"],
)
def test_a_dirty_harness_stops_the_launch(checkout, dirt):
    """Any difference from the commit, staged or not: that measure could not be reproduced."""
    dirt(checkout / "harness")
    with pytest.raises(SetupError, match="harness has uncommitted changes: commit or restore"):
        target.require_frozen_harness()
    git(checkout, "add", "-A")
    with pytest.raises(SetupError, match="uncommitted"):
        target.require_frozen_harness()


def test_the_command_says_so(checkout, tmp_path):
    """`swarm launch` from a checkout with an edit in harness/ exits with 2 and runs nothing."""
    repo = packing(tmp_path)
    (checkout / "harness/trial.py").open("a").write("# kinder\n")
    said = swarm(repo, "launch", "--trials", "1", code=2, PYTHONPATH=str(checkout))
    assert "harness has uncommitted changes" in said
    assert not list(repo.glob(".swarm/*/ledger.jsonl"))


EDITING = """
import asyncio, json, sys
from pathlib import Path
from harness import fingerprint as identity
from harness.contract import Rung, Slice, Trial
from swarm.executors.base import ExecutorConfig
from swarm.executors.local import LocalExecutor

folder, cores = Path(sys.argv[1]), json.loads(sys.argv[2])
where = Slice("cpu0", "cpu", tuple(cores))

async def main():
    home = identity.export(folder / "export")
    (identity.HARNESS_DIR / "trial.py").write_text("1 / 0  # edited during the run")
    (identity.HARNESS_DIR / "tasks" / "packing.py").write_text("1 / 0")
    async with LocalExecutor(home, ExecutorConfig("packing", "none", "none"), (where,)) as slices:
        trial = Trial("t1", "packing", "none", "c", 7, Rung(1, 5.0, 1024), where,
                      str(folder / "genome"), "pack.py", str(folder / "scratch"), "none")
        outcome = await slices.run(trial)
        print(json.dumps([slices.harness, outcome.harness, outcome.score]))

asyncio.run(main())
"""

GRID = """
def pack(seed, deadline):
    return [((i % 6 + .5) / 6, (i // 6 + .5) / 6, 1 / 12) for i in range(26)]
"""


def test_an_edit_of_the_checkout_during_a_run_changes_nothing(tmp_path):
    """What runs is the export: slices' processes are started from it, and say the same harness."""
    houses = tmp_path / "houses"
    shutil.copytree(installed(), houses, ignore=BYTE_CODE)
    for name in ("genome", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "genome/pack.py").write_text(GRID)
    before = identity.tree_id(houses / "harness")
    cores = json.dumps([min(os.sched_getaffinity(0))])
    words = [sys.executable, "-c", EDITING, str(tmp_path), cores]
    env = environment(PYTHONPATH=str(houses))
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ready, scored, score = json.loads(done.stdout)
    assert ready == scored
    assert scored.startswith(before[:12])
    assert score == pytest.approx(26 / 12)
    assert identity.tree_id(houses / "harness") != before


def test_a_score_of_another_harness_ends_the_run(tmp_path):
    """It is our error: the trial has no score and is never compared with the run's own."""

    class Other(LabExecutor):
        async def run(self, trial):
            return dataclasses.replace(await super().run(trial), harness="other")

    async def main():
        branches = MemoryBranches()
        await run_islands(make_run(tmp_path, branches=branches, executor=Other(branches)))

    with pytest.raises(HarnessError, match="scored by harness other, the run's is lab"):
        run_virtual(main())


def test_guards_of_program_md_discard_with_their_reason(tmp_path):
    """What has more than the limit allows is discarded, whatever its score; the record says so."""
    repo = packing(tmp_path, seconds=5.0, guards={"lines": 0.5}, islands=1)
    swarm(repo, "launch", "--trials", "6", "--sandbox", "none")
    verdicts = [e for e in ledger(repo) if e["kind"] == "verdict_reached"]
    assert verdicts
    assert {verdict["verdict"] for verdict in verdicts} == {"discard"}
    assert all("lines of genome, the head has" in verdict["reason"] for verdict in verdicts)
    rows = json.loads(swarm(repo, "query", "SELECT reason FROM experiments", "--json"))
    assert {verdict["reason"] for verdict in verdicts} <= {row["reason"] for row in rows}
