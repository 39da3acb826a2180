"""`swarm check` in real repositories, each with a planted flaw that it must find."""

import json
import sys

import pytest

from tests.support.repository import git, make
from tests.support.target import swarm

PROGRAM = """\
---
task: command
genome: [solve.py]
run: python bench.py
metric: score
direction: maximize
rungs: [{depth: 1, seconds: 5, memory_mib: 512}]
slices: {kind: cpu, count: 1}
---
Raise the score.
"""

SOLVE = "def solve(x):\n    return x\n"

SOUND = """\
import os, random
from solve import solve
rng = random.Random(int(os.environ["SWARM_SEED"]))
print(f"score: {solve(100) + rng.random()}")
"""

FAILING = PROGRAM.replace(
    "rungs:", "checks: [python -c 'import solve; assert solve.solve(1) == 2']\nrungs:"
)

UNUSED = SOUND.replace("from solve import solve", "def solve(x):\n    return x").replace(
    "rng.random()", "rng.gauss(0, 60)"
)

CACHED = """\
import os, pathlib, time
from solve import solve
cache = pathlib.Path(os.environ["HOME"], "cache.txt")
if not cache.exists():
    time.sleep(0.4)
    cache.write_text(str(solve(1)))
print(f"score: {cache.read_text()}")
print(f"score: {cache.read_text()}")
"""


def check(tmp_path, bench, code=0, program=PROGRAM):
    """Return the findings on a repository with this benchmark, by subject."""
    files = {"program.md": program, "solve.py": SOLVE, "bench.py": bench}
    repo = make(tmp_path / "repo", files)
    said = swarm(repo, "check", "--json", "--seeds", "3", code=code)
    found = json.loads(said)["findings"]
    assert not (repo / ".swarm/.check").exists()
    return {finding["subject"]: finding for finding in found}


def flaws(found):
    """Return the subjects of all findings that are not ok, but for the load of other tests."""
    return {name for name in found if found[name]["severity"] != "ok"} - {"load"}


@pytest.mark.sandbox
def test_a_sound_problem_shows_no_flaw(tmp_path):
    """It is told what a trial sees, and that a number which is printed is only reported."""
    found = check(tmp_path, SOUND)
    assert flaws(found) == {"evidence"}
    assert "2 files of the commit" in found["view"]["text"]
    assert sys.executable in found["view"]["text"]
    assert "SWARM_SEED" in found["environment"]["text"]


@pytest.mark.sandbox
def test_a_genome_that_is_not_used_is_an_error(tmp_path):
    """The benchmark has a copy of the function, and is too short for its noise; no run starts."""
    found = check(tmp_path, UNUSED, code=1)
    assert flaws(found) == {"evidence", "genome", "reach"}
    assert found["genome"]["severity"] == "error"
    assert "times as much in one run" in found["reach"]["fix"]
    said = swarm(tmp_path / "repo", "launch", "--trials", "1", code=2)
    assert "does not use the genome" in said
    assert "check `genome:` in program.md" in said
    assert not (tmp_path / "repo/.swarm/run1").exists()


@pytest.mark.sandbox
def test_a_cache_an_unused_seed_a_failing_check_and_a_metric_printed_twice_are_found(
    tmp_path,
):
    """Each with its fix; of all these the check that fails alone is an error."""
    found = check(tmp_path, CACHED, code=1, program=FAILING)
    assert flaws(found) == {"evidence", "cache", "seed", "metric", "checks"}
    assert "AssertionError" in found["checks"]["text"]
    assert "cache.txt" in found["cache"]["text"]
    assert all(found[name]["fix"] for name in flaws(found))


@pytest.mark.sandbox
def test_a_missing_package_is_named(tmp_path):
    """There is nothing else to say of a base without a score."""
    found = check(tmp_path, SOUND.replace("import os", "import swarm_misses_this, os"), code=1)
    assert list(found) == ["run"]
    assert "install swarm_misses_this" in found["run"]["fix"]


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("bench.py", "print(", "raise SystemExit(3)\nprint(", "failed (crash): exit status 3"),
        (
            "program.md",
            "slices:",
            'guards: {p95_ms: "<= 1.05x"}\nslices:',
            "p95_ms is no number of its trials, which have cpu_seconds, lines, memory, peak_mib,",
        ),
    ],
)
def test_a_base_that_passed_is_tried_again_after_an_edit(tmp_path, path, old, new, said):
    """Of any of its files, not of program.md alone: no run is announced that cannot be measured."""
    check(tmp_path, SOUND)
    repo = tmp_path / "repo"
    (repo / path).write_text((repo / path).read_text().replace(old, new))
    git(repo, "commit", "-qam", "edit")
    told = swarm(repo, "launch", "--trials", "1", code=2)
    assert said in told and told.count("\n") == 1
    assert not (repo / ".swarm/run1").exists()


@pytest.mark.sandbox
def test_a_genome_that_prints_its_own_score_is_said_by_check_and_by_each_new_run(tmp_path):
    """Also where the check has passed, and a launch does not run the base again."""
    program = PROGRAM.replace("[solve.py]", "[bench.py]")
    said = "reported: printed by bench.py, which a candidate may change to print any number"
    found = check(tmp_path, SOUND, program=program)
    assert (found["evidence"]["severity"], found["evidence"]["text"]) == ("warn", said)
    for _ in range(2):
        assert said in swarm(tmp_path / "repo", "launch", "--new", "--trials", "1")
