"""`swarm launch` end to end: a real repository, real sandboxes, real child processes."""

import json
import os
import signal
import subprocess
import time
from itertools import count

import psutil
import pytest

from tests.support.loopback import KEY, Cut, Garbage, Hang, Loopback, Refuse, Say, Status
from tests.support.target import command, environment, git, ledger, packing, rewrite, swarm


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A packing repository on which a swarm of two islands has run 24 trials."""
    repo = packing(tmp_path_factory.mktemp("launch"), seed=3)
    said = swarm(repo, "launch", "--trials", "24")
    return repo, said


def test_a_launch_measures_a_baseline_and_tries_changes(done):
    """Every trial ended in a score or a failure, and the last line says what is next."""
    repo, said = done
    events = ledger(repo)
    ends = [e for e in events if e["kind"] == "trial_ended"]
    assert len(ends) == 24
    assert [e["kind"] for e in events][-1] == "run_stopped"
    assert all((e["outcome"]["score"] is None) != (e["outcome"]["failure"] is None) for e in ends)
    assert "next: `swarm lineage`" in said


def test_every_candidate_is_held_and_every_kept_one_is_on_its_branch(done):
    """Branches are where the ledger says, and git finds nothing wrong."""
    repo, _ = done
    heads = {e["island"]: e["head"] for e in ledger(repo) if e["kind"] == "island_opened"}
    commits = {
        e["experiment"]: e["commit"] for e in ledger(repo) if e["kind"] == "candidate_admitted"
    }
    for event in ledger(repo):
        if event["kind"] == "verdict_reached" and event["verdict"] == "keep":
            heads[event["island"]] = commits[event["experiment"]]
        if event["kind"] == "head_adopted":
            heads[event["island"]] = event["new"]
    for island, head in heads.items():
        assert git(repo, "rev-parse", f"swarm/run1/{island}") == head
    held = git(repo, "for-each-ref", "--format=%(objectname)", "refs/swarm/run1/tried").split()
    assert set(held) == set(commits.values())
    git(repo, "fsck", "--strict")
    assert git(repo, "status", "--porcelain") == ""


def test_the_record_answers(done):
    """Status, lineage and query agree with the ledger."""
    repo, _ = done
    status = json.loads(swarm(repo, "status", "--json"))
    assert sum(island["trials"] for island in status["islands"]) == 24
    rows = json.loads(swarm(repo, "query", "select count(*) as n from trials", "--json"))
    assert rows[0]["n"] == 24
    lineage = json.loads(swarm(repo, "lineage", "--json"))
    admitted = [e for e in ledger(repo) if e["kind"] == "candidate_admitted"]
    assert {e["commit"] for e in admitted} < {node["id"] for node in lineage["nodes"]}


def test_a_finished_run_says_which_limit_ended_it(done):
    """Launched again at the same limit it ends at once, and a higher limit goes on."""
    repo, _ = done
    assert "limit: trials" in swarm(repo, "launch", "--trials", "24")
    swarm(repo, "launch", "--trials", "26")
    assert sum(e["kind"] == "trial_ended" for e in ledger(repo)) == 26


def test_ctrl_c_stops_within_five_seconds_and_leaves_nothing_behind(tmp_path):
    """SIGINT to the group, as a terminal sends it: exit 130, no process, ready to go on."""
    repo = packing(tmp_path, seconds=30.0)
    child = subprocess.Popen(
        command("launch", "--json"),
        cwd=repo,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert any('"trial_started"' in line for line in child.stdout), child.stderr.read()
    family = psutil.Process(child.pid).children(recursive=True)
    assert family
    began = time.monotonic()
    os.killpg(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert child.returncode == 130
    assert "`swarm launch` goes on from here" in said
    _, alive = psutil.wait_procs(family, timeout=2)
    assert alive == []
    assert ledger(repo)[-1]["reason"] == "interrupted"


@pytest.mark.parametrize(
    ("front", "message"),
    [
        ({"genom": ["x"]}, "program.md:"),
        ({"islands": 0}, "program.md:"),
        ({"slices": {"count": 999}}, "slices.count: 999 slices asked for"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path, front, message):
    """It names the file or key; nothing is begun."""
    repo = packing(tmp_path)
    rewrite(repo, **front)
    said = swarm(repo, "launch", code=2)
    assert message in said
    assert "Traceback" not in said
    assert not (repo / ".swarm/run1/ledger.jsonl").exists() or ledger(repo) == []


def test_uncommitted_changes_and_a_detached_head_are_refused(tmp_path):
    """What is run is what is committed, and where it comes home to is a branch."""
    repo = packing(tmp_path)
    genome = repo / "genome/pack.py"
    genome.write_text(genome.read_text() + "\n")
    assert "uncommitted changes in genome/pack.py" in swarm(repo, "launch", code=2)
    git(repo, "checkout", "-q", "--", ".")
    git(repo, "checkout", "-q", "--detach")
    assert "HEAD is detached" in swarm(repo, "launch", code=2)


def test_outside_of_a_repository_the_mend_is_said(tmp_path):
    """There is no traceback and no empty folder."""
    assert "git" in swarm(tmp_path, "launch", code=2)


def test_an_unknown_agent_or_a_missing_key_is_said(tmp_path):
    """The agent, the variable, and where to write it."""
    repo = packing(tmp_path, agents={"m": {"kind": "anthropic", "model": "claude-sonnet-5-5"}})
    assert "--agent nobody" in swarm(repo, "launch", "--agent", "nobody", code=2)
    assert "ANTHROPIC_API_KEY" in swarm(repo, "launch", "--agent", "m", code=2)


GOOD = """HYPOTHESIS: {n} tries

