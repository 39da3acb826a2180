"""`swarm launch` end to end: a real repository, real sandboxes, real child processes."""

import json
import os
import shutil
import signal
import subprocess
from itertools import count
from pathlib import Path

import psutil
import pytest

from tests.support.loopback import KEY, Cut, Garbage, Hang, Loopback, Refuse, Say, Status
from tests.support.target import command, environment, git, ledger, packing, rewrite, swarm


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A packing repository in which a run of two islands has made 12 trials, and its output."""
    repo = packing(tmp_path_factory.mktemp("launch"), seed=3)
    return repo, swarm(repo, "launch", "--trials", "12")


@pytest.mark.sandbox
def test_a_launch_measures_a_baseline_and_tries_changes(finished):
    """Every trial ends in a score or a failure, and the last line says what to do next."""
    repo, output = finished
    events = ledger(repo)
    ends = [e for e in events if e["kind"] == "trial_ended"]
    assert len(ends) == 12
    assert [e["kind"] for e in events][-1] == "run_stopped"
    assert all((e["outcome"]["score"] is None) != (e["outcome"]["failure"] is None) for e in ends)
    assert "next: `swarm lineage`" in output


@pytest.mark.sandbox
def test_every_candidate_is_held_and_every_kept_one_is_on_its_branch(finished):
    """Branches are at the ledger's heads; `git log --all` shows them alone, and nothing is lost."""
    repo, _ = finished
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
    shown = git(repo, "log", "--all", "--format=%H").split()
    assert set(shown) == set(git(repo, "log", "main", *heads.values(), "--format=%H").split())
    git(repo, "gc", "-q", "--prune=now")
    for commit in commits.values():
        assert git(repo, "cat-file", "-t", commit) == "commit"
    git(repo, "fsck", "--strict")
    assert git(repo, "status", "--porcelain") == ""


@pytest.mark.sandbox
def test_status_lineage_and_query_agree_with_the_ledger(finished):
    """They count its trials, and the lineage holds every admitted candidate."""
    repo, _ = finished
    status = json.loads(swarm(repo, "status", "--json"))
    assert sum(island["trials"] for island in status["islands"]) == 12
    rows = json.loads(swarm(repo, "query", "select count(*) as n from trials", "--json"))
    assert rows[0]["n"] == 12
    lineage = json.loads(swarm(repo, "lineage", "--json"))
    admitted = [e for e in ledger(repo) if e["kind"] == "candidate_admitted"]
    assert {e["commit"] for e in admitted} < {node["id"] for node in lineage["nodes"]}


@pytest.mark.sandbox
def test_trials_are_those_of_the_launch(finished):
    """A run is resumed for two more; a limit that is used up is told with what lifts that one."""
    repo, _ = finished
    assert "limit: trials" in swarm(repo, "launch", "--trials", "2")
    assert sum(e["kind"] == "trial_ended" for e in ledger(repo)) == 14
    assert "already" not in swarm(repo, "limits", "--trials", "15")
    said = swarm(repo, "limits", "--trials", "14")
    assert said.endswith("run1 has that already: 14 trials\n")
    refused = swarm(repo, "launch", code=2)
    assert "run1 has had 14 trials, and its limit is 14: add `--trials N`" in refused
    assert "or `swarm limits --trials N` (or `none`), which set this one" in refused
    assert ledger(repo)[-1]["kind"] == "limits_set"


@pytest.mark.sandbox
def test_a_base_that_cannot_be_scored_leaves_no_run(finished, tmp_path):
    """Such a run would be the latest, and hide the good one; that it is removed is said."""
    repo = Path(shutil.copytree(finished[0], tmp_path / "repo", symlinks=True))
    (repo / "genome/pack.py").write_text("import nope\n")
    git(repo, "commit", "-qam", "Break it")
    before = git(repo, "for-each-ref", "refs/heads/swarm", "refs/swarm")
    told = swarm(repo, "launch", "--new", "--islands", "1", code=2)
    assert "fails its own baseline" in told
    assert told.endswith("; run2 has no score, so it was removed again\n")
    assert git(repo, "for-each-ref", "refs/heads/swarm", "refs/swarm") == before
    assert [path.name for path in (repo / ".swarm").iterdir() if path.is_dir()] == ["run1"]
    assert json.loads(swarm(repo, "status", "--json"))["run"]["run"] == "run1"


@pytest.mark.sandbox
def test_ctrl_c_leaves_no_process_behind(tmp_path):
    """SIGINT to the group, as a terminal sends it: exit code 130, ready to resume."""
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
    os.killpg(child.pid, signal.SIGINT)
    _, output = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "`swarm launch` resumes the run" in output
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
def test_an_error_of_the_user_is_one_line_and_exit_code_2(tmp_path, front, message):
    """The line names the file or key, and no run is started."""
    repo = packing(tmp_path)
    rewrite(repo, **front)
    output = swarm(repo, "launch", code=2)
    assert message in output
    assert "Traceback" not in output
    assert not (repo / ".swarm/run1/ledger.jsonl").exists() or ledger(repo) == []


