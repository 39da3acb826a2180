"""The coordinator killed with SIGKILL at random moments, and launched again."""

import contextlib
import json
import os
import random
import signal
import subprocess
from collections import Counter

import psutil
import pytest

from tests.support.target import command, environment, git, ledger, packing, swarm


@pytest.mark.sandbox
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_kills_lose_no_trial_repeat_none_and_leave_no_process(tmp_path, kills):
    """No process survives a kill; at the end ledger and branches agree and fsck is clean."""
    repo = packing(tmp_path, seconds=0.8, seed=5)
    draw = random.Random(11)
    scored: set[str] = set()
    for _ in range(kills):
        child = subprocess.Popen(
            command("launch"),
            cwd=repo,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=draw.uniform(0.4, 3.5))
        family = psutil.Process(child.pid).children(recursive=True)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
        ended = {e["started"]["trial"] for e in _events(repo) if e["kind"] == "trial_ended"}
        assert scored <= ended
        if _events(repo):  # on a slow machine the kill may come before the first
            swarm(repo, "verify")
        scored = ended
    swarm(repo, "launch", "--trials", 6)
    _check_ledger_and_branches(repo)
    swarm(repo, "verify")


def _run(repo):
    """Return the name of the run: one killed before its first event is not taken up again."""
    begun = [path for path in repo.glob(".swarm/run*/ledger.jsonl") if b"\n" in path.read_bytes()]
    assert len(begun) <= 1
    return begun[0].parent.name if begun else "run1"


def _events(repo):
    path = repo / f".swarm/{_run(repo)}/ledger.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # the last may be torn
    return [json.loads(line) for line in lines]


def _check_ledger_and_branches(repo):
    events, run = ledger(repo, _run(repo)), _run(repo)
    started = {e["trial"]: e for e in events if e["kind"] == "trial_started"}
    ends = Counter(
        e["started"]["trial"] for e in events if e["kind"] in ("trial_ended", "trial_voided")
    )
    assert set(ends) == set(started) and set(ends.values()) == {1}
    ended = [started[e["started"]["trial"]] for e in events if e["kind"] == "trial_ended"]
    once = [t for t in ended if t["purpose"] != "sentinel"]  # sentinels repeat one trial
    requests = Counter((t["commit"], t["seed"], t["purpose"]) for t in once)
    assert set(requests.values()) == {1}
    heads = {e["island"]: e["head"] for e in events if e["kind"] == "island_opened"}
    commits = {e["experiment"]: e["commit"] for e in events if e["kind"] == "candidate_admitted"}
    for event in events:
        if event["kind"] == "verdict_reached" and event["verdict"] == "keep":
            heads[event["island"]] = commits[event["experiment"]]
        if event["kind"] == "head_adopted":
            heads[event["island"]] = event["new"]
    for island, head in heads.items():
        assert git(repo, "rev-parse", f"swarm/{run}/{island}") == head
    fsck = git(repo, "fsck", "--strict", "--full")
    assert "error" not in fsck
    assert "missing" not in fsck
