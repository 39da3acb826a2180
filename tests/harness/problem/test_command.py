"""The task `command`: what a trial sees, runs and scores, in every kind of sandbox."""

import hashlib
import http.server
import os
import re
import shutil
import socket
import socketserver
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness import tasks
from harness.contract import DOOR_SOCKET, Rung, SetupError, Slice, Trial
from harness.problem.interpreter import find_python
from harness.problem.mounts import plan_mounts
from harness.problem.spec import read_spec, write_spec
from harness.problem.travel import pack_problem, unpack_problem
from harness.sandbox import run, tiers
from harness.trial import measure
from islands.git.branches import Branches
from swarm.project.problem import freeze
from swarm.project.repository import load_program, program_path
from tests.support.repository import git, make

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

    def __init__(self, folder, files, before=lambda: None, path="program.md"):
        folder.chmod(0o755)
        self.folder, self.repo = folder, make(folder / "repo", files)
        before()
        self.commit = Branches(self.repo, "run1", ()).base("main")
        self.program = load_program(self.repo, self.commit, path)
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
def problem(module_folder):
    """A Python function with its benchmark."""
    return Problem(module_folder, FILES)


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


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 3\n"


def test_what_a_trial_would_not_see_is_refused_at_launch(tmp_path):
    """By name: a link out of the repository or in the genome, a submodule, a pointer of Git LFS."""
    links = {"out": "/etc/passwd", "up": "../x", "src/link.py": "work.py"}
    for number, (path, target) in enumerate(links.items()):
        (tmp_path / f"l{number}").mkdir()
        repo = make(tmp_path / f"l{number}" / "repo", FILES | _genome("src"))
        (repo / path).symlink_to(target)
        with pytest.raises(SetupError, match=f"{path} .*symbolic link"):
            _freeze(repo, tmp_path)
    repo = make(tmp_path / "sub", FILES)
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    with pytest.raises(SetupError, match=r"lib is a submodule.*`files:`"):
        _freeze(repo, tmp_path, add=False)
    repo = make(tmp_path / "lfs", FILES | {"data.bin": POINTER.format("0" * 64)})
    with pytest.raises(SetupError, match=r"data\.bin is a pointer of Git LFS: run `git lfs pull`"):
        _freeze(repo, tmp_path)


def _genome(path):
    return {"program.md": FILES["program.md"].replace("[src/work.py]", f"[{path}]")}


def _freeze(repo, folder, *, add=True):
    """Commit what there is in `repo` and freeze its problem; return that folder."""
    if add:
        git(repo, "add", "-A")
    git(repo, "commit", "-qm", "two", "--allow-empty")
    commit = git(repo, "rev-parse", "HEAD")
    return freeze(repo, commit, load_program(repo, commit), folder / "frozen")


def test_links_inside_and_fetched_lfs_files_are_seen(tmp_path):
    """A link stays a link; a pointer becomes the file that it stands for."""
    oid = hashlib.sha256(b"abc").hexdigest()
    repo = make(tmp_path / "repo", FILES | {"data.bin": POINTER.format(oid)})
    (repo / "again.py").symlink_to("bench.py")
    store = repo / ".git/lfs/objects" / oid[:2] / oid[2:4]
    store.mkdir(parents=True)
    (store / oid).write_bytes(b"abc")
    tree = Path(_freeze(repo, tmp_path), "tree")
    assert (tree / "data.bin").read_bytes() == b"abc"
    assert (tree / "again.py").readlink() == Path("bench.py")
    assert (tree / "again.py").read_text() == BENCH
    assert not (tree / "program.md").exists()


def test_a_program_in_a_subfolder_names_what_lies_beside_it(tmp_path):
    """Commands run there, and see the whole repository, or what `files` leaves of it."""
    files = {f"packages/fast/{path}": text for path, text in FILES.items()}
    bench = BENCH + "print('above:', int(pathlib.Path('../../VERSION').read_text()))\n"
    files |= {"VERSION": "3\n", "packages/fast/bench.py": bench}
    problem = Problem(tmp_path, files, path="packages/fast/program.md")
    assert problem.program.settings.genome == ("packages/fast/src/work.py",)
    outcome = problem.measure(sandbox="none")
    assert (outcome.score, outcome.claims["above"]) == (42.0, 3.0), outcome
    narrow = files["packages/fast/program.md"].replace("run:", "files: [bench.py]\nrun:")
    (tmp_path / "narrow").mkdir()
    files |= {"packages/fast/program.md": narrow}
    problem = Problem(tmp_path / "narrow", files, path="packages/fast/program.md")
    assert problem.measure(sandbox="none").failure.kind == "crash"
    assert (
        program_path(problem.repo, problem.repo / "packages/fast/src") == "packages/fast/program.md"
    )
    assert program_path(problem.repo, problem.repo / "packages") == "program.md"


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
def test_a_build_runs_once_for_each_genome_outside_the_budget(open_folder, kind):
    """With the system's compiler; a genome that does not compile is a crash with its errors."""
    problem = Problem(open_folder, MAKE)
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


