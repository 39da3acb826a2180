"""Each mistake of a user gets one line that says what to do, exit code 2, and leaves nothing."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from swarm.project import runs
from tests.support.histories import lived
from tests.support.record import write
from tests.support.target import git, packing, swarm

G = "task: packing\ngenome: [genome]\n"
C = "task: command\ngenome: [genome]\nrun: echo x=1\nmetric: x\ndirection: maximize\n"
LAUNCH = "launch --trials 1"
RUNG = "rungs: [{{depth: {}, seconds: {}, memory_mib: {}}}]"


@dataclass(frozen=True)
class Row:
    """A mistake.

    command: its words, after `swarm`
    line: a part of the line that is printed
    setup: makes the mistake in a repository; may return the folder to be in
    env: variables that are set
    """

    command: str
    line: str
    setup: object = None
    env: tuple[tuple[str, str], ...] = ()

    def __str__(self):
        return f"{self.command} | {self.line[:40]}"


def nothing(repo):
    """Leave the repository as it is."""


def genome(content, name="genome/pack.py"):
    """Return a set-up that commits `content` as a file of the genome."""

    def setup(repo):
        (repo / name).write_bytes(content)
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", "x")

    return setup


def program(matter, prose="Do it."):
    """Return a set-up that commits a program.md."""

    def setup(repo):
        (repo / "program.md").write_text(f"---\n{matter}\n---\n{prose}\n")
        git(repo, "commit", "-qam", "x")

    return setup


def text(content):
    """Return a set-up that commits program.md without any form."""

    def setup(repo):
        (repo / "program.md").write_text(content)
        git(repo, "commit", "-qam", "x")

    return setup


def model(keys, prose="Do it."):
    """Return a set-up with a language model as the agent."""
    return program(f"{G}agent: m\nagents: {{m: {{{keys}}}}}", prose)


def in_git(*calls):
    """Return a set-up that runs git."""

    def setup(repo):
        for call in calls:
            git(repo, *call.split())

    return setup


def changed(repo):
    """Change the genome without a commit."""
    (repo / "genome/pack.py").write_text("x = 1\n")


def linked(repo):
    """Make the genome's file a symbolic link."""
    (repo / "genome/pack.py").rename(repo / "real.py")
    (repo / "genome/pack.py").symlink_to("../real.py")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "x")


def uncommitted(repo):
    """Take program.md out of git and leave it in the folder."""
    git(repo, "rm", "-q", "--cached", "program.md")
    git(repo, "commit", "-qm", "x")


def moved(repo):
    """Have program.md in a folder, as in a repository of several programs."""
    (repo / "a").mkdir()
    in_git("mv program.md a/", "commit -qm x")(repo)


def empty(repo):
    """Make a repository without a commit."""
    shutil.rmtree(repo / ".git")
    git(repo, "init", "-q", "-b", "main")


def with_picture(repo):
    """Put a picture into a folder that is the genome."""
    program(G)(repo)
    genome(b"\x89PNG\0", "genome/picture.png")(repo)


def without_git(repo):
    """Make a folder that is no repository."""
    shutil.rmtree(repo / ".git")


def in_the_way(repo):
    """Put a file where runs go."""
    (repo / ".swarm").write_text("x")


def a_folder(repo):
    """Make a folder where a file is to be written."""
    (repo / "out.png").mkdir()


def with_run(repo):
    """Record a run of 60 trials."""
    run = runs.create(repo, "run1")
    shutil.copytree(with_run.recorded, run.path, dirs_exist_ok=True)


def tampered(repo):
    """Change a line of the run's record."""
    with_run(repo)
    ledger = repo / ".swarm/run1/ledger.jsonl"
    ledger.write_text(ledger.read_text().replace("boom", "doom"))


