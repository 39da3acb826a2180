"""A real repository with a recorded run, in which a kept change has hostile text everywhere."""

import contextlib
import dataclasses
import re
import signal
import subprocess
from urllib.parse import urlsplit

from islands import events as ev
from islands.git.branches import Branches
from islands.records import Entry, Usage
from tests.support.chain import chained
from tests.support.histories import lived
from tests.support.laboratory import GENOME
from tests.support.repository import make
from tests.support.target import command, environment

RUN = "lab"

EVIL = (
    "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    "\x1b[2J\x1b[31m[red]bold[/red]\u202egnorw\u2066 {{ 7 * 7 }} " + "A" * 100_000
)
"""A hypothesis: markup, terminal codes, rich markup, bidirectional controls, a template, 100 kB."""

EVIL_FILE = "X = 0.2\n# </pre><script>document.title = 'owned'</script>\x1b[2J\u202e[red]\n"


@dataclasses.dataclass(frozen=True)
class RecordedRepo:
    """The repository, its run's events, and its first kept change: number, commit, parent."""

    path: object
    events: tuple
    kept: ev.VerdictReached

    @property
    def ledger(self):
        """The run's folder."""
        return self.path / ".swarm" / RUN


def recorded_repo(folder, trials=40):
    """Record a simulated run whose first kept change is a real commit with a hostile diff."""
    (folder / "scratch").mkdir()
    events, _ = lived(folder / "scratch", trials)
    kept = next(e for e in events if isinstance(e, ev.VerdictReached) and e.verdict == "keep")
    repo = make(folder / "repo", {GENOME: "X = 0.0\n"})
    branches = Branches(repo, RUN, (GENOME,))
    base = branches.base("main")
    files = {GENOME: Entry(EVIL_FILE.encode())}
    commit = branches.commit(base, files, "Evil", kept.experiment, 1_700_000_000)
    bodies = [ev.encode(_hostile(event, kept.experiment)) for event in events]
    bodies = [
        body.replace(b':"base"', f':"{base}"'.encode()).replace(
            kept.commit.encode(), commit.encode()
        )
        for body in bodies
    ]
    run = repo / ".swarm" / RUN
    run.mkdir(parents=True)
    (run / "ledger.jsonl").write_bytes(chained(bodies))
    kept = dataclasses.replace(kept, commit=commit, parent=base)
    return RecordedRepo(repo, tuple(map(ev.decode, bodies)), kept)


def _hostile(event, experiment):
    if isinstance(event, ev.ProposalReceived) and event.experiment == experiment:
        return dataclasses.replace(event, hypothesis=EVIL)
    if isinstance(event, ev.RunOpened):
        return dataclasses.replace(event, run=RUN)
    return event


def another_keep(repo):
    """Return the events of one more experiment that is kept, on the hostile change."""
    number = max(getattr(event, "experiment", 0) for event in repo.events) + 1
    island, head = repo.kept.island, repo.kept.commit
    usage = Usage(1, 10, 10, 0.5)
    commit = "c0ffee" + "0" * 34
    gain = dataclasses.replace(repo.kept.gain, mean=0.125)
    return number, [
        ev.AgentCallStarted(number, island, "mutator", usage),
        ev.ProposalReceived(number, island, "mutator", head, "Try <b>tea</b>", usage=usage),
        ev.CandidateAdmitted(number, island, commit, head, 1, 1),
        ev.VerdictReached(number, island, commit, head, "keep", "better", gain),
    ]


@contextlib.contextmanager
def dashboard(repo, *options):
    """Run `swarm dashboard` in `repo` on a free port; yield its address, and end it with Ctrl-C."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    argv = command("dashboard", "--port", "0", *options)
    process = subprocess.Popen(argv, cwd=repo, env=environment(PYTHONUNBUFFERED="1"), **pipes)
    try:
        line = process.stdout.readline()
        found = re.match(r"(http://\S+)", line)
        assert found, line + process.stdout.read()
        yield urlsplit(found[1])
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)[0]
    assert process.returncode == 130, f"exit {process.returncode}: {rest}"
    assert "Traceback" not in rest, rest