@pytest.mark.sandbox
def test_a_build_leaves_no_folders_that_nothing_could_remove(open_folder):
    """Python removes a tree by recursion: 1,000 folders, one in the other, end the harness."""
    front = FILES["program.md"].replace("run:", "build: sh src/work.py\nrun:")
    problem = Problem(open_folder, FILES | {"program.md": front})
    deep = "for n in $(seq 120); do mkdir d && cd d; done; echo > f"
    failure = problem.measure({"src/work.py": deep}, sandbox="namespaces").failure
    assert failure.reason == "the build left folders that are more than 100 deep"


def test_a_file_that_a_build_links_twice_is_there_twice(tmp_path):
    """As a compiler does that keeps what it made under a second name."""
    front = re.sub(r"run: .*", "build: sh src/work.py\nrun: cat second", FILES["program.md"])
    problem = Problem(tmp_path, FILES | {"program.md": front})
    made = problem.measure(
        {"src/work.py": "echo ops/s: 7 > first; ln first second"}, sandbox="none"
    )
    assert made.score == 7.0, made


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
        "lib": "is not a folder",
        "tool": "holds credentials.toml",
    }.items():
        repo = make(tmp_path / f"r{len(list(tmp_path.iterdir()))}", {"tool/credentials.toml": ""})
        with pytest.raises(SetupError, match=reason):
            plan_mounts(repo, "", [mount])


PREPARE = """\
import pathlib
data = pathlib.Path.home() / ".cache" / "corpus"
data.mkdir(parents=True)
(data / "x").write_text("40")
pathlib.Path("made").mkdir()
pathlib.Path("made/y").write_text("2")
"""

READS = """\
import pathlib
home = pathlib.Path.home()
print("n:", int((home / ".cache/corpus/x").read_text()) + int(pathlib.Path("made/y").read_text()))
(home / ".cache" / "own").mkdir()
for path in (home / ".cache/corpus/x", pathlib.Path("made/y"), pathlib.Path("bench.py")):
    try:
        path.write_text("0")
        print("wrote", path)
    except OSError:
        pass
"""


@pytest.mark.sandbox
def test_what_is_prepared_once_is_seen_read_only(tmp_path):
    """In HOME and in the repository, on the launch commit alone; it is part of the harness id."""
    front = (
        FILES["program.md"].replace("ops/s", "n").replace("---\n", "---\nprepare: python p.py\n", 1)
    )
    problem = Problem(tmp_path, FILES | {"bench.py": READS, "p.py": PREPARE, "program.md": front})
    outcome = problem.measure()
    assert outcome.score == 42.0, outcome
    assert "wrote" not in outcome.tail
    kept = [*(problem.repo / ".swarm" / "prepared").glob("*/done.json")]
    before = kept[0].stat().st_mtime_ns
    again = freeze(problem.repo, problem.commit, problem.program, tmp_path / "again")
    assert kept[0].stat().st_mtime_ns == before
    ids = {tasks.load("command", place).prepare("none") for place in (problem.frozen, again)}
    assert len(ids) == 1
    assert read_spec(again).prepared


@pytest.fixture
def server():
    """A server on loopback that answers 17, and its address."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # the base class's name
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"17")

        def log_message(self, *args):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.mark.sandbox
@pytest.mark.parametrize("network", [True, False])
def test_a_text_genome_may_have_the_network_and_a_key(tmp_path, monkeypatch, server, network):
    """Its command is frozen, so its number is verified; the key is in no record."""
    monkeypatch.setenv("MY_KEY", "sk-0123456789")
    ask = "import os, urllib.request as u\nprint('key', os.environ.get('MY_KEY'))\n"
    ask += f"print('n:', int(u.urlopen('{server}').read()))\n"
    more = "network: true\nenv: [MY_KEY]\n" if network else ""
    front = (
        "---\ntask: command\ngenome: [prompt.txt]\nrun: python ask.py\nmetric: n\n"
        f"direction: maximize\ntext: true\n{more}---\n"
    )
    problem = Problem(tmp_path, {"prompt.txt": "Be good.\n", "ask.py": ask, "program.md": front})
    outcome = problem.measure()
    assert (outcome.score, outcome.evidence) == (17.0 if network else None, "verified")
    assert ("key ***" if network else "key None") in outcome.tail
    assert "0123456789" not in str(outcome)


WAITS = """\
import os, signal, time
ended, until = [], time.monotonic() + 20
signal.signal(signal.SIGCHLD, lambda *_: ended.append(os.waitpid(-1, os.WNOHANG)[0]))
child = os.posix_spawn("/bin/true", ["true"], {})
while not ended and time.monotonic() < until:
    time.sleep(0.01)
