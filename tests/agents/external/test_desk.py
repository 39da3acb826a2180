"""What a coding agent asks its run from the sandbox, and what it cannot get by asking."""

import asyncio
import json
import sys

import pytest

from islands.records import Entry
from swarm.agents.external.desk import MAX_CONNECTIONS, MAX_QUESTION_BYTES, MCP, desk
from swarm.agents.questions import MAX_PREFLIGHTS, MAX_TRIED, Asked
from tests.support.coding_agents import GENOME, brief, make_agent, propose


class Answers:
    """Answers that show what was asked."""

    def __init__(self):
        self.preflights = []

    async def tried(self, words):
        return f"nothing like {words!r}"

    async def preflight(self, brief, files):
        self.preflights.append(files)
        return f"may be proposed: {sorted(files)}"


PROGRAM = """
import json, os, subprocess, sys
def say(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
print(say("tried", "learning", "rate"), end="")
open("gen/train.py", "w").write("LR = 0.2\\n")
os.remove("solo.py")
os.symlink("/etc/passwd", "gen/new.py")
print(say("preflight"), end="")
lines = ["{bad", '{"method": "notifications/initialized"}']
calls = [("initialize", {}), ("tools/list", {}), ("resources/list", {}),
         ("tools/call", {"name": "tried", "arguments": {"words": "warmup"}})]
lines += [json.dumps({"id": n, "method": m, "params": p}) for n, (m, p) in enumerate(calls)]
made = subprocess.run(sys.argv[1:], input="\\n".join(lines), capture_output=True, text=True)
for line in made.stdout.splitlines():
    print("MCP", line)
os.remove("gen/new.py")
print("HYPOTHESIS: asked first")
"""


@pytest.mark.sandbox
def test_it_asks_by_commands_and_by_mcp(tmp_path):
    """From its own sandbox, which has no network: the answers are the run's."""
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    program = tmp_path / "asks.py"
    program.write_text(PROGRAM)
    program.chmod(0o644)
    words = " ".join(f"'{word}'" for word in (sys.executable, "-ISB", program, *MCP))
    agent = make_agent(tmp_path, kind="command", command=words.replace("'", "", 2))
    agent.questions = Answers()
    made = propose(agent, brief("Go."))
    log = (tmp_path / "logs/a-7.log").read_text()
    assert made.hypothesis == "asked first", log
    assert "nothing like 'learning rate'" in log
    assert agent.questions.preflights == [{"gen/train.py": Entry(b"LR = 0.2\n"), "solo.py": None}]
    mcp = [json.loads(line[4:]) for line in log.splitlines() if line.startswith("MCP ")]
    assert [reply["id"] for reply in mcp] == [0, 1, 2, 3]
    assert [tool["name"] for tool in mcp[1]["result"]["tools"]] == ["tried", "preflight"]
    assert mcp[2]["error"]["code"] == -32601
    assert mcp[3]["result"]["content"][0]["text"] == "nothing like 'warmup'"


def asking(tmp_path, *questions):
    """Return the answers to raw questions at a desk, b"" where the line was cut."""

    async def one(question):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "desk.sock")
        writer.write(question)
        writer.write_eof()
        with_answer = await reader.read()
        writer.close()
        return with_answer

    async def main():
        asked = Asked(Answers(), brief("Go."))
        async with desk(tmp_path / "desk.sock", asked, GENOME):
            return [await one(question) for question in questions], asked.run.preflights

    return asyncio.run(main())


def line(**question):
    """Return a question as the commands send it."""
    return json.dumps(question).encode() + b"\n"


@pytest.mark.parametrize(
    "attack",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 999 + b"\n",
        b"[" * 200_000 + b"\n",
        b'{"ask": "held"}\n',
        b'{"ask": "tried", "words": ["a"]}\n',
        b'{"ask": "preflight", "files": ["a"]}\n',
        b'{"ask": "preflight"}\n',
        b"1\n",
    ],
)
def test_what_is_no_question_ends_its_connection(tmp_path, attack):
    """And the next question is answered."""
    (broken, answer), _ = asking(tmp_path, attack, line(ask="tried", words="x"))
    assert broken == b""
    assert json.loads(answer)["answer"] == "nothing like 'x'"


def test_a_question_has_a_longest_length(tmp_path):
    """A longer one is not held in memory."""
    (broken, answer), _ = asking(
        tmp_path, b"x" * (MAX_QUESTION_BYTES + 1), line(ask="tried", words="x")
    )
    assert broken == b""
    assert answer


def test_a_flood_of_connections_is_cut(tmp_path):
    """The coordinator's descriptors are everybody's."""

    async def main():
        async with desk(tmp_path / "desk.sock", Asked(Answers(), brief("Go.")), GENOME):
            opened = [
                await asyncio.open_unix_connection(tmp_path / "desk.sock")
                for _ in range(MAX_CONNECTIONS + 3)
            ]
            cut = [await reader.read() for reader, _ in opened[MAX_CONNECTIONS:]]
            for _, writer in opened:
                writer.close()
        return cut

    assert asyncio.run(main()) == [b""] * 3


def test_questions_are_counted(tmp_path):
    """Beyond the most of one proposal the run is not asked."""
    told = [line(ask="tried", words="x")] * (MAX_TRIED + 1)
    told += [line(ask="preflight", files={"gen/../../etc": "x", "gen/a": 3})] * (MAX_PREFLIGHTS + 2)
    answers, preflights = asking(tmp_path, *told)
    texts = [json.loads(answer)["answer"] for answer in answers]
    assert texts[MAX_TRIED - 1] == "nothing like 'x'"
    assert "the most" in texts[MAX_TRIED]
    assert len(preflights) == MAX_PREFLIGHTS
    assert "the most" in texts[-1]
    # paths are admission's to refuse, in the coordinator
    assert preflights[0]["gen/../../etc"] == Entry(b"x")
