"""The task `function`: evaluate.py calls a genome in another sandbox, whatever that one tries."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from harness.contract import DisturbedError, HarnessError, Rung, Slice, Trial
from harness.preflight import preflight
from harness.problem import wire
from harness.sandbox import Running, SandboxPool, Zygote, run
from harness.sandbox.boot.zygote_client import NUMPY_MODULES
from harness.tasks.base import InvalidError
from harness.tasks.function import relay, task
from harness.tasks.function.task import numbers_of
from harness.trial import measure
from swarm.project.problem import freeze
from swarm.project.program import read_program
from tests.support.repository import git, make

CORE = min(os.sched_getaffinity(0))
SLICE = Slice("cpu0", "cpu", (CORE,))

PROGRAM = """\
---
task: function
genome: [src/fast.py]
metric: speed
direction: maximize
held: {dev: data/dev.txt, hidden: data/hidden.txt}
---
"""

EVALUATE = """\
import os
import time

import numpy as np

from helper import THREE


def evaluate(candidate, seed, part, reference, depth=1):
    held = open(os.environ["SWARM_HELD"]).read().strip()
    assert (part, os.environ["SWARM_PART"]) == (held, held)
    rng = np.random.default_rng(seed)
    ours = theirs = 0.0
    for _ in range(THREE):
        x = rng.random(2000)
        time.sleep(0.1)  # a genome that computes meanwhile is caught
        y, took = candidate.timed("solve", x)
        ours, theirs = ours + took, theirs + reference.timed("solve", x)[1]
        if type(y) is not np.ndarray or y.shape != x.shape or abs(y - np.sort(x)).max() > 1e-9:
            raise ValueError("not sorted")
    return {"speed": theirs / ours, "took": ours, "seed": seed}
"""

SORT = "import numpy as np\ndef solve(x):\n    return np.sort(x)\n"


@pytest.fixture(scope="module")
def zygote():
    """A zygote as a slice's process has."""
    with Zygote(SLICE, NUMPY_MODULES) as process:
        yield process


class Bench:
    """A frozen problem, on which genomes are measured."""

    def __init__(  # noqa: PLR0913, PLR0917
        self, folder, zygote, evaluate=EVALUATE, program=PROGRAM, kind="namespaces", more=()
    ):
        files = {
            "program.md": program,
            "evaluate.py": evaluate,
            "helper.py": "THREE = 3\n",
            "src/fast.py": SORT,
            "data/dev.txt": "dev\n",
            "data/hidden.txt": "hidden\n",
            **dict(more),
        }
        self.folder, self.zygote, self.kind = folder, zygote, kind
        repo = make(folder / "repo", files)
        read = read_program(program, "program.md")
        self.problem = freeze(repo, git(repo, "rev-parse", "HEAD"), read, folder / "problem")
        folder.chmod(0o755)

    def trial(self, genome, *, split="dev", seconds=20.0, memory=512):
        """Return a trial of the genome's source."""
        place = self.folder / "genome"
        (place / "src").mkdir(parents=True, exist_ok=True)
        for path, text in ({"src/fast.py": genome} if isinstance(genome, str) else genome).items():
            (place / path).write_text(dedent(text))
        return Trial(
            id="t1",
            task="function",
            data="none",
            commit="c",
            seed=7,
            rung=Rung(1, seconds, memory),
            slice=SLICE,
            genome=str(place),
            entry="src/fast.py",
            scratch=str(self.folder / "scratch"),
            sandbox=self.kind,
            split=split,
            problem=self.problem,
        )

    def measure(self, genome, **fields):
        """Return the outcome of a trial of the genome's source."""
        trial = self.trial(genome, **fields)
        if self.kind == "none":
            return measure(trial, run, "h")
        with SandboxPool(self.zygote) as pool:
            start = partial(Running, source=pool)
            return measure(trial, partial(run, source=pool), "h", start)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, zygote, sandbox):
    """A problem that compares a sort with the base's."""
    return Bench(tmp_path_factory.mktemp("sort"), zygote)


@pytest.mark.parametrize("split", ["dev", "hidden"])
def test_a_genome_is_scored_on_its_split_with_verified_evidence(bench, split):
    """The ratio of both times, the other numbers as facts, from held data of that split alone."""
    outcome = bench.measure(SORT, split=split)
    assert outcome.failure is None
    assert outcome.score > 0
    assert (outcome.evidence, outcome.split) == ("verified", split)
    assert (outcome.facts["seed"], outcome.facts["calls"]) == (7, 3)
    assert outcome.facts["took"] > 0


