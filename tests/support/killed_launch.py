"""Launches that are killed at their Nth step: a change of the repository's files, or a call of git.

Run as a program it forks a child for each launch, since a `swarm` process takes a second to import
what it needs. What takes long and leaves nothing (self-check, trials of the base) is left out.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.support.target import environment

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"}
WRITING = {"commit-tree", "fast-import", "hash-object", "mktree", "update-index", "update-ref"}
"""Commands of git that change a repository."""

SAME = 2
"""Steps of one kind in one folder of a run that are steps of their own: copies have hundreds."""


class Steps:
    """Counts the steps of this process and kills it before number `last`; 0 never does."""

    def __init__(self, repo, last):
        self.count, self._repo, self._last = 0, str(repo), last
        self._seen = Counter()

    def watch(self, event, args):
        """Take in an audit event."""
        if event == "open":
            written = isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
            if not written:
                return
        elif event == "subprocess.Popen":
            if "git" not in args[1][:4] or not WRITING.intersection(args[1]):
                return
        elif event not in CHANGES:
            return
        place = "/".join(self._place(args[0]).split("/")[:3])
        self._seen[event, place] += 1
        if event == "subprocess.Popen" or (place and self._seen[event, place] <= SAME):
            self.step()

    def step(self):
        """End this process if its time has come."""
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def _place(self, path):
        """Return where a step is in the repository, "" elsewhere."""
        if not isinstance(path, str | os.PathLike):
            return ""
        text = os.fspath(path)
        if isinstance(text, bytes) or not text.startswith("/"):
            return str(text) if isinstance(text, str) else ""  # in a folder that is being removed
        return text[len(self._repo) + 1 :] if text.startswith(f"{self._repo}/") else ""


def launch(repo, last, words):
    """Launch in `repo` up to the first event; print how it ended."""
    from analysis.ledger import Ledger  # noqa: PLC0415 - imported before the fork
    from swarm.cli import launch as command  # noqa: PLC0415
    from swarm.cli.main import main  # noqa: PLC0415
    from swarm.coordinator import assemble  # noqa: PLC0415

    steps = Steps(repo, last)

    async def nothing(*_):
        pass

    def opened(self, event):
        del self, event
        steps.step()
        os.write(1, b"\nbegins\n")
        os.kill(os.getpid(), signal.SIGKILL)

    command._check_base = nothing
    assemble.require_sandbox = lambda *_: None
    Ledger.append = opened
    os.chdir(repo)
    sys.argv = ["swarm", "launch", *words]
    sys.addaudithook(steps.watch)
    with contextlib.suppress(SystemExit):
        main()
    os.write(1, b"\nrefused\n")


class KilledLaunches:
    """A process that launches, and kills what it launched."""

    def __init__(self):
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killed_launch"],
            cwd=root,
            env=environment(PYTHONPATH=str(root)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def launch(self, repo, last, *words):
        """Launch and kill at step `last`; return how it ended, "" where it was killed."""
        self._process.stdin.write(json.dumps([str(repo), last, words]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve():
    """Launch for each line of standard input: a repository, a step, words.

    The answer is a line: how it ended, "" where it was killed.
    """
    from importlib import import_module  # noqa: PLC0415

    for name in ("swarm.cli.launch", "swarm.coordinator.task_tree"):
        import_module(name)
    for line in sys.stdin:
        repo, last, words = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(writer, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            launch(Path(repo), last, words)
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        *_, told = ["", *os.read(reader, 1 << 16).decode().splitlines()]
        os.close(reader)
        print(json.dumps(told if told in {"begins", "refused"} else ""), flush=True)


if __name__ == "__main__":
    serve()
