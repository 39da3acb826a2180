"""A real target repository of the packing task, and real `swarm` processes run in it."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support.command_server import CommandServer

SECONDS = 1.0

PACKAGES = ("swarm", "analysis", "islands", "harness")


@cache
def installed():
    """Copy the four houses as a wheel installs them: no checkout, so no uncommitted harness."""
    home = Path(tempfile.mkdtemp(prefix="swarm-wheel-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)
    for house in PACKAGES:
        ignored = shutil.ignore_patterns("*.pyc.*")  # byte code that a process is about to write
        shutil.copytree(Path(__file__).parents[2] / house, home / house, ignore=ignored)
    return home


def environment(**more):
    """Return an environment without git identity or configuration, with the machine's own cache."""
    hidden = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") and k not in hidden}
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return {**kept, **quiet, "PYTHONPATH": str(installed()), **more}


def command(*args):
    """Return the argv of a swarm command run by this interpreter."""
    return [sys.executable, "-m", "swarm.cli.main", *map(str, args)]


def swarm(where, *args, code=0, **more):
    """Run a swarm command in `where` to its end; return what it printed, or why it refused.

    With a PYTHONPATH of its own it runs in a fresh process, since the server has ours imported.
    """
    words, env = list(map(str, args)), environment(**more)
    if "PYTHONPATH" in more:
        pipes = {"capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run(command(*words), cwd=where, env=env, check=False, **pipes)
        got, out, err = done.returncode, done.stdout, done.stderr
    else:
        got, out, err = _server().run(words, where, env, timeout=300)
    assert got == code, f"{args}: exit {got}\n{out}\n{err}"
    return out if code < 2 else err


@cache
def _server():
    return CommandServer(installed(), Path(__file__).parents[2], environment())


def git(where, *args):
    """Run git in `where` and return its output."""
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *args],
        cwd=where,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def packing(folder: Path, seconds=SECONDS, **front):
    """Make a repository of the packing task with short trials; `front` replaces front matter."""
    repo = folder / "repo"
    swarm(folder, "init", repo, "--task", "packing")
    genome = repo / "genome/pack.py"
    # a trial of two layouts takes a tenth of a second, and shows all there is to show
    genome.write_text(re.sub(r"(?m)^TRIES = \d+$", "TRIES = 2", genome.read_text()))
    rewrite(repo, rungs=[{"depth": 1, "seconds": seconds, "memory_mib": 1024}], **front)
    return repo


def rewrite(repo, **front):
    """Replace keys of a repository's program.md and commit it."""
    path = repo / "program.md"
    _, matter, prose = path.read_text().split("---\n", 2)
    kept = [
        line
        for line in matter.splitlines()
        if line.split(":")[0] in ("task", "genome") or line.startswith("  - genome")
    ]
    lines = [*kept, *(f"{key}: {json.dumps(value)}" for key, value in front.items())]
    path.write_text("---\n" + "\n".join(lines) + "\n---\n" + prose)
    git(repo, "commit", "-qam", "Set up the test")


def ledger(repo, run="run1"):
    """Return the events of a run as plain data."""
    path = repo / ".swarm" / run / "ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]
