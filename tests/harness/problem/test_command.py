"""The task `command`: what a trial sees, runs and scores, in every kind of sandbox."""

import os
import shutil
from dataclasses import replace

import pytest

from harness import tasks
from harness.contract import Rung, SetupError, Slice, Trial
from harness.problem.mounts import plan_mounts
from harness.sandbox import run, tiers
from harness.trial import measure
from islands.git.branches import Branches
from swarm.project.problem import freeze
from swarm.project.repository import load_program
from tests.support.repository import make

CORE = min(os.sched_getaffinity(0))

BENCH = """\
import os, pathlib
from src import work
print("seed", os.environ["SWARM_SEED"])
print("ops/s:", work.value(int(os.environ["SWARM_DEPTH"])))
"""

FILES = {
    "bench.py": BENCH,
    "src/work.py": "def value(depth): return 40 + depth\n",
    "program.md": "---\ntask: command\ngenome: [src/work.py]\nrun: python bench.py {seed}\n"
    "metric: ops/s\ndirection: maximize\n---\n",
}


def kinds():
    """Return the kinds of sandbox that this machine supports, each as a parameter."""
    found = []
    for kind in tiers.STRENGTH:
        try:
            tiers.check(kind)
        except SetupError as error:
            found.append(pytest.param(kind, marks=pytest.mark.skip(reason=str(error))))
        else:
            found.append(kind)
    return found


class Problem:
    """A repository with its problem frozen, and trials of its commits."""

    def __init__(self, folder, files, before=lambda: None):
        folder.chmod(0o755)
        self.folder, self.repo = folder, make(folder / "repo", files)
        before()
        self.commit = Branches(self.repo, "run1", ()).base("main")
        self.program = load_program(self.repo, self.commit)
        self.frozen = freeze(self.repo, self.commit, self.program, folder / "problem")

    def trial(self, genome=None, seconds=60.0, **fields):
        """Return a trial of the launch commit's genome, with files replaced by those given."""
        where = self.folder / "genomes" / f"{len(list(self.folder.glob('genomes/*')))}"
        branches = Branches(self.repo, "run1", self.program.settings.genome)
        branches.export(self.commit, where)
        for path, text in (genome or {}).items():
            (where / path).parent.mkdir(parents=True, exist_ok=True)
            (where / path).write_text(text)
        given = Trial(
            id="t1",
            task="command",
            data="none",
            commit=self.commit,
            seed=7,
            rung=Rung(2, seconds, 512),
            slice=Slice("cpu0", "cpu", (CORE,)),
            genome=str(where),
            entry="",
            scratch=str(self.folder / "scratch"),
            problem=self.frozen,
        )
        return replace(given, **fields)

    def measure(self, genome=None, **fields):
        """Return the outcome of a trial."""
        return measure(self.trial(genome, **fields), run, "harness")


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A Python function with its benchmark."""
    return Problem(tmp_path_factory.mktemp("command"), FILES)


@pytest.mark.parametrize("kind", kinds())
def test_a_printed_number_is_a_reported_score(problem, kind):
    """The genome runs at its place among the frozen files; other numbers are claims."""
    outcome = problem.measure(sandbox=kind)
    assert (outcome.score, outcome.evidence) == (42.0, "reported"), outcome
    assert outcome.claims == {"seed": 7.0}
    better = {"src/work.py": "def value(depth): return 50.5\n"}
    assert problem.measure(better, sandbox=kind).score == 50.5


def test_a_failed_command_is_a_crash_with_its_tail(problem):
    """An exit code that is not 0 is no score, whatever was printed."""
    outcome = problem.measure({"src/work.py": "print('ops/s: 99'); boom\n"}, sandbox="none")
    assert outcome.failure.kind == "crash"
    assert "NameError: name 'boom' is not defined" in outcome.failure.reason
    assert "ops/s: 99" in outcome.tail


def test_frozen_files_and_the_command_line_are_in_the_harness_id(tmp_path):
    """A changed benchmark never compares with an old score; a changed genome or prose does."""
    ids = {}
    for name, change in {
        "same": {},
        "genome": {"src/work.py": "def value(depth): return 1\n"},
        "prose": {"program.md": FILES["program.md"] + "Go on.\n"},
        "benchmark": {"bench.py": BENCH + "#\n"},
        "command": {"program.md": FILES["program.md"].replace("bench.py", "-X dev bench.py")},
        "direction": {"program.md": FILES["program.md"].replace("maximize", "minimize")},
    }.items():
        (tmp_path / name).mkdir()
        frozen = Problem(tmp_path / name, FILES | change).frozen
        ids[name] = tasks.load("command", frozen).prepare("none")
    assert ids["same"] == ids["genome"] == ids["prose"]
    assert len({ids[name] for name in ("same", "benchmark", "command", "direction")}) == 4


def test_what_a_trial_would_not_see_is_refused_at_launch(tmp_path):
    """By name: a link out of the repository, a pointer of Git LFS."""
    (tmp_path / "lfs").mkdir()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    with pytest.raises(SetupError, match=r"data\.bin is a pointer of Git LFS"):
        Problem(tmp_path / "lfs", FILES | {"data.bin": pointer})


MAKE = {
    "src/work.c": "int work(void) { return 42; }\n",
    "main.c": '#include <stdio.h>\nint work(void);\nint main() { printf("n: %d\\n", work()); }\n',
    "Makefile": "prog: main.c src/work.c\n\tgcc -o prog main.c src/work.c\n",
    "program.md": "---\ntask: command\ngenome: [src]\nbuild: make\nrun: ./prog\n"
    "metric: n\ndirection: maximize\n---\n",
}

needs_gcc = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("make")), reason="no gcc and make on this machine"
)
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no node on this machine")


@needs_gcc
@pytest.mark.parametrize("kind", kinds())
def test_a_build_runs_once_for_each_genome_outside_the_budget(tmp_path, kind):
    """With the system's compiler; a genome that does not compile is a crash with its errors."""
    problem = Problem(tmp_path, MAKE)
    first, again = (problem.measure(sandbox=kind) for _ in range(2))
    assert (first.score, again.score) == (42.0, 42.0), first
    assert first.seconds["build"] > 10 * again.seconds["build"]
    broken = problem.measure({"src/work.c": "int work(void) { return 1 }\n"}, sandbox=kind)
    assert broken.failure.kind == "crash"
    assert "build ended with exit status 2" in broken.failure.reason
    assert "expected" in broken.tail


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        ("echo 'print(\"ops/s: 99\")' > bench.py", "the build changed bench.py"),
        ("ln -s /etc/passwd x", "x"),
        ("mkfifo x", "special file"),
    ],
)
def test_a_build_may_only_add_files(tmp_path, build, reason):
    """It runs the candidate's code, so what it leaves is read as hostile."""
    front = FILES["program.md"].replace("run:", "build: sh src/work.py\nrun:")
    problem = Problem(tmp_path, FILES | {"program.md": front})
    failure = problem.measure({"src/work.py": build}, sandbox="none").failure
    assert failure.kind == "crash"
    assert reason in failure.reason


