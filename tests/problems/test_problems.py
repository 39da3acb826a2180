"""Repositories that know nothing of swarm, each from `swarm init` to a gain that is merged.

A folder here is such a repository; a user writes one command line for it. Gains are planted, and
large: what is tested is the way there, not the search.
"""

import json
import shlex
import shutil
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.target import git, ledger, swarm

AUTHOR = {f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """A repository, the options of `swarm init` for it, and trials that are enough for a keep."""

    folder: str
    options: str
    trials: int = 44
    needs: str = ""
    soak: bool = True


PARITY = "Is the number odd or even?"


class _Model(BaseHTTPRequestHandler):
    """A model that tells odd numbers from even ones, if it is asked to."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question, number = body["messages"][0]["content"].splitlines()
        right = ("even", "odd")[int(number) % 2]
        answer = right if question == PARITY else f"{number} is my favourite number."
        reply = json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def model():
    """The address of a stand-in for a model server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


CASES = [
    Case(
        "hot_function",
        "--run 'python bench.py' --metric mb/s --maximize --check 'python -m pytest -q tests'"
        " --genome src/histogram.py",
    ),
    Case(
        "hot_function_evaluated",
        "--evaluate evaluate.py --metric speed --maximize --genome src/histogram.py",
    ),
    Case(
        "prompt",
        "--run 'python ask.py' --metric accuracy --maximize --text --network --env MODEL_URL"
        " --genome prompt.md",
    ),
    Case(
        "c_table",
        "--run ./table --build 'make table' --metric probes --minimize --genome table.c",
        needs="gcc",
    ),
    Case(
        "javascript_cache",
        "--run 'node bench.js' --metric misses --minimize --check 'node --test' --genome cache.js",
        needs="node",
    ),
    Case("sql_query", "--run 'python run.py' --metric steps --minimize --genome query.sql"),
    Case(
        "autoresearch",
        "--run 'python train.py' --metric val_bpb --minimize --prepare 'python prepare.py'"
        " --genome train.py",
    ),
    Case("heuristic", "--run 'python score.py' --metric value --maximize --genome pack.py"),
    Case(
        "email",
        "--run 'python simulate.py' --metric opened --maximize --genome email.yaml",
        soak=False,
    ),
]


def _marked(case):
    """Return the case as a parameter; all nine take minutes of two cores, so most are soak runs."""
    marks = [pytest.mark.soak] if case.soak else []
    return pytest.param(case, id=case.folder, marks=marks)


@pytest.mark.sandbox
@pytest.mark.parametrize("case", [_marked(case) for case in CASES])
def test_a_repository_gets_a_gain_that_holds_on_fresh_seeds_and_is_merged(tmp_path, model, case):
    """One command line is all that its owner writes."""
    if case.needs and not shutil.which(case.needs):
        pytest.skip(f"{case.needs} is not installed")
    repo = tmp_path / "repo"
    shutil.copytree(HERE / case.folder, repo)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "Before swarm")
    env = {**AUTHOR, "MODEL_URL": model}
    swarm(repo, "init", *shlex.split(case.options), "--commit", **env)
    swarm(repo, "launch", "--trials", case.trials, **env)
    kept = [event for event in ledger(repo) if event.get("verdict") == "keep"]
    assert kept
    again = json.loads(swarm(repo, "measure", "--seeds", "3", "--json", **env))
    assert again["gain"]["mean"] > 0
    swarm(repo, "merge", "--force-unpromoted", **env)
    genome = case.options.split()[-1]
    assert git(repo, "log", "-1", "--format=%s").startswith("Merge")
    assert git(repo, "diff", "--name-only", "HEAD^1").split() == [genome]
    assert git(repo, "status", "--porcelain") == ""