FILE: genome/pack.py
<<<<<<< SEARCH
TRIES = 2
=======
TRIES = {n}
>>>>>>> REPLACE
"""
LOST = GOOD.replace("TRIES = 2", "TRIALS = 31")

ERRORS = [
    *[Say(LOST.format(n=32))] * 4,
    *[Say("I would rather talk about it.")] * 4,
    Refuse(),
    Hang(),
    Status(429, {"retry-after": "0"}),
    Status(500),
    Garbage(),
    Cut(),
    Say(LOST.format(n=33)),
    Say(GOOD.format(n=33)),
]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_no_error_of_a_language_model_stops_the_swarm(tmp_path, kind):
    """Good edits become candidates, all else events, and the run reaches its bound."""
    steps = iter(ERRORS)
    numbers = count(40)

    def answer(asked):
        return next(steps, None) or Say(GOOD.format(n=next(numbers)))

    with Loopback(answer) as server:
        base = server.url if kind == "anthropic" else f"{server.url}/v1"
        model = {
            "kind": kind,
            "model": "loopback",
            "base_url": base,
            "api_key_env": "LOOPBACK_KEY",
            "timeout_seconds": 0.5,
            "requests_per_minute": 100000,
            "price": {"input": 1, "output": 1, "cache_read": 1, "cache_write": 1},
        }
        repo = packing(tmp_path, agents={"model": model}, agent="model", islands=1)
        said = swarm(repo, "launch", "--trials", "12", "--max-usd", "9", LOOPBACK_KEY=KEY)
    events = ledger(repo)
    failed = [e["error_kind"] for e in events if e["kind"] == "agent_failed"]
    assert failed == ["unapplied", "malformed", "refusal", "timeout"]
    received = [e["notes"]["error_kinds"] for e in events if e["kind"] == "proposal_received"]
    assert received[0] == "rate, server, malformed, network, unapplied"
    assert set(received[1:]) == {""}
    assert sum(e["kind"] == "trial_ended" for e in events) == 12
    assert [e for e in events if e["kind"] == "candidate_admitted"]
    assert 0 < sum(e["usage"]["usd"] for e in events if "usage" in e) <= 9
    assert KEY not in said + (repo / ".swarm/run1/ledger.jsonl").read_text()


def test_a_call_that_tokens_do_not_cover_is_never_made(tmp_path):
    """--max-tokens is reserved before each call: here not even the first one fits."""
    with Loopback(lambda asked: Say(GOOD.format(n=1))) as server:
        model = {"kind": "openai", "model": "m", "base_url": f"{server.url}/v1"}
        repo = packing(tmp_path, agents={"m": model}, agent="m", islands=1)
        swarm(repo, "launch", "--trials", "12", "--max-tokens", "5")
        assert not server.log
    assert ledger(repo)[-1]["limit"] == "tokens"