def test_without_a_sandbox_it_works_too(tmp_path, zygote):
    """The same conversation, between three processes of the user's."""
    outcome = Bench(tmp_path, zygote, kind="none").measure(SORT)
    assert outcome.failure is None
    assert outcome.score > 0


TRAPS = {
    "lies about equality": (
        """
        import numpy as np
        class Liar(float):
            __eq__ = lambda self, other: True
            __sub__ = __abs__ = max = lambda *_: Liar(0)
            shape = (2000,)
        def solve(x): return Liar(1)
        """,
        "invalid",
        "evaluate.py:20: ValueError: not sorted",
    ),
    "not a number": (
        "def solve(x): return x * float('nan')",
        "crash",
        "solve: returned an array with a number that is not finite",
    ),
    "too much": (
        "import numpy as np\ndef solve(x): return np.zeros(9_000_000)",
        "crash",
        "solve: WireError: too much data: at most 64 MiB of arrays",
    ),
    "an object": ("def solve(x): return open", "crash", "solve: WireError: a builtin_function_or_"),
    "an exception": (
        "def solve(x): raise KeyError('no\\n\\x1b[31mkey')",
        "crash",
        r"solve: KeyError: 'no\n\x1b[31mkey'",
    ),
    "no such function": ("x = 1", "crash", "solve: AttributeError: module 'fast' has no attribute"),
    "exit": ("import os\ndef solve(x): os._exit(0)", "crash", "solve: its process ended (exit st"),
    "exit at import": (
        "import os; os._exit(0)",
        "crash",
        "its process ended (exit status 0) while",
    ),
    "broken": ("import nothing_like_it", "crash", "ModuleNotFoundError: No module named 'nothin"),
    "hang": (
        "def solve(x):\n while True: pass",
        "timeout",
        "still running at the end of its 2 s budget, after 1 call",
    ),
    "hang at import": ("while True: pass", "timeout", "still running at the end of its 2 s budget"),
    "memory": (
        "def solve(x): return [bytearray(1 << 20) for _ in range(4000)]",
        "memory",
        "held more than 512 MiB",
    ),
    "an answer ahead": (
        """
        import os, sys
        answer = sys.modules["swarm_wire"]
        channel = int(sys.argv[2])
        answer.send(channel, answer.Frame(answer.READY))
        answer.send(channel, answer.Frame.of(answer.VALUE, 1))
        def solve(x): return x
        """,
        "invalid",
        "it sent",
    ),
    "a forged header": (
        """
        import os, sys
        os.write(int(sys.argv[2]), b"\\xff" * 64)
        """,
        "crash",
        "more than 16 MiB of JSON in one call",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_fails_with_one_line(bench, trap):
    """Whatever a genome returns, raises, sends, holds or leaves running."""
    genome, kind, reason = TRAPS[trap]
    failure = bench.measure(genome, seconds=2.0 if kind == "timeout" else 20.0).failure
    assert (failure.kind, failure.reason[: len(reason)]) == (kind, reason)
    assert "\n" not in failure.reason


BUSY = {
    "thread": """
        import threading
        def burn():
            while True: pass
        threading.Thread(target=burn, daemon=True).start()
    """,
    "child": """
        import os
        if os.fork() == 0:
            while True: pass
    """,
}


@pytest.mark.parametrize("kind", BUSY)
def test_work_between_calls_is_invalid(tmp_path, zygote, sandbox, kind):
    """While evaluate.py computes on the same core, a genome's processes must stand still."""
    computing = "until = time.process_time() + 0.2\n        while time.process_time() < until: pass"
    (sleeping,) = (line for line in EVALUATE.splitlines() if "time.sleep" in line)
    evaluate = EVALUATE.replace(sleeping.strip(), computing)
    failure = Bench(tmp_path, zygote, evaluate).measure(dedent(BUSY[kind]) + SORT).failure
    assert (failure.kind, failure.reason[:7]) == ("invalid", "it used")


def test_time_is_taken_outside_the_genome(bench):
    """A clock patched at import, a printed metric and a claim gain nothing."""
    outcome = bench.measure(
        """
        import time, numpy as np
        for name in ("time", "perf_counter", "monotonic", "process_time"):
            setattr(time, name, lambda: 0.0)
        print("speed: 1e9\\nclaim speed 1e9", flush=True)
        def solve(x):
            time.sleep(0.1)
            return np.sort(x)
        """
    )
    assert outcome.facts["took"] > 0.3
    assert outcome.score < 1
    assert "speed: 1e9" in outcome.tail


def test_a_genome_sees_neither_evaluate_nor_held_files_nor_the_seed(bench):
    """It finds the frozen files, and can write none of them."""
    outcome = bench.measure(
        """
        import os, sys
        seen = [os.path.join(a, f) for a, _, fs in os.walk("/repo") for f in fs]
        bad = [p for p in seen if p.endswith(("evaluate.py", "dev.txt", "hidden.txt"))]
        bad += [p for p in os.listdir("/") if p in ("held", "judge", "base")]
        words = [w for w in sys.argv + list(os.environ) if "SEED" in w or w == "7"]
        assert "/repo/helper.py" in seen
        try: open("/repo/helper.py", "a")
        except OSError: bad.append("locked")
        def solve(x): raise ValueError(f"found {bad + words}")
        """
    )
    assert outcome.failure.reason == "solve: ValueError: found ['locked']"


FRESH = """\
def evaluate(candidate, seed):
    first = [candidate.count() for _ in range(3)]
    candidate.fresh()
    try:
        candidate.fail()
    except candidate.Error as error:
        text = str(error)
    each, _ = candidate.timed_each("square", range(4))
    candidate.nonfinite = True
    return {"speed": first[-1] + candidate.count() / 100, "inf": candidate.inf() > 1e300,
        "named": candidate.call("timed", 1, b=2), "squares": sum(each), "text": len(text)}
"""


def test_a_genome_sees_no_file_of_the_systems_in_which_to_leave_notes(bench):
    """It has the repository, what runs it, and modules in memory: its failure says so."""
    outcome = bench.measure("""
import os, sqlite3, helper
seen = {at for at, _, names in os.walk("/") if names and not at.startswith(("/proc", "/dev"))}
def solve(x):
    try:
        import pluggy
    except ModuleNotFoundError as error:
        error.msg += str(sorted(at for at in seen if at.count("/") < 3 and "lib" not in at))
        raise
""")
    reason = outcome.failure.reason
    assert "No module named 'pluggy'['/', '/bin', '/repo', '/repo/src'] (the standard" in reason


def test_a_fresh_process_remembers_nothing(tmp_path, zygote, sandbox):
    """Calls share a process until `fresh`; exceptions can be caught, infinities let through."""
    program = PROGRAM.replace("held:", "#")
    bench = Bench(tmp_path, zygote, FRESH.replace("> 1e300", "> 1e300 and 1"), program)
    outcome = bench.measure(
        """
        calls = []
        def count(): calls.append(1); return len(calls)
        def fail(): raise ValueError("seen")
        def square(x): return x * x
        def inf(): return float("inf")
        def timed(a, b): return a + b
        """
    )
    assert outcome.failure is None
    assert outcome.score == 3.01
    facts = outcome.facts
    assert (facts["squares"], facts["named"], facts["text"]) == (
        14,
        3,
        len("fail: ValueError: seen"),
    )


def test_a_reference_that_fails_voids_the_trial(tmp_path, zygote, sandbox):
    """The base is never the candidate's fault."""
    evaluate = "def evaluate(candidate, reference):\n    reference.fresh()\n    return 1.0\n"
    bench = Bench(tmp_path, zygote, evaluate)
    base = Path(bench.problem) / "base/src/fast.py"
    base.chmod(0o644)
    base.write_text("1 / 0\n")
    with pytest.raises(HarnessError, match="the reference: ZeroDivisionError"):
        bench.measure(SORT)


MODES = """\
import os
import time


def evaluate(candidate):
    mode = candidate.mode()
    if mode == "hang":
        time.sleep(60)
    if mode == "exit":
        os._exit(3)
    if mode == "memory":
        print(len(bytearray(1 << 30)))
    if mode == "refuse":
        raise candidate.Refused("sort\\nit")
    raise ValueError(mode * 200)
"""


@pytest.mark.parametrize(
    ("mode", "reason", "told"),
    [
        ("hang", "evaluate.py was still running after 4.3 s", "evaluate.py was still running"),
        ("exit", "evaluate.py ended without a result (exit status 3)", "evaluate.py ended without"),
        ("memory", "evaluate.py:12: MemoryError", "evaluate.py:12 raised MemoryError"),
        ("\nx", "evaluate.py:15: ValueError: x x x", "evaluate.py:15 raised ValueError"),
        ("refuse", "evaluate.py:14: sort it", "sort it"),
    ],
)
def test_an_evaluation_that_fails_is_invalid(modes, monkeypatch, mode, reason, told):
    """It is the frozen file that failed, on what the candidate returned: nobody else's fault.

    Agents are not shown the text of an exception, which may quote held data.
    """
    monkeypatch.setattr(task, "EVALUATE_S", 0.3)
    failure = modes.measure(f"def mode(): return {mode!r}", seconds=2.0, memory=256).failure
    assert failure.kind == "invalid"
    assert (
        failure.reason.startswith(reason) or failure.reason == "evaluate.py held more than 256 MiB"
    )
    assert failure.told.startswith(told) or failure.told == failure.reason
    assert "x x" not in failure.told
    assert "\n" not in failure.reason


@pytest.fixture(scope="module")
def modes(tmp_path_factory, zygote, sandbox):
    """A problem whose evaluation fails as the genome says."""
    return Bench(tmp_path_factory.mktemp("modes"), zygote, MODES, PROGRAM.replace("held:", "#"))


COMPILED = {
    "src/fast.py": """\
        import ctypes, pathlib
        work = ctypes.CDLL(str(pathlib.Path(__file__).with_name("work.so")))
        def solve(x): return work.twice(x)
    """,
    "src/work.c": "int twice(int x) { return x + x; }\n",
}

CALLS_BOTH = """\
def evaluate(candidate, reference):
    return 10 * candidate.solve(21) + reference.solve(1)
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_a_genome_that_needs_compiling_is_built_before_it_is_called(tmp_path, zygote, sandbox):
    """The base too, where evaluate compares with it; what does not compile is a crash."""
    build = "build: gcc -shared -fPIC -o src/work.so src/work.c\n---\n"
    program = PROGRAM.replace("fast.py]", "fast.py, src/work.c]").replace("held:", "#")
    program = f"{program.rstrip().removesuffix('---')}{build}"
    files = {path: dedent(text) for path, text in COMPILED.items()}
    bench = Bench(tmp_path, zygote, CALLS_BOTH, program, more=files)
    faster = {**files, "src/work.c": "int twice(int x) { return x * 2 + 1; }\n"}
    assert bench.measure(files).score == 422
    assert bench.measure(faster).score == 432
    failure = bench.measure({**files, "src/work.c": "int twice(\n"}).failure
    assert (failure.kind, failure.reason[:31]) == ("crash", "the build ended with exit statu")


def test_a_preflight_imports_the_genome(modes):
    """So that one that cannot be imported costs no slice time."""
    assert preflight(modes.trial("x = 1\n"), SLICE, run).ok
    refused = preflight(modes.trial("import nothing_like_it\n"), SLICE, run)
    assert refused.reason == "ModuleNotFoundError: No module named 'nothing_like_it'"


def test_what_others_take_does_not_count_against_a_budget(monkeypatch):
    """A call gets what others had of its cores, until it has waited too long to say anything."""
    now, taken = [100.0], [5.0]
    monkeypatch.setattr(relay.time, "monotonic", lambda: now[0])
    clock = relay.CallClock(lambda: taken[0], left=2.0, max_wall=8.0, _began=100.0)
    now[0], taken[0] = 103.0, 7.5
    assert clock.remaining() == 1.5
    assert (clock.wall, clock.lost) == (3.0, 2.5)
    now[0] = 105.0
    with pytest.raises(TimeoutError):
        clock.remaining()
    now[0], taken[0] = 109.0, 12.0
    with pytest.raises(DisturbedError, match="others kept a call waiting for 7 s"):
        clock.remaining()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (True, "evaluate returned no number as 'speed'"),
        ("1", "evaluate returned no number as 'speed'"),
        (None, "evaluate returned no number as 'speed'"),
        ([1.0], "evaluate returned no number as 'speed'"),
        (float("nan"), "evaluate returned nan as 'speed': not finite"),
        (
            {"speed": 1, "a\ud800": 2},
            r"evaluate must return printable names of 1 to 80 characters, ",
        ),
        (
            {"speed": 1, "a" * 81: 2},
            r"evaluate must return printable names of 1 to 80 characters, ",
        ),
        (1e101, "evaluate returned 1e+101 as 'speed': beyond 1e+100"),
        (10**400, "evaluate returned 1000000"),
        ({"speed": 1, "other": float("inf")}, "evaluate returned inf as 'other': not finite"),
        (10**400, "evaluate returned"),
        ({"other": 1}, "evaluate must return a number, or a dict with 'speed'"),
        (
            {f"x{n}": n for n in range(99)} | {"speed": 1},
            "evaluate must return a number, or a dict",
        ),
    ],
)
def test_what_evaluate_returns_must_be_numbers(value, reason):
    """One line names what is wrong."""
    with pytest.raises(InvalidError) as raised:
        numbers_of(wire.Frame.of(wire.RESULT, value), "speed")
    assert str(raised.value).startswith(reason)


def test_evaluate_may_return_a_number_alone():
    """It is the score."""
    assert numbers_of(wire.Frame.of(wire.RESULT, 3), "speed") == (3.0, {})
