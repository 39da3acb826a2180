"""What a hostile genome of a command task tries: none of it counts as more than reported."""

import shutil
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.harness.problem.test_command import BENCH, FILES, Problem, kinds
from tests.support.sandboxes import alive, outliving

NAMESPACES = [kind for kind in kinds() if kind != "none"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A Python function with its benchmark."""
    return Problem(tmp_path_factory.mktemp("traps"), FILES)


def ends(problem, code, **fields):
    """Return the outcome of a genome with `code` beside an honest function."""
    text = f"{code}\n{FILES['src/work.py']}"
    return problem.measure({"src/work.py": text}, **fields)


def test_a_forged_line_beside_the_true_one_is_invalid(problem):
    """The benchmark prints the metric too, and the two differ."""
    outcome = ends(problem, "print('ops/s: 1e9')", sandbox="none")
    assert outcome.failure.kind == "invalid"
    assert outcome.failure.reason == (
        'ops/s was printed with different values: "ops/s: 1e9", then "ops/s: 42"'
    )


@pytest.mark.parametrize("end", ["raise SystemExit", "import os; os._exit(0)"])
def test_a_forged_line_alone_is_no_more_than_reported(problem, end):
    """Nothing in the process can be trusted, and the score says so."""
    outcome = ends(problem, f"print('ops/s: 1e9', flush=True)\n{end}", sandbox="none")
    assert (outcome.score, outcome.evidence) == (1e9, "reported")


def test_a_patched_clock_moves_no_measure_of_the_harness(tmp_path):
    """The benchmark's own clock is the candidate's; wall_seconds is not."""
    bench = BENCH.replace("import os", "import time, os") + (
        "began = time.perf_counter()\ntime.sleep(0.2)\nprint('own:', time.perf_counter() - began)\n"
    )
    front = FILES["program.md"].replace("ops/s", "wall_seconds").replace("maximize", "minimize")
    problem = Problem(tmp_path, FILES | {"bench.py": bench, "program.md": front})
    outcome = ends(problem, "import time\ntime.perf_counter = lambda: 0.0", sandbox="none")
    assert outcome.claims["own"] == 0.0
    assert outcome.score > 0.2
    assert outcome.evidence == "verified"


@pytest.mark.parametrize("kind", NAMESPACES)
def test_frozen_files_cannot_be_changed(problem, kind):
    """Neither in place nor by another name; nothing can be added beside them."""
    code = """
import os
for act in (
    lambda: open("bench.py", "w"),
    lambda: os.unlink("bench.py"),
    lambda: os.rename("bench.py", "old.py"),
    lambda: os.chmod("bench.py", 0o777) or os.stat("bench.py").st_mode & 0o222 or 1 / 0,
    lambda: open("json.py", "w"),
    lambda: open("src/more.py", "w"),
    lambda: os.symlink("/tmp", "link"),
):
    try:
        act()
        print("done:", 1)
    except (OSError, ZeroDivisionError):  # the latter: chmod had no effect
        pass
"""
    outcome = ends(problem, code, sandbox=kind)
    assert outcome.score == 42.0, outcome
    assert "done" not in outcome.claims
    assert Path(problem.frozen, "tree", "bench.py").read_text() == BENCH


@pytest.mark.parametrize("kind", NAMESPACES)
def test_no_cache_survives_into_the_next_trial(problem, kind):
    """In HOME, /tmp, shared memory, $OUT or the repository."""
    code = """
import os
own = {os.environ[name] for name in ("HOME", "TMPDIR", "OUT")}
for place in {*own, "/tmp", "/dev/shm", "."}:
    try:
        if os.path.exists(place + "/cache"):
            print("cached:", 1)
        open(place + "/cache", "w").write("x")
    except OSError:
        pass
"""
    outcomes = [ends(problem, code, sandbox=kind) for _ in range(2)]
    assert [outcome.score for outcome in outcomes] == [42.0, 42.0], outcomes
    assert "cached" not in outcomes[1].claims


@pytest.mark.parametrize("kind", NAMESPACES)
def test_a_daemon_dies_with_its_trial(problem, kind):
    """Whatever session it is in; the deadline is for the last descendant."""
    mark = "3217.0625"
    code = f"""
import os
if not os.fork():
    os.setsid()
    if not os.fork():
        os.execv("/bin/sleep", ["sleep", "{mark}"])
    os._exit(0)
"""
    assert ends(problem, code, sandbox=kind).score == 42.0
    assert outliving(alive(mark)) == []


def test_a_flood_before_the_metric_hides_nothing(problem):
    """10 MB are cut from the middle of the log; the line is at its end."""
    outcome = ends(problem, "print(('y' * 999 + '\\n') * 10_000)", sandbox="none")
    assert outcome.score == 42.0, outcome.failure


@pytest.mark.parametrize("kind", NAMESPACES)
def test_a_virtual_environment_of_the_repository_is_used(tmp_path, kind):
    """With its compiled packages, read-only, and the console scripts that are in it."""
    site = Path(sysconfig.get_path("purelib"))

    def install():
        place = tmp_path / "repo" / ".venv"
        venv.create(place, symlinks=True)
        packages = next(place.glob("lib/python3*/site-packages"))
        for name in ("numpy", "numpy.libs"):
            shutil.copytree(site / name, packages / name)
        script = place / "bin" / "bench"
        script.write_text(f"#!{place}/bin/python\nimport runpy\nrunpy.run_path('bench.py')\n")
        script.chmod(0o755)

    bench = """
import os, sys, numpy
print("ops/s:", numpy.linalg.det(numpy.eye(2) * 3))
print("prefix", sys.prefix)
print("writable:", int(os.access(numpy.__file__, os.W_OK)))
"""
    files = FILES | {
        "bench.py": bench,
        ".gitignore": ".venv\n",
        "program.md": FILES["program.md"].replace("python bench.py {seed}", "bench"),
    }
    problem = Problem(tmp_path, files, before=install)
    outcome = problem.measure(sandbox=kind)
    assert outcome.score == pytest.approx(9.0), outcome
    assert f"prefix {tmp_path / 'repo' / '.venv'}" in outcome.tail
    assert outcome.claims["writable"] == 0.0
