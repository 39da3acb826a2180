"""Values of a coding agent's variables: neither its log, nor a message, nor a proposal has one."""

import pytest

from tests.support.coding_agents import GENOME, brief, make_agent, propose

pytestmark = pytest.mark.sandbox

KEY = "crsr-0123456789abcdef"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that has `sh -c` propose, and returns what came of it and its log."""
    monkeypatch.setenv("MYKEY", KEY)
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)

    def ran(script, genome=GENOME):
        keys = {"kind": "command", "network": True, "env": ("MYKEY",), "path": ""}
        made = propose(make_agent(tmp_path, command=script, **keys), brief("Go.", genome))
        return made, (tmp_path / "logs/a-7.log").read_text()

    return ran


def test_a_failed_run_is_told_without_the_key(run):
    """In the reason, which goes to the ledger and to later prompts, and in the log."""
    error, log = run("echo 401 unauthorized for key $MYKEY; echo $MYKEY >&2; exit 1")
    assert error.error_kind == "malformed"
    assert "ended without a result: exit status 1: ***" in str(error)
    assert log == "401 unauthorized for key ***\n\n***\n"


def test_a_hypothesis_is_recorded_without_the_key(run):
    """It becomes a commit's message."""
    made, _ = run("echo x = 2 > solo.py; echo HYPOTHESIS: a call with $MYKEY works")
    assert made.hypothesis == "a call with *** works"


@pytest.mark.parametrize("write", ["echo k = $MYKEY > solo.py", "echo 1 > gen/$MYKEY.py"])
def test_a_file_that_holds_the_key_is_no_proposal(run, write):
    """It would become a commit; the reason names the variable."""
    error, _ = run(f"{write}; echo HYPOTHESIS: better")
    assert error.error_kind == "malformed"
    assert "wrote the value of MYKEY into" in str(error)
    assert KEY not in str(error)


def test_a_value_that_the_genome_held_before_is_no_secret(run):
    """Such as the name of a model."""
    made, _ = run("echo x = 2 >> solo.py; echo HYPOTHESIS: better", GENOME | {"solo.py": KEY})
    assert made.hypothesis == "better"
