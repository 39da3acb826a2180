"""A kept change comes home: measured again, merged, or refused without a trace."""

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
    worse = count(1)  # after the first proposal all are worse, and use up the trials

    def answer(asked):
        tried = next(worse)
        return Say(edit(repo, "HARDEN", 7.0) if tried == 1 else edit(repo, "PUSH", 1.0 / tried))

    with Loopback(answer) as server:
        agents = {"m": {**MODEL, "base_url": f"{server.url}/v1"}}
        _set_agents(repo, agents)
        swarm(repo, "launch", "--trials", "20", "--agent", "m", LOOPBACK_KEY=KEY)
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
    """--no-ff, the evidence in trailers git understands, and the genome of the head."""
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
    assert "nothing to merge" in swarm(improved, "merge", FORCE, code=2)


def test_every_keep_is_measured_again_beside_what_was_claimed_of_it(improved):
    """Each against the head that it was kept on; a commit of one's own has no place there."""
    (row,) = json.loads(swarm(improved, "measure", "--kept", "--seeds", "1", "--json"))
    assert row["commit"] == git(improved, "rev-parse", "swarm/run1/a")
    assert row["against"] == git(improved, "rev-parse", "main")
    assert min(row["gain"]["mean"], row["claimed"]["mean"]) > 0.05
    assert "HARDEN to 7.0" in row["hypothesis"]
    lines = swarm(improved, "measure", "--kept", "--seeds", "1", COLUMNS="80").splitlines()
    told = f"#{row['experiment']} ", " a ", Gain(**row["claimed"]).format()
    assert any(all(part in line for part in told) for line in lines)
    assert "--kept" in swarm(improved, "measure", "main", "--kept", code=2)


def test_a_dirty_tree_is_refused_and_nothing_changes(improved):
    """One line with the mend; branch, files and ledger as before."""
    path = improved / GENOME
    path.write_text(path.read_text() + "# mine\n")
    before, events = git(improved, "rev-parse", "main"), ledger(improved)
    said = swarm(improved, "merge", FORCE, code=2)
    assert "Traceback" not in said
    assert GENOME in said
    assert git(improved, "rev-parse", "main") == before
    assert path.read_text().endswith("# mine\n")
    assert ledger(improved) == events


def test_a_conflict_is_refused_before_anything_changes(improved):
    """The user changed the very line; the file is named."""
    path = improved / GENOME
    path.write_text(path.read_text().replace("HARDEN = 1.0", "HARDEN = 2.0"))
    git(improved, "commit", "-qam", "Mine")
    before = git(improved, "rev-parse", "main")
    assert GENOME in swarm(improved, "merge", FORCE, code=2)
    assert git(improved, "rev-parse", "main") == before
    assert git(improved, "status", "--porcelain") == ""


def test_scores_of_another_harness_are_not_merged(improved):
    """What the ledger's harness measured is not what this one would."""
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


def test_nothing_kept_is_nothing_to_merge(tmp_path):
    """The mend is to go on."""
    repo = packing(tmp_path)
    swarm(repo, "launch", "--trials", "4")
    assert "no change was kept yet" in swarm(repo, "merge", code=2)


def test_what_was_not_promoted_is_not_merged_unasked(improved):
    """One line that names the two ways on; an island by name needs the same word."""
    said = swarm(improved, "merge", code=2)
    assert "`swarm promote`" in said and FORCE in said
    assert FORCE in swarm(improved, "merge", "--island", "a", code=2)
    assert "--squash and --pr" in swarm(improved, "merge", "--squash", "--pr", code=2)


@pytest.fixture(scope="module")
def original_promoted(original, tmp_path_factory):
    """Promote that repository's one change: on the one rung there is, on fresh seeds."""
    repo = Path(shutil.copytree(original, tmp_path_factory.mktemp("p") / "repo", symlinks=True))
    rewritten = json.loads(swarm(repo, "promote", "--json"))
    assert rewritten["verdict"] == "transfers"
    return repo


@pytest.fixture
def promoted(original_promoted, tmp_path):
    """Copy the promoted repository for one test."""
    return Path(shutil.copytree(original_promoted, tmp_path / "repo", symlinks=True))


