"""A kept change is measured again and merged, or refused without any change."""

import json
import re
import shutil
from itertools import count
from pathlib import Path

import pytest

from islands.records import Gain
from tests.support.chain import forge
from tests.support.loopback import KEY, Loopback, Say
from tests.support.target import git, ledger, packing, swarm

pytestmark = pytest.mark.sandbox

GENOME = "genome/pack.py"
FORCE = "--force-unpromoted"
MODEL = {"kind": "openai", "model": "m", "api_key_env": "LOOPBACK_KEY"}


def edit(repo, knob, value):
    """Return a model's answer that sets a knob of the packing genome."""
    line = re.search(rf"^{knob} = .*$", (repo / GENOME).read_text(), re.MULTILINE)[0]
    return (
        f"HYPOTHESIS: {knob} to {value}\n\nFILE: {GENOME}\n<<<<<<< SEARCH\n{line}\n=======\n"
        f"{knob} = {value}\n>>>>>>> REPLACE\n"
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Make a repository on which one island kept one change: it pushes harder at the end."""
    repo = packing(tmp_path_factory.mktemp("original"), seconds=3.0, islands=1)
    number = count(1)  # all proposals after the first are worse, and use up the trials

    def answer(_):
        n = next(number)
        return Say(edit(repo, "HARDEN", 7.0) if n == 1 else edit(repo, "PUSH", 1.0 / n))

    with Loopback(answer) as server:
        agents = {"m": {**MODEL, "base_url": f"{server.url}/v1"}}
        _set_agents(repo, agents)
        swarm(repo, "launch", "--trials", "15", "--agent", "m", LOOPBACK_KEY=KEY)
    return repo


@pytest.fixture
def improved(original, tmp_path):
    """Copy that repository for one test."""
    return Path(shutil.copytree(original, tmp_path / "repo", symlinks=True))


def _set_agents(repo, agents):
    path = repo / "program.md"
    path.write_text(path.read_text().replace("---\n", f"---\nagents: {json.dumps(agents)}\n", 1))
    git(repo, "commit", "-qam", "Name the agent")


def test_a_kept_change_is_measured_again_and_merged_with_its_evidence(improved):
    """A merge commit with the evidence in git's trailers and the genome of the head."""
    again = json.loads(swarm(improved, "measure", "--seeds", "2", "--json"))
    assert again["gain"]["mean"] > 0.05
    before = git(improved, "rev-parse", "main")
    plan = swarm(improved, "merge", FORCE, "--dry-run")
    assert "nothing was changed" in plan
    assert git(improved, "rev-parse", "main") == before
    result = json.loads(swarm(improved, "merge", FORCE, "--json"))
    head = git(improved, "rev-parse", "swarm/run1/a")
    assert git(improved, "rev-parse", "main") == result["merge"]
    assert git(improved, "rev-list", "--parents", "-1", "main").split()[1:] == [before, head]
    trailers = git(improved, "log", "-1", "--format=%(trailers:only)", "main")
    for key in ("Run", "Island", "Score", "Gain", "Seeds", "Harness", "Ledger", "Kept"):
        assert f"Swarm-{key}: " in trailers
    assert "HARDEN = 7.0" in (improved / GENOME).read_text()
    assert git(improved, "status", "--porcelain") == ""
    assert ledger(improved)[-1]["kind"] == "merged"
    assert json.loads(swarm(improved, "verify", "--json"))["holds"]
    assert "nothing new to merge" in swarm(improved, "merge", FORCE)


def test_measure_kept_shows_each_gain_beside_the_claimed_one(improved):
    """Each change is measured against its parent; a commit argument is refused."""
    (row,) = json.loads(swarm(improved, "measure", "--kept", "--seeds", "1", "--json"))
    assert row["commit"] == git(improved, "rev-parse", "swarm/run1/a")
    assert row["against"] == git(improved, "rev-parse", "main")
    assert min(row["gain"]["mean"], row["claimed"]["mean"]) > 0.05
    assert "HARDEN to 7.0" in row["hypothesis"]
    lines = swarm(improved, "measure", "--kept", "--seeds", "1", COLUMNS="80").splitlines()
    parts = f"#{row['experiment']} ", " a ", Gain(**row["claimed"]).format()
    assert any(all(part in line for part in parts) for line in lines)
    assert "--kept" in swarm(improved, "measure", "main", "--kept", code=2)


def test_a_dirty_tree_is_refused_and_nothing_changes(improved):
    """One line with the fix; branch, files and ledger are as before."""
    path = improved / GENOME
    path.write_text(path.read_text() + "# mine\n")
    before, events = git(improved, "rev-parse", "main"), ledger(improved)
    message = swarm(improved, "merge", FORCE, code=2)
    assert "Traceback" not in message
    assert GENOME in message
    assert git(improved, "rev-parse", "main") == before
    assert path.read_text().endswith("# mine\n")
    assert ledger(improved) == events


def test_a_conflict_is_refused_before_anything_changes(improved):
    """The user changed the same line; the message names the file."""
    path = improved / GENOME
    path.write_text(path.read_text().replace("HARDEN = 1.0", "HARDEN = 2.0"))
    git(improved, "commit", "-qam", "Mine")
    before = git(improved, "rev-parse", "main")
    assert GENOME in swarm(improved, "merge", FORCE, code=2)
    assert git(improved, "rev-parse", "main") == before
    assert git(improved, "status", "--porcelain") == ""


def test_scores_of_another_harness_are_not_merged(improved):
    """A ledger of another harness is refused by `merge` and `measure`."""
    path = improved / ".swarm/run1/ledger.jsonl"
    now = ledger(improved)[0]["harness"]
    forge(path, now.encode(), b"0123456789ab-0123456789ab-torch2.0.0-cpu")
    assert "the harness has changed" in swarm(improved, "merge", FORCE, code=2)
    assert "the harness has changed" in swarm(improved, "measure", "--seeds", "1", code=2)


def test_scores_without_a_sandbox_are_not_merged_unasked(improved):
    """Scores made with `--sandbox none` mark the run; a merge needs `--allow-unconfined`."""
    path = improved / ".swarm/run1/ledger.jsonl"
    forge(path, b'"sandbox":"namespaces"', b'"sandbox":"none"')
    assert "--allow-unconfined" in swarm(improved, "merge", FORCE, code=2)
    swarm(improved, "merge", FORCE, "--allow-unconfined")


def test_nothing_kept_is_nothing_to_merge(improved):
    """A run that was cut off before its first keep is refused."""
    path = improved / ".swarm/run1/ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if b'"verdict":"keep"' in line)
    path.write_bytes(b"".join(lines[:first]))
    git(improved, "branch", "-f", "swarm/run1/a", "main")
    assert "no change was kept yet" in swarm(improved, "merge", code=2)


def test_an_unpromoted_change_is_not_merged_unasked(improved):
    """The message names both fixes; `--island` needs `--force-unpromoted`, too."""
    message = swarm(improved, "merge", code=2)
    assert "`swarm promote`" in message and FORCE in message
    assert FORCE in swarm(improved, "merge", "--island", "a", code=2)
    assert "--squash and --pr" in swarm(improved, "merge", "--squash", "--pr", code=2)


@pytest.fixture(scope="module")
def original_promoted(original, tmp_path_factory):
    """Promote that repository's one change, on fresh seeds of its only rung."""
    repo = Path(shutil.copytree(original, tmp_path_factory.mktemp("p") / "repo", symlinks=True))
    promotion = json.loads(swarm(repo, "promote", "--json"))
    assert promotion["verdict"] == "transfers"
    return repo


@pytest.fixture
def promoted(original_promoted, tmp_path):
    """Copy the promoted repository for one test."""
    return Path(shutil.copytree(original_promoted, tmp_path / "repo", symlinks=True))


def test_the_consensus_is_merged_and_can_be_bisected(promoted):
    """Its commits carry trailers, and each commit of the merge is a valid genome."""
    head = git(promoted, "rev-parse", "swarm/run1/consensus")
    trailers = git(promoted, "log", "-1", "--format=%(trailers:only)", head)
    for key in ("Gain", "Seeds", "Rung", "Experiment", "Island", "Agent", "Promoted", "Cost"):
        assert f"Swarm-{key}: " in trailers
    assert "nothing new to promote" in swarm(promoted, "promote")
    assert "not merged yet\nnext: `swarm report`" in swarm(promoted, "status")
    before = git(promoted, "rev-parse", "main")
    assert "nothing was changed" in swarm(promoted, "merge", "--dry-run")
    assert git(promoted, "rev-parse", "main") == before
    text = swarm(promoted, "merge")
    assert "There is only one rung" in text and "merged as" in text
    assert git(promoted, "rev-list", "--parents", "-1", "main").split()[1:] == [before, head]
    assert ledger(promoted)[-1]["kind"] == "merged" and not ledger(promoted)[-1]["forced"]
    assert "nothing new to merge" in swarm(promoted, "merge")
    assert "next: the consensus is merged;" in swarm(promoted, "status")
    assert json.loads(swarm(promoted, "verify", "--json"))["holds"]
    commits = git(promoted, "rev-list", f"{before}..main").split()
    assert commits
    for commit in commits:
        git(promoted, "checkout", "-q", commit)
        compile((promoted / GENOME).read_text(), GENOME, "exec")
        assert "HARDEN = 7.0" in (promoted / GENOME).read_text()


def test_a_squashed_merge_is_one_commit_that_verifies(promoted):
    """It has one parent and the evidence in its message."""
    before = git(promoted, "rev-parse", "main")
    result = json.loads(swarm(promoted, "merge", "--squash", "--json"))
    assert git(promoted, "rev-list", "--parents", "-1", "main").split()[1:] == [before]
    assert ledger(promoted)[-1]["how"] == "squash"
    assert "Swarm-Promoted" not in result["message"] and "Swarm-Rung: 0" in result["message"]
    assert json.loads(swarm(promoted, "verify", "--json"))["holds"]


def test_a_pull_request_is_written_and_main_is_left_alone(promoted):
    """`--pr` makes a branch at the consensus and a text, and can be repeated."""
    before = git(promoted, "rev-parse", "main")
    for _ in range(2):
        result = json.loads(swarm(promoted, "merge", "--pr", "--json"))
    assert git(promoted, "rev-parse", "main") == before
    head = git(promoted, "rev-parse", "swarm/run1/consensus")
    assert git(promoted, "rev-parse", result["branch"]) == head
    assert "1 change," in Path(result["body"]).read_text()


def test_a_merge_without_its_event_is_recorded_by_the_next(promoted):
    """A merge that was killed before its event is found on the branch and recorded once."""
    swarm(promoted, "merge")
    path = promoted / ".swarm/run1/ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    merged = json.loads(lines[-1])
    path.write_bytes(b"".join(lines[:-1]))
    for _ in range(2):
        assert "nothing new to merge" in swarm(promoted, "merge")
    again = [event for event in ledger(promoted) if event["kind"] == "merged"]
    assert [{**event, "recorded": 0, "link": ""} for event in again] == [
        {**merged, "recorded": 0, "link": ""}
    ]
    assert json.loads(swarm(promoted, "verify", "--json"))["holds"]


def test_where_main_moved_the_consensus_is_rebased_and_measured_again(promoted):
    """After another change on main the consensus is rebased, promoted and merged."""
    path = promoted / GENOME
    path.write_text(path.read_text() + "\nMINE = 1\n")
    git(promoted, "commit", "-qam", "Mine")
    assert "rebase and measure again" in swarm(promoted, "merge", "--dry-run")
    tip = git(promoted, "rev-parse", "main")
    swarm(promoted, "merge")
    promotions = [event for event in ledger(promoted) if event["kind"] == "promotion_ended"]
    assert [promotion["base"] == tip for promotion in promotions] == [False, True]
    text = path.read_text()
    assert text.endswith("MINE = 1\n") and "HARDEN = 7.0" in text
    assert git(promoted, "merge-base", "main^1", "main^2") == tip
    assert json.loads(swarm(promoted, "verify", "--json"))["holds"]