@needs_node
@pytest.mark.sandbox
def test_node_modules_are_seen_at_their_place(tmp_path):
    """They are untracked, and found by themselves."""
    files = {
        "f.js": "module.exports = () => require('answer')\n",
        "bench.js": "console.log('METRIC n=' + require('./f')())\n",
        ".gitignore": "node_modules\n",
        "program.md": "---\ntask: command\ngenome: [f.js]\nrun: node bench.js\n"
        "metric: n\ndirection: maximize\n---\n",
    }
    packages = tmp_path / "repo" / "node_modules" / "answer"
    problem = Problem(
        tmp_path, files, before=lambda: _write(packages / "index.js", "module.exports = 6")
    )
    assert problem.measure().score == 6.0


def _write(path, text):
    path.parent.mkdir(parents=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [
        ("wall_seconds", 0.01, 60),
        ("cpu_seconds", 0.001, 60),
        ("peak_mib", 1, 512),
        ("lines", 1, 1),
        ("bytes:src", 36, 36),
        ("bytes:left", 5, 5),
    ],
)
def test_the_harness_takes_its_own_measures(tmp_path, metric, low, high):
    """They are verified, and what is printed in their name counts for nothing."""
    front = FILES["program.md"].replace("ops/s", f"'{metric}'")
    bench = BENCH + "print('wall_seconds: -1')\nprint('lines: 0')\n"
    bench += "pathlib.Path(os.environ['OUT'], 'left').write_text('12345')\n"
    problem = Problem(tmp_path, FILES | {"program.md": front, "bench.py": bench})
    outcome = problem.measure(sandbox="none")
    assert outcome.evidence == "verified", outcome
    assert low <= outcome.score <= high
    assert outcome.claims["ops/s"] == 42.0


def test_mounts_that_hold_what_trials_must_not_see_are_refused(tmp_path):
    """The home folder, the repository itself, its record; and what does not exist."""
    for mount, reason in {
        "~": "must not see",
        "/": "must not see",
        ".": "must not see",
        ".git": "own record",
        "lib": "is no folder",
    }.items():
        with pytest.raises(SetupError, match=reason):
            plan_mounts(
                make(tmp_path / f"r{len(list(tmp_path.iterdir()))}", {"x": ""}), "", [mount]
            )