def test_the_consensus_comes_home_and_bisects(promoted):
    """Promoted and merged: the branch, its trailers, and each commit of the merge runs."""
    head = git(promoted, "rev-parse", "swarm/run1/consensus")
    trailers = git(promoted, "log", "-1", "--format=%(trailers:only)", head)
    for key in ("Gain", "Seeds", "Rung", "Experiment", "Island", "Agent", "Promoted", "Cost"):
        assert f"Swarm-{key}: " in trailers
    assert "nothing new to promote" in swarm(promoted, "promote", code=2)
    before = git(promoted, "rev-parse", "main")
    assert "nothing was changed" in swarm(promoted, "merge", "--dry-run")
    assert git(promoted, "rev-parse", "main") == before
    said = swarm(promoted, "merge")
    assert "There is only one rung" in said and "merged as" in said
    assert git(promoted, "rev-list", "--parents", "-1", "main").split()[1:] == [before, head]
    assert ledger(promoted)[-1]["kind"] == "merged" and not ledger(promoted)[-1]["forced"]
    assert json.loads(swarm(promoted, "verify", "--json"))["holds"]
    for commit in git(promoted, "rev-list", f"{before}..main").split():
        git(promoted, "checkout", "-q", commit)
        compile((promoted / GENOME).read_text(), GENOME, "exec")
        assert "HARDEN = 7.0" in (promoted / GENOME).read_text()


def test_squashed_it_is_one_commit_that_verify_knows(promoted):
    """One parent, the same evidence."""
    before = git(promoted, "rev-parse", "main")
    result = json.loads(swarm(promoted, "merge", "--squash", "--json"))
    assert git(promoted, "rev-list", "--parents", "-1", "main").split()[1:] == [before]
    assert ledger(promoted)[-1]["how"] == "squash"
    assert "Swarm-Promoted" not in result["message"] and "Swarm-Rung: 0" in result["message"]
    assert json.loads(swarm(promoted, "verify", "--json"))["holds"]


def test_a_pull_request_is_written_and_main_is_left_alone(promoted):
    """A branch at the consensus and a text; asked again it is the same."""
    before = git(promoted, "rev-parse", "main")
    for _ in range(2):
        result = json.loads(swarm(promoted, "merge", "--pr", "--json"))
    assert git(promoted, "rev-parse", "main") == before
    head = git(promoted, "rev-parse", "swarm/run1/consensus")
    assert git(promoted, "rev-parse", result["branch"]) == head
    assert "1 changes" in Path(result["body"]).read_text()


def test_a_merge_without_its_event_is_recorded_by_the_next(promoted):
    """Killed between git and ledger: the merge is found on the branch and recorded once."""
    swarm(promoted, "merge")
    path = promoted / ".swarm/run1/ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    merged = json.loads(lines[-1])
    path.write_bytes(b"".join(lines[:-1]))
    for _ in range(2):
        assert "already: nothing to merge" in swarm(promoted, "merge", code=2)
    again = [event for event in ledger(promoted) if event["kind"] == "merged"]
    assert [{**each, "recorded": 0, "link": ""} for each in again] == [
        {**merged, "recorded": 0, "link": ""}
    ]
    assert json.loads(swarm(promoted, "verify", "--json"))["holds"]


def test_where_main_moved_the_consensus_is_rebased_and_measured_again(promoted):
    """Another change of the genome on main: rebased on it, promoted there, then merged."""
    path = promoted / GENOME
    path.write_text(path.read_text() + "\nMINE = 1\n")
    git(promoted, "commit", "-qam", "Mine")
    assert "rebase and measure again" in swarm(promoted, "merge", "--dry-run")
    tip = git(promoted, "rev-parse", "main")
    swarm(promoted, "merge")
    told = [event for event in ledger(promoted) if event["kind"] == "promotion_ended"]
    assert [each["base"] == tip for each in told] == [False, True]
    text = path.read_text()
    assert text.endswith("MINE = 1\n") and "HARDEN = 7.0" in text
    assert git(promoted, "merge-base", "main^1", "main^2") == tip
    assert json.loads(swarm(promoted, "verify", "--json"))["holds"]
