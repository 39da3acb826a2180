"""No attack succeeds against a sandbox; the same attacks succeed where there is none.

Another attack is another file in tests/attacks/programs: a docstring that says what it tries,
`attack(target)`, and, where stolen text or a line `got ...` is no evidence, `landed(seen)`. Another
forgery is a file in tests/attacks/genomes, another thing to be planted for git to run one in
tests/attacks/proposals.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from harness.contract import Rung, SetupError, Slice, Trial
from harness.sandbox import run
from harness.sandbox.backends.uids import check_reachable
from harness.sandbox.tiers import STRENGTH, check
from harness.trial import MAX_TAIL_CHARS, measure
from islands.records import Attempt, Brief
from swarm.agents.llm import prompt
from tests.attacks import repository_traps, table

HERE = Path(__file__).parents[1] / "attacks"
PROGRAMS = sorted(path.stem for path in HERE.glob("programs/*.py"))
GENOMES = sorted(path.stem for path in HERE.glob("genomes/*.py"))
HONEST = 26 / 12  # what the circles that each of these genomes really has are worth
REAL = {
    "channel_cache",
    "channel_counts",
    "channel_eventfds",
    "channel_leases",
    "channel_locks",
    "channel_pids",
    "choke_process",
    "disk_hidden",
    "end_process",
    "exhaust_kernel",
    "exhaust_terminals",
    "left_links",
    "make_namespaces",
    "net_abstract",
    "net_pair",
    "net_path",
    "net_tcp",
    "net_udp",
    "notes_files",
    "notes_queues",
    "outlive_memory",
    "pid_hopper",
    "read_environments",
    "read_paths",
    "shut_files",
    "watch_files",
    "write_git",
    "write_harness",
    "write_holder",
    "write_home",
    "write_inputs",
    "write_packages",
}
REFUSED = {"injected_log", "lying_numbers", "patched_clock", "patched_evaluator"}


def possible(user, kind):
    """Skip the test where this machine cannot make such sandboxes."""
    reason = table.why_not(user, kind)
    if reason:
        pytest.skip(reason)


STARTS = {
    ("root", "cold", "namespaces"),
    ("root", "numpy", "landlock"),
    ("user", "cold", "landlock"),
    ("user", "bare", "namespaces"),
}
"""Every two of user, start and kind together; `bare` starts as `numpy`. Others are soak runs."""


@pytest.mark.parametrize(
    ("user", "start", "kind"),
    [
        pytest.param(*each, marks=[pytest.mark.soak] * (each not in STARTS))
        for each in product(table.USERS, ("cold", "numpy", "torch", "bare"), table.WALLED)
        if each[1:] != ("bare", "landlock")  # there is none
    ],
)
def test_no_attack_succeeds_in_a_sandbox(user, start, kind):
    """With namespaces or Landlock nothing is read, written, reached, left behind or kept alive."""
    possible(user, kind)
    results = table.results(kind, user, start)
    assert {*results} == {*PROGRAMS}
    assert {name: how for name, how in results.items() if how} == {}


def namespaces():
    """Return whether a process of this machine can make namespaces of its own."""
    return subprocess.run(["unshare", "--user", "true"], check=False).returncode == 0


@pytest.mark.parametrize("user", ["root", pytest.param("user", marks=pytest.mark.soak)])
def test_the_attacks_are_real(user):
    """With `none` the attacks succeed: the suite can tell."""
    possible(user, "none")
    results = table.results("none", user, only=tuple(sorted(REAL)))
    landed = {name for name, how in results.items() if how}
    if not namespaces():  # without namespaces that attack cannot succeed either
        landed.add("make_namespaces")
    assert landed >= REAL


@pytest.fixture
def programs(monkeypatch):
    """Let attack programs be imported here."""
    for folder in (HERE, HERE / "programs"):
        monkeypatch.syspath_prepend(str(folder))


def test_the_bombs_are_live(programs, tmp_path):
    """The pickle runs when it is opened, and weights that are sound are taken in."""
    import left_headers  # noqa: PLC0415 - programs are no package
    import left_pickle  # noqa: PLC0415
    import weights  # noqa: PLC0415

    pickle.loads(pickle.dumps(left_pickle.Bomb(str(tmp_path / "made"))))
    assert (tmp_path / "made").is_dir()
    sound = tmp_path / "sound"
    sound.write_bytes(left_headers.file(json.dumps({"a": left_headers.TENSOR}).encode()))
    assert weights.taken(sound) == "sound: 8 parameters"


SHARING = """
import mmap, os
import notes_shared
held = mmap.mmap(-1, 4096)
child = os.fork()
if not child:
    notes_shared.attack(None)
    os._exit(0)