ROWS = [
    # words
    Row("laumch", "no such command laumch: did you mean `launch`?"),
    Row("launch --trils 3", "no such option --trils: did you mean `--trials`?"),
    Row("launch --trials 0", "0 is not in the range x>=1; see `swarm launch --help`"),
    Row("launch --trials 1e3", "'1e3' is not an integer; see `swarm launch --help`"),
    Row("launch --minutes ten", "'ten' is not a number; see `swarm launch --help`"),
    Row("launch --minutes nan", "nan is not a finite number"),
    Row("launch --minutes -1", "-1.0 is not in the range 0<x<=1000000"),
    Row("launch --minutes", "option '--minutes' requires an argument"),
    Row("launch extra", "unexpected extra argument (extra)"),
    Row("launch --islands 65", "65 is not in the range 1<=x<=64"),
    Row("launch --max-usd inf", "inf is not in the range 0<=x<=1000000"),
    Row("launch --sandbox foo", "'foo' is not one of 'namespaces', 'landlock', 'none'"),
    Row("launch --executor foo", "'foo' is not one of 'local', 'ray'"),
    Row("launch --address x", "--address is for --executor ray"),
    Row("launch --run a/b", "up to 64 letters"),
    Row("launch --agent nobody", "program.md has mutator"),
    Row("launch --new --run run1", "this run exists", with_run),
    Row("rm ", "the word after `rm` is empty", with_run),
    Row("rm -y ", "the word after `-y` is empty, as of a variable that is not set", with_run),
    Row("pause ", "the word after `pause` is empty", with_run),
    Row("status --run ", "the word after `--run` is empty", with_run),
    Row("launch --run=", "the word after `--run` is empty"),
    Row("note ", "give one, or leave it out", with_run),
    Row("measure HEAD --against=", "the word after `--against` is empty", with_run),
    Row("drop zz", "name the change by its number", with_run),
    Row("limits --trials 0.5", "--trials 0.5: a limit is a whole number above zero", with_run),
    Row("limits --stall 0.2", "--stall 0.2: a limit is a whole number above zero", with_run),
    Row("launch --trials 0.5", "'0.5' is not an integer"),
    Row("launch --stall 0", "0 is not in the range"),
    Row("limits --trials -3", "a limit is a number above zero, or none", with_run),
    Row("stop", "is not running: there is nothing to stop", with_run),
    Row("tried (", "is not a regular expression", with_run),
    Row("simulate foo", "no such command 'foo'"),
    Row("simulate nights --repeats 0", "0 is not in the range"),
    Row("simulate nights --plot x.doc", "name a file that ends in"),
    Row("rm", "missing argument 'RUN'; see `swarm rm --help`"),
    Row("init --task nope", "'nope' is not one of"),
    Row("init . --task packing", "is not empty: name a new folder"),
    Row("init", "has front matter already"),
    # places
    Row("status", "has no run yet: start one with `swarm launch`"),
    Row("merge", "has no run yet"),
    Row("measure HEAD", "has no run yet"),
    Row("status --run nope", "no such run"),
    Row("rm nope", "no such run"),
    Row(LAUNCH, "swarm init DIR", without_git),
    Row(LAUNCH, "change into a working tree", in_git("config core.bare true")),
    Row(LAUNCH, "has no commit yet", empty),
    Row("check", "has no commit yet", empty),
    Row("measure HEAD~1..HEAD", "has no commit yet", empty),
    Row(LAUNCH, "HEAD is detached", in_git("checkout -q --detach")),
    Row(LAUNCH, ".swarm is a file: move it away", in_the_way),
    Row(LAUNCH, "uncommitted changes in genome/pack.py", changed),
    Row(LAUNCH, "uncommitted: git add -f program.md", uncommitted),
    Row("check", "uncommitted: git add -f program.md", uncommitted),
    Row(LAUNCH, "write one with `swarm init`", in_git("rm -q program.md", "commit -qm x")),
    Row(LAUNCH, "change into the folder of a/program.md", moved),
    # genomes
    Row(LAUNCH, "pack.py: is a symbolic link", linked),
    Row(LAUNCH, "does not parse as Python (line 2:", genome(b"x = 1\ndef f(:\n")),
    Row(LAUNCH, "line 2 is not UTF-8", genome(b"x = 1\n# \xff\n")),
    Row(LAUNCH, "line 2 is not UTF-8", genome(b"# coding: latin-1\nx = '\xe9'\n")),
    Row(LAUNCH, "is binary", genome(b"a\0b")),
    Row(LAUNCH, "picture.png: is binary", with_picture),
    # program.md
    Row(LAUNCH, "program.md:1: no front matter", text("no front matter\n")),
    Row(LAUNCH, "program.md:1: the front matter has no end", text("---\ntask: packing\n")),
    Row(LAUNCH, "program.md:2: the front matter must be", text("---\n- a\n---\n")),
    Row(LAUNCH, "program.md:3: YAML:", text("---\ntask: [\n---\n")),
    Row(LAUNCH, "4: iterations is not a key: write `limits: {trials", program(f"{G}iterations: 3")),
    Row(LAUNCH, "4: iteration is not a key: write `limits: {t", program(f"{G}iteration: 3")),
    Row(LAUNCH, "did you mean `migration`?", program(f"{G}migrations: 3")),
    Row(LAUNCH, "trials is not a key: write `limits: {trials", program(f"{G}trials: 3")),
    Row(LAUNCH, "memory_mib is not a key: write `rungs:", program(f"{G}memory_mib: 64")),
    Row(LAUNCH, '"nope", which does not exist', program("task: packing\ngenome: [nope]")),
    Row(LAUNCH, "did you mean `packing`?", program("task: pcking\ngenome: [genome]")),
    Row(LAUNCH, "task is missing", program("genome: [genome]")),
    Row(LAUNCH, "genome is missing", program("task: packing")),
    Row(LAUNCH, "in the repository, without ..", program("task: packing\ngenome: [../x]")),
    Row(LAUNCH, 'not "/etc"', program("task: packing\ngenome: [/etc]")),
    Row(LAUNCH, '"nobody", which is not an agent', program(f"{G}agent: nobody")),
    Row(LAUNCH, "limits.minutes must be", program(f"{G}limits: {{minutes: .nan}}")),
    Row(LAUNCH, "leave no time for a trial", program(f"{G}limits: {{minutes: 0.3}}")),
    Row(LAUNCH, "islands must be", program(f"{G}islands: 0")),
    Row(LAUNCH, "another branch of the run", program(f"{G}islands: [{{name: consensus}}]")),
    Row(LAUNCH, "seconds from 0.1 to 604800", program(G + RUNG.format(1, 0, 512))),
    Row(LAUNCH, "and this machine has", program(G + RUNG.format(1, 1, 99999999))),
    Row(LAUNCH, "99 slices asked for", program(f"{G}slices: {{count: 99}}")),
    Row(LAUNCH, "metric must be `sum_of_radii`", program(f"{G}metric: foo")),
    Row(LAUNCH, "minimize or maximize", program(C.replace("maximize", "maximise"))),
    Row(LAUNCH, "env is only for a genome that is read", program(f"{C}env: [FOO]")),
    Row(LAUNCH, "/nope is not a folder", program(f"{C}mount: [/nope]")),
    Row(LAUNCH, "python: /nope is neither", program(f"{C}python: /nope")),
    # models
    Row(LAUNCH, "agents.m.model is missing", model("kind: openai")),
    Row(LAUNCH, "agents.m.kind must be", model("kind: opnai, model: x")),
    Row(LAUNCH, "set the environment variable OPENAI_API_KEY", model("kind: openai, model: x")),
    Row(LAUNCH, "has no prose", model("kind: openai, model: x", prose="")),
    Row(
        LAUNCH,
        "connection refused at http://127.0.0.1:9/v1: start its server",
        model("kind: openai, model: x, base_url: 'http://127.0.0.1:9/v1'"),
    ),
    Row(
        LAUNCH,
        "price is missing, and limits.usd needs it",
        program(f"{G}limits: {{usd: 3}}\nagents: {{m: {{kind: openai, model: x}}}}"),
    ),
    # a run
    Row("why #999", "no such experiment", with_run),
    Row("why zzz", "no such experiment", with_run),
    Row("tried", "give a PATTERN or --like CHANGE", with_run),
    Row("lineage --island zz", "choose one of i0, i1", with_run),
    Row("lineage --json --format dot", "--json and --format: choose one", with_run),
    Row("lineage --kept --limit 3", "--kept and --limit: choose one", with_run),
    Row("ablation zz", "no head or stack of this run begins so", with_run),
    Row("plot foo", "'foo' is not one of 'progress'", with_run),
    Row("plot progress --out /nope/x.png", "--out /nope/x.png: No such file", with_run),
    Row(
        "plot progress --out out.png",
        "'out.png' is a directory",
        lambda r: (with_run(r), a_folder(r)),
    ),
    Row("query selct", "syntax error", with_run),
    Row("query FROM\tnope", "Table with name nope does not exist", with_run),
    Row("query DROP\tTABLE\trun", "a question only reads", with_run),
    Row("query \t", "one question at a time, such as `FROM standings`", with_run),
    Row("query FROM\trun --csv --json", "choose one", with_run),
    Row("measure nope", "no commit 'nope'", with_run),
    Row("merge --squash --pr", "choose one", with_run),
    Row("merge --sign --no-sign", "--sign and --no-sign: choose one", with_run),
    Row("merge --pr --sign", "--pr makes no commit", with_run),
    Row("merge --pr --run-hooks", "--pr makes no commit", with_run),
    Row("merge --island i0", "add --force-unpromoted", with_run),
    Row("merge", "nothing is promoted: measure the best stack", with_run),
    Row("slices --seeds 5", "--seeds is for --benchmark"),
    Row("slices --sandbox landlock", "--sandbox is for --benchmark"),
    Row("slices --address here", "--address is for --executor ray"),
    Row("ablation --sandbox landlock", "--sandbox is for --measure"),
    Row("init new --task packing --force", "--force is for program.md"),
    Row("init new --task packing --commit", "--commit is for program.md"),
    Row("slices --run x", "existing runs: run1", with_run),
    Row("schema nope", "no such table or view", with_run),
    Row("status", "was changed after it was written", tampered),
    Row("launch", "was changed after it was written", tampered),
]


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A repository of the packing task, and beside it the record of a run."""
    home = tmp_path_factory.mktemp("misuse")
    (home / "record").mkdir()
    write(home / "record", lived(home / "lab", 60)[0])
    with_run.recorded = home / "record"
    return packing(home)


def test_there_are_many_rows_and_no_two_are_one():
    """At least sixty, each another command, line and set-up."""
    assert len({(row.command, row.line, row.setup) for row in ROWS}) == len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_mistake_gets_one_line_and_leaves_nothing(target, tmp_path, row):
    """Exit code 2, nothing on standard output, and the files and refs that were there."""
    repo = target
    if row.setup is not None:
        repo = tmp_path / "repo"
        shutil.copytree(target, repo, symlinks=True)
        row.setup(repo)
    before = contents(repo)
    words = [word.replace("\t", " ") for word in row.command.split(" ")]
    told = swarm(repo, *words, code=2, **dict(row.env))
    assert row.line in told
    assert told.startswith("swarm: ")
    assert told.count("\n") == 1
    assert contents(repo) - CACHES == before


CACHES = {".swarm/run1/lineage.duckdb", ".swarm/run1/refresh.lock"}
"""Files that a question about a run leaves beside its record."""


def contents(repo: Path) -> set[str]:
    """Return the names of all files outside .git, and of the refs and taken names inside."""
    inside, taken = repo / ".git", repo / ".git/swarm/runs"
    files = {path for path in repo.rglob("*") if not path.is_relative_to(inside)}
    names = {str(path.relative_to(repo)) for path in (*files, *taken.glob("*"))}
    return names | set(git(repo, "for-each-ref").splitlines() if inside.exists() else ())
