"""Launches whose agent is a command of the user's own, and what program.md says wrong of one."""

import signal
import subprocess
import time

import psutil
import pytest

from tests.support.target import command, environment, git, ledger, packing, rewrite, swarm

RUNG = [{"depth": 1, "seconds": 1.0, "memory_mib": 1024}]
TUNE = (
    r"""awk '/^PUSH = /{$3 = $3 * 3.6} {print}' genome/pack.py > $TMPDIR/new"""
    " && cp $TMPDIR/new genome/pack.py && echo HYPOTHESIS: harder pushes"
)
"""An agent with an idea for every head: the first, from 10 to 36, is a good one."""


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    """A repository of the packing task."""
    return packing(tmp_path_factory.mktemp("target"))


@pytest.mark.sandbox
def test_a_command_makes_a_kept_change(repo):
    """Prompt on standard input, a scratch copy as working folder, the last HYPOTHESIS line."""
    agents = {"own": {"kind": "command", "command": TUNE, "seconds": 60, "network": True}}
    rewrite(
        repo, rungs=RUNG, agents=agents, agent="own", islands=1, limits={"trials": 40, "minutes": 2}
    )
    swarm(repo, "launch", "--stop-at", "2.5")
    events = ledger(repo)
    received = [event for event in events if event["kind"] == "proposal_received"]
    assert "harder pushes" in [event["hypothesis"] for event in received]
    kept = [e for e in events if e["kind"] == "verdict_reached" and e["verdict"] == "keep"]
    assert kept
    assert "PUSH = 36" in git(repo, "show", f"{kept[0]['commit']}:genome/pack.py")
    assert list((repo / ".swarm/run1/scratch/agents").iterdir()) == []
    assert "unmetered" in swarm(repo, "cost")  # it asked for the network
    assert "agent own is unmetered" in swarm(repo, "status")


MISTAKES = [
    ({"kind": "claude-code"}, "agents.own.model is missing: add `model: claude-sonnet-5-5`"),
    ({"kind": "codex", "model": "m", "command": "x"}, "is only for `kind: command`"),
    ({"kind": "codex", "model": "m", "provider": "anthropic"}, "must be openai for codex"),
    ({"kind": "aider", "model": "m", "network": True}, "is only for `kind: command`"),
    ({"kind": "command"}, "agents.own.command is missing: add `command: my-agent --edit`"),
    ({"kind": "command", "command": "x", "env": ["A"]}, "add `network: true`, or delete it"),
    ({"kind": "command", "command": "x", "max_usd": 1}, "`model` is missing"),
    ({"kind": "command", "command": "x", "model": "m", "network": True}, "take no base URL"),
    ({"kind": "command", "command": "x", "path": "y"}, "name the executable in `command`"),
    ({"kind": "claude", "model": "m"}, "must be mutator, anthropic, openai, claude-code, codex"),
    ({"kind": "codex", "model": "m", "max_turn": 3}, "is not a key: did you mean `max_turns`"),
    (
        {"kind": "codex", "model": "m", "path": "/no/such", "api_key_env": "PATH"},
        "is Codex, and there is no /no/such: install it (`npm install -g @openai/codex@latest`)",
    ),
    ({"kind": "command", "command": "no-such-agent x"}, "there is no 'no-such-agent' on PATH"),
    ({"kind": "command", "command": "sh x", "mount": ["/no/such"]}, "`mount` names /no/such"),
    (
        {"kind": "command", "command": "sh x", "network": True, "env": ["NO_SUCH_KEY"]},
        "`env` names NO_SUCH_KEY: it is not set",
    ),
]


@pytest.mark.sandbox
@pytest.mark.parametrize(("agent", "said"), MISTAKES)
def test_a_mistake_is_one_line_with_the_fix(repo, agent, said):
    """Before anything is measured, and no run is left behind."""
    rewrite(repo, rungs=RUNG, agents={"own": agent}, agent="own", islands=1, limits={"trials": 2})
    line = swarm(repo, "launch", "--new", code=2)
    assert said in line
    assert len(line.splitlines()) == 1
    assert not (repo / ".swarm/run2").exists()


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)]
)
def test_a_killed_launch_leaves_no_agent(repo, number):
    """Nor a scratch copy, which lies in the memory of its sandbox, nor a gateway, which is ours."""
    marker = f"86{number:03d}"
    hang = {"kind": "command", "command": f"sleep {marker} & setsid sleep {marker}"}
    rewrite(repo, rungs=RUNG, agents={"own": hang}, agent="own", islands=1)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    launch = subprocess.Popen(command("launch", "--new"), cwd=repo, env=environment(), **quiet)

    def family():
        found = psutil.process_iter(["cmdline"])
        return [each for each in found if marker in " ".join(each.info["cmdline"] or [])]

    while not family():
        assert launch.poll() is None
        time.sleep(0.2)
    alive = [*family(), *psutil.Process(launch.pid).children(recursive=True)]
    launch.send_signal(number)
    launch.wait()
    _, left = psutil.wait_procs(alive, timeout=10)
    assert left == []
    folders = [f for f in repo.glob(".swarm/*/scratch/agents/*/*") if not f.is_socket()]
    assert folders == []
    if number == signal.SIGTERM:
        last = max(repo.glob(".swarm/run*"), key=lambda path: int(path.name[3:]))
        assert list((last / "scratch/agents").iterdir()) == []