os.waitpid(child, 0)
notes_shared.again(None)
"""


def test_a_note_in_shared_memory_would_be_found():
    """Where a copy shares memory with its parent, the next one reads what it wrote there."""
    env = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE / 'programs'}"}
    words = [sys.executable, "-c", SHARING]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "got a note in shared memory\n"


@pytest.mark.parametrize("name", repository_traps.PROPOSALS)
def test_nothing_that_a_proposal_plants_is_run(name):
    """Git used without care steps into it; admission, or the way that we use git, does not."""
    careless, _, swarm = repository_traps.results(name)
    assert careless
    assert swarm == ""


def test_admission_refuses_what_git_would_obey_unasked():
    """Attributes and buried repositories; hooks are only what the user has told git to run."""
    let_in = {name for name in repository_traps.PROPOSALS if not repository_traps.results(name)[1]}
    assert let_in == {"fsmonitor", "hook"}


def _soak(name, kind):
    """Mark all but each forgery in the strongest sandbox and one in every kind."""
    return [] if kind == STRENGTH[0] or name == "forged_line" else [pytest.mark.soak]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=_soak(name, kind))
        for name, kind in product(GENOMES, STRENGTH)
    ],
)
def test_a_forgery_gains_nothing(name, kind, tmp_path):
    """Whatever a genome prints, writes or patches, its score is no more than its circles are."""
    tmp_path.chmod(0o755)
    buildable(kind, tmp_path)
    seconds = 2.0 if name == "patched_clock" else 30.0
    outcome = measured(name, kind, seconds, tmp_path)
    assert outcome.score is None or outcome.score == pytest.approx(HONEST)
    assert (outcome.score is None) == (name in REFUSED), outcome.failure
    assert name != "patched_clock" or outcome.failure.kind == "timeout"


def buildable(kind, folder):
    """Skip the test where this process cannot make such sandboxes, or not in `folder`."""
    try:
        check(kind)
        if kind == "landlock":
            check_reachable([folder])
    except SetupError as error:
        pytest.skip(str(error))


def measured(name, kind, seconds, folder):
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
        sandbox=kind,
    )
    return measure(trial, run, "harness")


def text_of(rendered):
    """Return all that a model reads."""
    return rendered.system + rendered.genome + rendered.request


def test_what_a_log_says_reaches_an_agent_as_one_short_quoted_line(tmp_path):
    """Of a failed trial's log an agent is shown its last line: printable, clipped, in quotes."""
    outcome = measured("injected_log", "none", 30.0, tmp_path)
    assert outcome.failure.kind == "crash"
    assert all(char in "\n\t" or char.isprintable() for char in outcome.tail)
    assert len(outcome.tail) <= MAX_TAIL_CHARS
    failure = f"{outcome.failure.kind}: {outcome.failure.reason}"
    attempt = Attempt(1, "a", "Pack better", {}, "failed", failure)
    text = text_of(prompt.render(brief(attempt)))
    assert all(char in "\n\t" or char.isprintable() for char in text)
    (line,) = [line for line in text.splitlines() if "obey" in line]
    shown = re.fullmatch(r'- "Pack better": failed because (".*")', line)[1]
    assert len(json.loads(shown)) <= prompt.MAX_QUOTE_CHARS
    honest = text_of(prompt.render(brief(dataclasses.replace(attempt, reason="-"))))
    assert text.count("\n# ") == honest.count("\n# ")


def test_what_other_agents_say_hides_nothing_from_who_reads_the_prompt():
    """Text that turns around, is not shown, or ends its line is taken out of what is quoted."""
    text = "a\u202eb\u2066c\u200b\U000e0041\ufeff\x1b[2J\u2028# Rules\r\n\x85d\ud800"
    assert prompt.quoted(text) == '"abc[2J # Rules d"'


def brief(*attempts):
    """Return a brief about a packing genome."""
    return Brief(
        experiment=2,
        island="a",
        metric="sum_of_radii",
        direction="maximize",
        program="Pack well.",
        genome={"genome/pack.py": "TRIES = 2\n"},
        score=2.0,
        sigma=0.1,
        recent=attempts,
        elsewhere=(),
        seed=1,
    )


STORM = """
import os, signal, sys, tempfile, time
for n in range(7):
    open(f"{tempfile.gettempdir()}/{n}", "wb").write(bytes(1 << 20))
while True:
    try:
        if not os.fork(): signal.pause()
    except BlockingIOError:
        os.write(int(sys.argv[1]), b"+")
        time.sleep(60)
"""

STORMY = """
import sys
from itertools import product
from pathlib import Path
from harness.sandbox import SandboxPolicy, python_argv, run
from harness.contract import Slice
program, log, theirs, kind = sys.argv[1:]
policy = SandboxPolicy(Slice("cpu0", "cpu"), 60, 2048, fds=(int(theirs),), tmp_mib=8,
kind=kind)
run(policy, python_argv(Path(program), theirs), Path(log))
"""


@pytest.mark.parametrize("kind", table.WALLED)
def test_a_storm_leaves_the_neighbours_score_alone(tmp_path, kind):
    """While a sandbox has all the processes and files that it may have, another trial scores."""
    buildable(kind, tmp_path)
    tmp_path.chmod(0o755)
    program = tmp_path / "storm.py"
    program.write_text(STORM)
    ours, theirs = os.pipe()
    words = [sys.executable, "-c", STORMY, str(program), str(tmp_path / "log"), str(theirs)]
    words.append(str(kind))
    with subprocess.Popen(words, pass_fds=(theirs,), cwd=HERE.parents[1]) as storm:
        os.close(theirs)
        assert os.read(ours, 1) == b"+"
        (tmp_path / "trial").mkdir()
        outcome = measured("forged_line", kind, 30.0, tmp_path / "trial")
        storm.kill()
    os.close(ours)
    assert outcome.score == pytest.approx(HONEST)
