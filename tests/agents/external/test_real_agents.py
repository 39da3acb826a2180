"""Real coding agents against a scripted model: each makes kept changes, and obeys no planted file.

They are looked for below SWARM_TEST_AGENTS, as tests/agents/external/install_agents.sh lays them
out, then on PATH; what is not installed is skipped. The script installs and runs them all.
"""

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from islands.records import Entry
from swarm.agents.external import agent as agent_module
from swarm.agents.external.kinds import KNOWN
from swarm.agents.external.probe import version
from swarm.agents.external.sandbox import SCRATCH, run_job
from swarm.agents.llm.settings import ModelSettings
from tests.support.coding_agents import brief, make_agent
from tests.support.doors import gateway_of
from tests.support.loopback import KEY
from tests.support.planted_files import MARK, STOLEN, planted
from tests.support.scripted_coder import HYPOTHESIS, ScriptedCoder
from tests.support.target import git, ledger, packing, rewrite, swarm

pytestmark = pytest.mark.sandbox

PLACES = {
    "claude-code": "npm/node_modules/.bin/claude",
    "codex": "npm/node_modules/.bin/codex",
    "opencode": "npm/node_modules/.bin/opencode",
    "mini-swe-agent": "mini/bin/mini",
    "aider": "aider/bin/aider",
}

PACKING = [
    ("PUSH = 10.0", "PUSH = 36.0"),
    ("HARDEN = 1.0", "HARDEN = 1.1"),
    ("STEP = 0.003", "STEP = 0.004"),
    ("RADIUS = 0.05", "RADIUS = 0.06"),
    ("COOL = False", "COOL = True"),
    ("JITTER = 0.05", "JITTER = 0.04"),
]

LOOP = "for _ in range(4_000):"
BENCH = f"""\
import random
steps = 0
{LOOP}
    steps += 1
print("steps:", steps + random.random())
"""
FASTER = [(LOOP, LOOP.replace("4_000", count)) for count in ("2_000", "1_000", "500")]


def executable(kind):
    """Return the path of an agent, or skip the test."""
    folder = os.environ.get("SWARM_TEST_AGENTS")
    path = Path(folder) / PLACES[kind] if folder else None
    if path is not None and path.exists():
        return path
    found = shutil.which(KNOWN[kind]().program)
    if found is None:
        pytest.skip(f"{kind} is not installed: `{KNOWN[kind]().install}`")
    return Path(found)


def provider(kind, server):
    """Return the model's keys in program.md."""
    url = server.url if kind == "claude-code" else f"{server.url}/v1"
    return {"model": "scripted", "base_url": url, "api_key_env": "LOOPBACK_KEY"}


def launch(repo, kind, server, **front):
    """Launch `kind` in a repository; return the kept hypotheses and their commits."""
    keys = {"kind": kind, "path": str(executable(kind)), "seconds": 240, **provider(kind, server)}
    rewrite(repo, agents={"own": keys}, agent="own", islands=1, **front)
    swarm(repo, "launch", LOOPBACK_KEY=KEY)
    events = ledger(repo)
    said = {e["experiment"]: e["hypothesis"] for e in events if e["kind"] == "proposal_received"}
    verdicts = [e for e in events if e["kind"] == "verdict_reached" and not e["null"]]
    return [(said[e["experiment"]], e["commit"]) for e in verdicts if e["verdict"] == "keep"]


@pytest.mark.parametrize("kind", PLACES)
def test_it_makes_a_kept_change_on_packing(kind, tmp_path):
    """By `swarm launch`, with the launch's own probe before."""
    executable(kind)
    with ScriptedCoder({"genome/pack.py": PACKING}) as server:
        repo = packing(tmp_path)
        rung = [{"depth": 1, "seconds": 1.0, "memory_mib": 1024}]
        kept = launch(repo, kind, server, rungs=rung, limits={"trials": 14, "minutes": 4})
    assert HYPOTHESIS.removeprefix("HYPOTHESIS: ") in kept[0][0]
    assert "PUSH = 36.0" in git(repo, "show", f"{kept[0][1]}:genome/pack.py")


@pytest.mark.parametrize("kind", PLACES)
def test_it_makes_a_kept_change_on_a_command(kind, tmp_path):
    """A program that counts its steps, since a loaded machine's seconds would hide a gain."""
    executable(kind)
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    (repo / "bench.py").write_text(BENCH)
    front = "task: command\ngenome: [bench.py]\n"
    (repo / "program.md").write_text(f"---\n{front}---\nMake it faster.\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "one")
    with ScriptedCoder({"bench.py": FASTER}) as server:
        given = {"run": "python bench.py", "metric": "steps", "direction": "minimize"}
        limits = {"trials": 14, "minutes": 2}
        rung = [{"depth": 1, "seconds": 10, "memory_mib": 512}]
        kept = launch(repo, kind, server, rungs=rung, limits=limits, **given)
        assert may_ask(kind, server.requests)
    assert "2_000" in git(repo, "show", f"{kept[0][1]}:bench.py")


def may_ask(kind, requests):
    """Return whether an agent was told of `tried`: by its tools, or as a command of its shell."""
    by = KNOWN[kind].asks_by
    if by != "mcp":
        return ("`tried WORDS`" in str(requests)) == (by == "shell")
    return any("tried" in str(tool) for request in requests for tool in request.get("tools", ()))


async def with_planted(job, genome, log):
    """Run a job whose scratch copy holds them, as no run's does."""
    files = {f"{SCRATCH}/{path}": text for path, text in planted().items()}
    return await run_job(replace(job, files={**job.files, **files}), genome, log)


@pytest.mark.parametrize("kind", PLACES)
def test_planted_files_command_nobody(kind, tmp_path, monkeypatch):
    """They lie in its working folder here, where no run would put them: the flags hold alone."""
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    monkeypatch.setattr(agent_module, "run_job", with_planted)
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    edits = {"gen/train.py": [("LR = 0.1", "LR = 0.2")]}
    with ScriptedCoder(edits) as server:
        wire = "anthropic" if kind == "claude-code" else "openai"
        model = ModelSettings(wire, **provider(kind, server))

        async def main():
            async with gateway_of() as gateway:
                own = make_agent(
                    tmp_path,
                    gateway,
                    kind=kind,
                    path=str(executable(kind)),
                    model=model,
                    seconds=240.0,
                    max_turns=12,
                )
                assert await version(own.line, own.installation)
                return await own.propose(brief("Make it better."))

        made = asyncio.run(main())
    assert made.files["gen/train.py"] == Entry(b"LR = 0.2\nSTEPS = 3\n")
    assert [path for path in made.files if "pwned" in path] == []
    sent = str(server.requests)
    assert [sent[at - 99 : at + 99] for at in (sent.find(MARK),) if at >= 0] == []
    assert STOLEN not in sent
    assert {request["model"] for request in server.requests} == {"scripted"}
