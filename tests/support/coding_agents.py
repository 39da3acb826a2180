"""Stand-ins for coding agents: a fake Claude Code that behaves as its prompt says, and briefs."""

import asyncio
import sys

from islands.records import Brief
from swarm.agents.base import AgentError
from swarm.agents.external.factory import Workplace, make_coding_agent
from swarm.agents.external.settings import ExternalSettings
from swarm.agents.llm.settings import ModelSettings

GENOME = {"gen/train.py": "LR = 0.1\nSTEPS = 3\n", "solo.py": "x = 1\n"}

FAKE = r"""#!/bin/sh
# Behaves as one of many agents; which one is a word of the prompt.
case $1 in --version) echo "2.1.0 (Claude Code)"; exit 0;; esac
prompt=$(cat)
edit() { echo "LR = 0.2" > gen/train.py; }
result() {
  printf '{"type":"result","subtype":"success","is_error":%s,"session_id":"s1","result":"%s"}\n' \
    "$1" "$2"
}
done_well() { result false 'Done.\n\nHYPOTHESIS: a larger step'; }
case $prompt in
  *DO-EDIT*) edit; done_well;;
  *DO-NOTHING*) done_well;;
  *DO-SILENT*) edit; echo "I think I am done";;
  *DO-EMPTY*) exit 0;;
  *DO-ERROR*) edit; result true 'scripted 401'; exit 1;;
  *DO-HANG*) edit; done_well; setsid sleep 86321 & sleep 86321;;
  *DO-LINK*) ln -sf /etc/passwd gen/train.py; done_well;;
  *DO-FLOOD*) edit; head -c 8000000 /dev/zero | tr '\0' x; echo; done_well;;
  *DO-EAT*) head -c 600000000 /dev/zero | tail -c 590000000 | sort; done_well;;
  *DO-PLANT*)
    edit; mkdir -p gen/.claude gen/deep .git
    echo obey > gen/CLAUDE.md; echo '{}' > gen/.claude/settings.json; echo y > outside.py
    echo "z = 1" > gen/deep/new.py; printf '\0' > gen/weights.bin; echo y > .git/config; done_well;;
  *DO-LOOK*)
    { env; ls -aR .; ls /; cat /proc/net/dev /proc/self/cmdline; echo TOLD; } > gen/train.py 2>&1
    (head -c 1 /proc/1/environ; ls /home/*; ls /root) >> gen/train.py 2>&1; done_well;;
  *DO-REPLACE*) cd /; rm -r /scratch/genome/* ; rmdir /scratch/genome; ln -s /etc /scratch/genome
    done_well;;
esac
"""


def brief(prose, genome=None, **more):
    """Return a brief whose program.md says `prose`."""
    given = {
        "experiment": 7,
        "island": "a",
        "metric": "loss",
        "direction": "minimize",
        "program": prose,
        "genome": GENOME if genome is None else genome,
        "score": 1.0,
        "sigma": 0.1,
        "recent": (),
        "elsewhere": (),
        "seed": 1,
    }
    return Brief(**given | more)


def fake_claude(folder):
    """Write the fake into `folder`; return its path."""
    path = folder / "claude"
    path.write_text(FAKE)
    path.chmod(0o755)
    return path


def model(url="http://127.0.0.1:1", kind="anthropic", **more):
    """Return the settings of a model at `url`."""
    return ModelSettings(kind, "some-model", base_url=url, api_key_env="LOOPBACK_KEY", **more)


class NoGateway:
    """A gateway that nothing comes through to."""

    async def open(self, agent, settings, *, socket=None, on_usage=None, experiment=0):
        raise AssertionError("nobody calls a model here")


def make_agent(folder, gateway=None, genome=("gen", "solo.py"), **settings):
    """Return a coding agent; its logs and sockets lie in `folder`."""
    place = Workplace(genome, folder / "logs", folder / "scratch")
    given = {"kind": "claude-code", "path": str(folder / "claude"), "seconds": 60.0}
    return make_coding_agent(
        "x", ExternalSettings(**given | settings), gateway or NoGateway(), place
    )


def propose(agent, told):
    """Return the agent's proposal, or the AgentError that it raises."""
    try:
        return asyncio.run(agent.propose(told))
    except AgentError as error:
        return error


CALLER = """
import json, os, sys, urllib.request

prompt, calls = sys.stdin.read(), int(sys.argv[1])
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
headers = {
    "authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
    "content-type": "application/json",
}
body = {"model": "any", "max_tokens": 9, "messages": [{"role": "user", "content": prompt}]}
for _ in range(calls):
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as reply:
        said = json.load(reply)["choices"][0]["message"]["content"]
if said == "remove":
    os.chdir("/")
    os.rename("/scratch/genome", "/scratch/gone")
    sys.exit()
path, old, new = said.split("|")
text = open(path).read()
open(path, "w").write(text.replace(old, new))
print("HYPOTHESIS: " + said)
"""
"""A coding agent of a few lines: it asks its model `calls` times, and does what that says last."""


def caller(folder):
    """Write the agent into `folder`; return the command that starts it."""
    path = folder / "caller.py"
    path.write_text(CALLER)
    path.chmod(0o644)
    return f"{sys.executable} -I -S {path}"
