"""No attack succeeds against a sandbox; the same attacks succeed where there is none.

Another attack is another file in tests/attacks/programs: a docstring that says what it tries,
`attack(field)`, and, where stolen text or a line `got ...` is no evidence, `landed(seen)`. Another
forgery is a file in tests/attacks/genomes, another thing to be planted for git to run one in
tests/attacks/proposals.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attacks import planted, table

from harness.confine import run
from harness.contract import Rung, Slice, Trial
from harness.measure import measure

HERE = Path(__file__).parent / "attacks"
PROGRAMS = sorted(path.stem for path in HERE.glob("programs/*.py"))
GENOMES = sorted(path.stem for path in HERE.glob("genomes/*.py"))
HONEST = 26 / 12  # what the circles that each of these genomes really has are worth
REAL = {
    "end_process",
    "left_links",
    "make_namespaces",
    "net_abstract",
    "net_path",
    "net_tcp",
    "net_udp",
    "notes_files",
    "pid_hopper",
    "read_environments",
    "read_paths",
    "write_git",
    "write_harness",
    "write_home",
    "write_inputs",
    "write_packages",
}
REFUSED = {"forged_files", "lying_numbers", "patched_clock", "patched_evaluator"}


@pytest.fixture(params=table.USERS)
def user(request):
    """As whom the harness and its boxes are run."""
    reason = table.why_not(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_attack_fails_in_a_sandbox(name, user, warm):
    """At tier 2 nothing is read, written, reached, left behind or kept alive, however it starts."""
    assert table.results(2, user, warm=warm)[name] == ""


def test_the_attacks_are_real(user):
    """At tier 0, which confines nothing, the attacks land: the suite can tell."""
    landed = {name for name, how in table.results(0, user).items() if how}
    assert landed >= REAL


@pytest.mark.parametrize("name", planted.PROPOSALS)
def test_nothing_that_a_proposal_plants_is_run(name):
    """Git used without care steps into it; admission, or the way that we use git, does not."""
    careless, _, swarm = planted.results(name)
    assert careless
    assert swarm == ""


def test_admission_refuses_what_git_would_obey_unasked():
    """Attributes and buried repositories; hooks are only what the user has told git to run."""
    let_in = {name for name in planted.PROPOSALS if not planted.results(name)[1]}
    assert let_in == {"fsmonitor", "hook"}


@pytest.mark.parametrize("tier", table.TIERS)
@pytest.mark.parametrize("name", GENOMES)
def test_a_forgery_gains_nothing(name, tier, tmp_path):
    """Whatever a genome prints, writes or patches, its score is no more than its circles are."""
    seconds = 2.0 if name == "patched_clock" else 30.0
    outcome = measured(name, tier, seconds, tmp_path)
    assert outcome.score is None or outcome.score == pytest.approx(HONEST)
    assert (outcome.score is None) == (name in REFUSED), outcome.failure
    assert outcome.seconds["budget"] < seconds + 2


def measured(name, tier, seconds, folder):
    """Measure a genome as a trial of its own."""
    folder.chmod(0o755)
    for each in ("genome", "scratch"):
        (folder / each).mkdir()
    shutil.copy(HERE / "genomes" / f"{name}.py", folder / "genome" / "pack.py")
    trial = Trial(
        id=name,
        task="packing",
        data="none",
        commit="0" * 40,
        seed=1,
        rung=Rung(1, seconds, 512),
        slice=Slice("cpu0", "cpu", (min(os.sched_getaffinity(0)),)),
        genome=str(folder / "genome"),
        entry="pack.py",
        scratch=str(folder / "scratch"),
        tier=tier,
    )
    return measure(trial, run, "harness")


STORM = """
import os, signal, sys, time
for n in range(8):
    open(f"/tmp/{n}", "wb").write(bytes(1 << 20))
while True:
    try:
        if not os.fork(): signal.pause()
    except BlockingIOError:
        os.write(int(sys.argv[1]), b"+")
        time.sleep(60)
"""

STORMY = """
import sys
from pathlib import Path
from harness.confine import Policy, python_argv, run
from harness.contract import Slice
program, log, theirs = sys.argv[1:]
policy = Policy(Slice("cpu0", "cpu"), 60, 2048, fds=(int(theirs),), tmp_mib=8)
run(policy, python_argv(Path(program), theirs), Path(log))
"""


def test_a_storm_leaves_the_neighbours_score_alone(tmp_path):
    """While a box has all the processes and files that it may have, another trial scores."""
    tmp_path.chmod(0o755)
    program = tmp_path / "storm.py"
    program.write_text(STORM)
    ours, theirs = os.pipe()
    words = [sys.executable, "-c", STORMY, str(program), str(tmp_path / "log"), str(theirs)]
    with subprocess.Popen(words, pass_fds=(theirs,), cwd=HERE.parents[1]) as storm:
        os.close(theirs)
        assert os.read(ours, 1) == b"+"
        (tmp_path / "trial").mkdir()
        outcome = measured("forged_line", 2, 30.0, tmp_path / "trial")
        storm.kill()
    os.close(ours)
    assert outcome.score == pytest.approx(HONEST)