def test_uncommitted_changes_and_a_detached_head_are_refused(tmp_path):
    """A run measures what is committed, and merges into a branch."""
    repo = packing(tmp_path)
    genome = repo / "genome/pack.py"
    genome.write_text(genome.read_text() + "\n")
    assert "uncommitted changes in genome/pack.py" in swarm(repo, "launch", code=2)
    git(repo, "checkout", "-q", "--", ".")
    git(repo, "checkout", "-q", "--detach")
    assert "HEAD is detached" in swarm(repo, "launch", code=2)


def test_outside_a_repository_the_error_says_what_to_do(tmp_path):
    """It is one line, and nothing is written."""
    output = swarm(tmp_path, "launch", code=2)
    assert "swarm init DIR" in output
    assert output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sandbox
def test_an_unknown_agent_and_a_missing_key_are_refused(tmp_path):
    """The error names the option or the environment variable."""
    repo = packing(tmp_path, agents={"m": {"kind": "anthropic", "model": "claude-sonnet-5-5"}})
    assert "--agent nobody" in swarm(repo, "launch", "--agent", "nobody", code=2)
    assert "ANTHROPIC_API_KEY" in swarm(repo, "launch", "--agent", "m", code=2)


EDIT = """HYPOTHESIS: {n} tries

FILE: genome/pack.py
<<<<<<< SEARCH
TRIES = 2
=======
TRIES = {n}
>>>>>>> REPLACE
"""
UNAPPLIED = EDIT.replace("TRIES = 2", "TRIALS = 31")

ERRORS = [
    *[Say(UNAPPLIED.format(n=n)) for n in (29, 30, 31, 32)],
    *[Say(f"I would rather talk about it, {n}.") for n in range(4)],
    Refuse(),
    Hang(),
    Status(429, {"retry-after": "0"}),
    Status(500),
    Garbage(),
    Cut(),
    Say(UNAPPLIED.format(n=33)),
    Say(EDIT.format(n=33)),
]


@pytest.mark.sandbox
@pytest.mark.parametrize("kind", ["openai", pytest.param("anthropic", marks=pytest.mark.soak)])
def test_no_error_of_a_language_model_stops_the_swarm(tmp_path, kind):
    """Good edits become candidates, errors become events, and the run reaches its limit."""
    steps = iter(ERRORS)
    numbers = count(40)

    def reply(request):
        return next(steps, None) or Say(EDIT.format(n=next(numbers)))

    with Loopback(reply) as server:
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
        output = swarm(repo, "launch", "--trials", "8", "--max-usd", "9", LOOPBACK_KEY=KEY)
    events = ledger(repo)
    failed = [e["error_kind"] for e in events if e["kind"] == "agent_failed"]
    assert failed == ["unapplied", "malformed", "refusal", "timeout"]
    received = [e["notes"]["error_kinds"] for e in events if e["kind"] == "proposal_received"]
    assert received[0] == "rate, server, malformed, network, unapplied"
    assert len(received) > 1
    assert set(received[1:]) == {""}
    assert sum(e["kind"] == "trial_ended" for e in events) == 8
    assert [e for e in events if e["kind"] == "candidate_admitted"]
    assert 0 < sum(e["usage"]["usd"] for e in events if "usage" in e) <= 9
    assert KEY not in output + (repo / ".swarm/run1/ledger.jsonl").read_text()
    assert "model: loopback costs $1 in and $1 out per million tokens (program.md)" in output
    calls = [e for e in events if e["kind"] == "model_called"]
    ended = [e for e in events if e["kind"] in ("proposal_received", "agent_failed")]
    assert len(calls) == sum(e["usage"]["calls"] for e in ended)
    spent = sum(e["usage"]["usd"] for e in ended)
    assert sum(call["usd"] for call in calls) == pytest.approx(spent, abs=1e-9)
    [told] = [row for row in json.loads(swarm(repo, "cost", "--json")) if row["agent"] == "model"]
    [row] = told["calls"]
    assert (row["model"], row["calls"], row["usd"]) == (
        "loopback",
        len(calls),
        pytest.approx(spent),
    )
    assert f"{len(calls)} calls to loopback ({row['failed']} failed)" in swarm(repo, "status")
    assert json.loads(swarm(repo, "status", "--json"))["calls"] == [row]


@pytest.mark.sandbox
def test_a_call_above_max_tokens_is_never_made(tmp_path):
    """Tokens are reserved before each call: here not even the first one fits."""
    with Loopback(lambda request: Say(EDIT.format(n=1))) as server:
        model = {"kind": "openai", "model": "m", "base_url": f"{server.url}/v1"}
        repo = packing(tmp_path, agents={"m": model}, agent="m", islands=1)
        swarm(repo, "launch", "--trials", "12", "--max-tokens", "5")
        assert not server.log
    assert ledger(repo)[-1]["limit"] == "tokens"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--tier", "1"], "--sandbox landlock"),
        (["--tier", "2"], "--sandbox namespaces"),
        (["--unsafe"], "--sandbox none"),
    ],
)
def test_old_names_of_options_are_refused_in_one_line(tmp_path, old, new):
    """The line names the new option."""
    output = swarm(tmp_path, "launch", *old, code=2)
    assert new in output
    assert output.count("\n") == 1
