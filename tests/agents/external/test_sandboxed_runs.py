"""Runs of a coding agent in its sandbox, by a fake that behaves as each may."""

import asyncio

import psutil
import pytest

from islands.genome.admission import AdmissionLimits, Refused, admit
from islands.records import Entry
from swarm.cli.agent_report import agent_lines, diagnose_agents
from tests.support.coding_agents import GENOME, brief, fake_claude, make_agent, propose

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that everybody can enter, with the fake in it."""
    folder = tmp_path_factory.mktemp("agents")
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)
    fake_claude(folder)
    return folder


@pytest.fixture
def run(place):
    """Return a function that runs the fake and returns what came of it."""
    return lambda word, **settings: propose(make_agent(place, **settings), brief(word))


def marked():
    """Return the processes of the fake that hangs."""
    found = (process.info for process in psutil.process_iter(["cmdline"]))
    return [info["cmdline"] for info in found if "86321" in (info["cmdline"] or [])]


def test_what_it_changed_is_the_proposal(run, place):
    """Hypothesis and edit; nothing stays of the run but its log."""
    made = run("DO-EDIT")
    assert made.hypothesis == "a larger step"
    assert made.files == {"gen/train.py": Entry(b"LR = 0.2\n")}
    assert made.notes["session"] == "s1"
    assert list((place / "scratch").iterdir()) == []
    assert '"type":"result"' in (place / "logs/a-7.log").read_text()


@pytest.mark.parametrize(
    ("word", "kind", "reason"),
    [
        ("DO-NOTHING", "unapplied", "changed no file of the genome"),
        ("DO-SILENT", "malformed", "ended without a result: I think I am done"),
        ("DO-EMPTY", "malformed", "ended without a result: exit status 0"),
        ("DO-ERROR", "malformed", "scripted 401"),
        ("DO-REPLACE", "malformed", "replaced its working folder"),
    ],
)
def test_a_run_without_a_good_end_is_no_proposal(run, word, kind, reason):
    """Whatever it had changed, and whatever its exit status."""
    error = run(word)
    assert error.error_kind == kind
    assert reason in str(error)
    assert "\n" not in str(error)


def test_at_its_limits_it_is_killed_with_all_it_started(run):
    """A child in a session of its own too; a result that it printed before does not count."""
    error = run("DO-HANG", seconds=1.5)
    assert error.error_kind == "timeout"
    assert "killed after `seconds: 1.5`" in str(error)
    assert marked() == []
    assert "killed at `memory_mib: 256`" in str(run("DO-EAT", memory_mib=256))


def test_a_cancelled_run_leaves_no_process(place):
    """Cancelling returns when all of it is dead."""

    async def main():
        task = asyncio.create_task(make_agent(place).propose(brief("DO-HANG")))
        while not marked():  # noqa: ASYNC110 - nothing tells that it has started
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), marked()

    assert asyncio.run(main()) == (True, [])
    assert list((place / "scratch").iterdir()) == []


def test_a_link_reaches_admission_as_one(run):
    """It is refused there, with a reason that the agent is shown."""
    made = run("DO-LINK")
    head = {path: Entry(text.encode()) for path, text in GENOME.items()}
    answer = admit(made, head, ("gen", "solo.py"), AdmissionLimits(), "")
    assert isinstance(answer, Refused)
    assert answer.rule == "link"


def test_a_flood_of_output_does_no_harm(run):
    """The log keeps its beginning and its end, where the result stands."""
    assert run("DO-FLOOD").files == {"gen/train.py": Entry(b"LR = 0.2\n")}


def test_only_files_that_a_person_would_commit_are_read_back(run):
    """No instructions, no path with a dot, no binary file, nothing outside of the genome."""
    assert set(run("DO-PLANT").files) == {"gen/train.py", "gen/deep/new.py"}


def test_it_sees_its_scratch_copy_and_no_key(run, place, monkeypatch):
    """No instruction files, no network but its own loopback, nothing of the host's homes."""
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "sk-secret-of-the-host")
    genome = {**GENOME, "gen/CLAUDE.md": "obey\n", "gen/.env": "A=1\n"}
    made = propose(make_agent(place), brief("DO-LOOK", genome))
    seen = made.files["gen/train.py"].data.decode()
    assert "TOLD" in seen
    for absent in ("sk-secret-of-the-host", "CLAUDE.md", ".env", "eth0", str(place / "logs")):
        assert absent not in seen


def test_the_doctor_tells_what_is_installed_and_what_to_write(place, monkeypatch):
    """An agent that starts gets a line for program.md; another the line that installs it."""
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("CLAUDE_CODE_OAUTH_TOKEN", raising=False)
    lines = list(agent_lines(diagnose_agents()))
    assert lines[:3] == [
        f"agent claude-code: Claude Code 2.1.0 at {place}/claude, but ANTHROPIC_API_KEY is not set",
        "  agents: {claude-code: {kind: claude-code, model: claude-sonnet-5-5}}",
        "  agent: claude-code",
    ]
    assert "agent codex: not installed: `npm install -g @openai/codex@latest`" in lines
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-x")
    lines = list(agent_lines(diagnose_agents()))
    assert lines[0] == f"agent claude-code: Claude Code 2.1.0 at {place}/claude"
    assert lines[1].endswith("api_key_env: CLAUDE_CODE_OAUTH_TOKEN}}")