print("n:", int(ended == [child]))
"""


@pytest.mark.sandbox
@pytest.mark.parametrize("kind", kinds())
def test_a_command_hears_that_its_child_has_ended(open_folder, kind):
    """By SIGCHLD: `node --test` would wait for ever."""
    front = FILES["program.md"].replace("ops/s", "n")
    problem = Problem(open_folder, FILES | {"bench.py": WAITS, "program.md": front})
    assert problem.measure(sandbox=kind).score == 1.0


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    """An HTTP server at a Unix socket; it has no host to be named by."""

    daemon_threads = True

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("door", 0)


@pytest.fixture
def door(tmp_path):
    """A folder with the socket of a server that answers with the key that it was given."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            data = f"{self.path} {self.headers['authorization']}".encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            """Say nothing."""

    folder = tmp_path / "d"
    folder.mkdir()
    with _UnixServer(str(folder / DOOR_SOCKET), Answer) as listening:
        (folder / DOOR_SOCKET).chmod(0o666)
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield folder
        listening.shutdown()
        thread.join()


ASKS_MODEL = """\
import os, socket, urllib.request as u
url, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
request = u.Request(url + "/v1/chat/completions", b"{}", {"authorization": "Bearer " + key})
said = u.urlopen(request).read().decode()
print("said:", said, os.environ["SWARM_MODEL"])
others = [name for _, name in socket.if_nameindex() if name != "lo"]
print("n:", float(said == "/v1/chat/completions Bearer sw-0123456789" and not others))
"""

ASKS = (
    "---\ntask: command\ngenome: [prompt.txt]\nrun: python ask.py\nmetric: n\n"
    "direction: maximize\ntext: true\nmodel: {kind: openai, model: m1}\n---\n"
)


@pytest.mark.sandbox
@pytest.mark.parametrize("sandbox", ["namespaces", "none"])
def test_a_text_genomes_command_reaches_its_model_without_a_network(tmp_path, door, sandbox):
    """By a port of its own loopback; the address and the token are those of the trial."""
    files = {"prompt.txt": "Be good.\n", "ask.py": ASKS_MODEL, "program.md": ASKS}
    problem = Problem(tmp_path, files)
    given = {"sandbox": sandbox, "door": str(door), "token": "sw-0123456789"}
    outcome = problem.measure(**given)
    alone = sandbox != "none" or len(socket.if_nameindex()) == 1
    assert (outcome.score, outcome.evidence) == (float(alone), "verified"), outcome
    assert "said: /v1/chat/completions Bearer *** m1" in outcome.tail
    with pytest.raises(SetupError, match="`model` needs `--sandbox namespaces`"):
        problem.measure(**given | {"sandbox": "landlock"})


def test_another_model_is_another_harness(tmp_path):
    """Its scores do not compare; its price changes nothing."""
    ids = []
    for n, more in enumerate(("m1", "m2", "m1, price: {input: 1, output: 2}")):
        files = {"prompt.txt": "Be good.\n", "program.md": ASKS.replace("m1", more)}
        (tmp_path / str(n)).mkdir()
        problem = Problem(tmp_path / str(n), files | {"ask.py": ASKS_MODEL})
        ids.append(tasks.load("command", problem.frozen).prepare("none"))
    assert ids[0] == ids[2] != ids[1]


def test_a_problem_travels_to_another_machine_as_a_whole(problem, tmp_path):
    """It is the same there, places of the genome included; what is missing there is named."""
    packed = pack_problem(problem.frozen)
    there = unpack_problem(packed, tmp_path / "there")
    loaded = [tasks.load("command", place) for place in (problem.frozen, there)]
    assert loaded[0].prepare("none") == loaded[1].prepare("none")
    assert problem.measure(sandbox="none", problem=there).score == 42.0
    spec = replace(read_spec(there), mounts={"/repo/lib": "/nowhere/lib"})
    write_spec(spec, Path(there))
    with pytest.raises(SetupError, match="/nowhere/lib is missing here"):
        unpack_problem(pack_problem(there), tmp_path / "again")


def test_an_interpreter_that_does_not_run_is_named(tmp_path):
    """In one line, at launch: missing, not a program, or failing."""
    for name, text in {"broken": "#!/bin/sh\necho no >&2\nexit 1\n", "odd": "odd"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
        with pytest.raises(SetupError, match=f"{name} does not run .*set `python:`"):
            find_python(tmp_path, tmp_path, f"./{name}")
    with pytest.raises(SetupError, match="neither an interpreter nor a virtual environment"):
        find_python(tmp_path, tmp_path, "./none")


def test_mounts_are_seen_where_their_users_look(tmp_path, monkeypatch):
    """In the repository, or at their own path with a link in HOME; programs are on the path."""
    home, repo = tmp_path / "home", tmp_path / "home" / "repo"
    monkeypatch.setenv("HOME", str(home))
    for folder in (repo / "lib" / "bin", home / ".cargo" / "bin", tmp_path / "shared"):
        folder.mkdir(parents=True)
    plan = plan_mounts(repo, "", ["lib", "~/.cargo", "../../shared"])
    assert plan.places["/repo/lib"] == str(repo / "lib")
    assert plan.places[str(home / ".cargo")] == str(home / ".cargo")
    assert plan.places[str(tmp_path / "shared")] == str(tmp_path / "shared")
    assert plan.home == {".cargo": str(home / ".cargo")}
    assert {"/repo/lib/bin", str(home / ".cargo/bin")} <= set(plan.programs)
