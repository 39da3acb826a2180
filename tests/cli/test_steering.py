"""Steering a real launch from the command line, and a run that no launch works on."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.support.target import command, environment, git, ledger, packing, rewrite, swarm


def launched(repo, *options):
    """Return a launch in the background."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = command("launch", *options)
    return subprocess.Popen(words, cwd=repo, env=environment(), start_new_session=True, **pipes)


def wait_for(repo, kind, count=1):
    """Wait until the ledger has so many events of a kind; return them."""
    for _ in range(1200):
        path = repo / ".swarm/run1/ledger.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        found = [e for e in map(json.loads, lines) if e["kind"] == kind]
        if len(found) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no {kind} in 120 s")


@pytest.mark.sandbox
def test_a_launch_is_steered_killed_and_steered_again(tmp_path):
    """Each command is in the ledger when it returns, and is taken up after a kill at once."""
    repo = packing(tmp_path, seconds=0.3, seed=5)
    child = launched(repo, "--islands", "1")
    try:
        wait_for(repo, "trial_ended", 2)
        out = swarm(repo, "note", "try shorter warmups", "--island", "a")
        assert out.startswith("run1: note 1 to the agent of a: try shorter warmups")
        assert "no agent here is a language model" in out
        assert "paused: a" in swarm(repo, "pause", "a")
        assert "a is paused already" in swarm(repo, "pause", "a", code=2)
        assert "no such island" in swarm(repo, "restart-from", "abcd", "--island", "b", code=2)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        started = len([e for e in ledger(repo) if e["kind"] == "trial_started"])
        said = [e["kind"] for e in ledger(repo) if e["kind"] in {"note_added", "islands_paused"}]
        assert said == ["note_added", "islands_paused"]
        status = swarm(repo, "status")
        assert "a is paused" in status and "note 1 to a: try shorter warmups" in status
        assert "there is nothing to stop" in swarm(repo, "stop", code=2)
        swarm(repo, "limits", "--stall", 500, "--minutes", "none")  # with no launch
        rungs = [{"depth": 1, "seconds": 0.3, "memory_mib": 1024}]
        rewrite(repo, rungs=rungs, seed=6)
        refusal = swarm(repo, "launch", code=2)
        assert "`seed` differs from what run run1 began with (5 -> 6)" in refusal
        rewrite(repo, rungs=rungs, seed=5, limits={"trials": 5000}, notify="cat >> ../news")
        child = launched(repo)
        (revised,) = wait_for(repo, "program_revised")
        changes = ["limits.trials: none -> 5000", "notify: none -> cat >> ../news"]
        assert revised["changes"] == changes and revised["limits"] == ["trials"]
        assert "resumed: a" in swarm(repo, "resume")
        wait_for(repo, "trial_started", started + 2)
        assert json.loads(swarm(repo, "stop", "--json"))["kind"] == "stop_asked"
        assert child.wait(60) == 0
    finally:
        child.kill()
    news = [json.loads(line) for line in (tmp_path / "news").read_text().splitlines()]
    assert news[-1]["topic"] == "end" and "`swarm stop`" in news[-1]["text"]
    events = [e["kind"] for e in ledger(repo)]
    assert events[-1] == "run_stopped"
    assert "trial_started" not in events[events.index("stop_asked") :]
    assert list((repo / ".swarm/run1/steering").iterdir()) == []
    lineage = swarm(repo, "lineage")
    assert "by a person: note 1: try shorter warmups" in lineage
    assert "by a person: limits set: minutes none, stall 500" in lineage
    assert "no such experiment" in swarm(repo, "drop", "#99999", code=2)
    swarm(repo, "verify")
    assert git(repo, "status", "--porcelain") == ""
