"""Benchmark of every question to the record, on a recorded run and on one of 100,000 experiments.

    python -m tests.benchmarks.bench_questions [EXPERIMENTS]

Each command runs as a user runs it, in a process of its own, and each page as a browser asks for
it; the figures are seconds of CPU time, of commands with the 0.4 s or so that Python takes to
start, and their ratio to the limit: 1 s on the recorded run, 3 s on the large one. Above 1 it is
marked `!`. The first line is the import of the libraries that `swarm report` uses, which no code of
ours can shorten: it tells a slow machine from a fast one. The second is the first question, which
builds the record from the ledger: a run's coordinator does that while it goes on. The record has no
git objects: what would show a diff says that there is none.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from starlette.testclient import TestClient

from analysis import open_run
from analysis.dashboard.access import Access
from analysis.dashboard.app import build
from analysis.pictures.kinds import KINDS
from tests.support.generated_run import generate
from tests.support.recorded_run import recorded_run

LIMITS = (1.0, 3.0)
"""CPU seconds that a question may take of the recorded run, and of the large one."""

COMMANDS = (
    ("query", "FROM standings"),
    ("status",),
    ("runs",),
    ("schema",),
    ("lineage",),
    ("lineage", "--kept"),
    ("lineage", "--limit", "20"),
    ("lineage", "--island", "{island}"),
    ("lineage", "#{kept}"),
    ("lineage", "#{kept}", "--format", "json"),
    ("lineage", "--island", "{island}", "--format", "json"),
    ("lineage", "--format", "graphml", "--out", "lineage.graphml"),
    ("slices",),
    ("why", "#{kept}"),
    ("tried", "WARMDOWN|KNOB_7"),
    ("ablation",),
    ("cost",),
    ("compare", "{run}", "{run}"),
    ("transfer",),
    ("migrations",),
    *(("plot", kind, "--out", "picture.svg") for kind in KINDS),
    ("report", "--out", "report.html"),
    ("report", "--out", "report.md"),
)

LIBRARIES = "click, duckdb, jinja2, matplotlib.figure, numpy, pydantic.dataclasses, rich.console"
"""What `swarm report` imports that is not ours."""

_LAST_KEPT = "SELECT experiment, island FROM nodes WHERE ending = 'kept' ORDER BY 1 DESC LIMIT 1"

PAGES = (
    "/",
    "/runs/{run}",
    "/runs/{run}/changes",
    "/runs/{run}/changes/{kept}",
    "/runs/{run}/lineage",
    "/runs/{run}/slices",
    "/runs/{run}/money",
    "/runs/{run}/checks",
    "/runs/{run}/charts/progress.json",
    "/runs/{run}/charts/lanes.json",
)


def spent(who):
    """Return the CPU seconds of this process or of its children that have ended."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def command(repo, words, code="from swarm.cli.main import main; main()"):
    """Return the CPU seconds of one command, and its last line if it fails."""
    before = spent(resource.RUSAGE_CHILDREN)
    argv = [sys.executable, "-c", code, *words]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(argv, cwd=repo, env=env, capture_output=True, text=True, check=False)
    said = (done.stderr.strip().splitlines() or [""])[-1] if done.returncode else ""
    return spent(resource.RUSAGE_CHILDREN) - before, said


def rows(repo):
    """Yield each question to the run in `repo` with its CPU seconds and what it says if refused."""
    yield ("import of the libraries", *command(repo, (), f"import {LIBRARIES}"))
    yield ("first question", *command(repo, ("query", "FROM run")))
    with open_run(repo) as run:
        kept, island = run.sql(_LAST_KEPT).fetchall()[0]
        name = run.folder.name
        before = spent(resource.RUSAGE_SELF)
        nodes = len(run.graph)
        yield f"networkx graph of {nodes:,} nodes", spent(resource.RUSAGE_SELF) - before, ""
    for words in COMMANDS:
        asked = [word.format(kept=kept, run=name, island=island) for word in words]
        yield (f"swarm {' '.join(words)}", *command(repo, asked))
    app = build(repo, Access())
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as browser:
        for page in PAGES:
            before = time.process_time()
            status = browser.get(page.format(kept=kept, run=name)).status_code
            said = "" if status == 200 else f"status {status}"
            yield f"GET {page}", time.process_time() - before, said


def main(experiments):
    """Print the table."""
    grid = Table("question", "recorded run", "of 1 s", f"{experiments:,}", "of 3 s", "refused")
    worst = [("", 0.0), ("", 0.0)]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        small, large = Path(scratch, "small"), Path(scratch, "large")
        subprocess.run(["git", "init", "-q", large], check=True)
        recorded_run(small)
        generate(large / ".swarm/large", experiments)
        for (name, one, said), (_, other, told) in zip(rows(small), rows(large), strict=True):
            shares = [taken / limit for taken, limit in zip((one, other), LIMITS, strict=True)]
            cells = [f"{share:.2f}{' !' if share > 1 else ''}" for share in shares]
            grid.add_row(name, f"{one:.2f} s", cells[0], f"{other:.2f} s", cells[1], said or told)
            if name.startswith(("swarm", "GET")):
                both = zip(worst, shares, strict=True)
                worst = [max(old, (name, new), key=itemgetter(1)) for old, new in both]
    Console(width=150).print(grid)
    for (name, share), limit in zip(worst, LIMITS, strict=True):
        print(f"the most of {limit:g} s: x {share:.2f}, {name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"peak memory of this process, which loaded the graph: {peak} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", type=int, nargs="?", default=100_000)
    main(parser.parse_args().experiments)
