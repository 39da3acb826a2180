"""`score:`, a scorer that reads what `run` left, with held data, in a sandbox of its own."""

from __future__ import annotations

import hashlib

import pytest

from harness.contract import SetupError, decode_outcome, encode
from harness.problem.scorer import failure_of
from harness.sandbox.policy import Exit
from tests.harness.problem.test_command import Problem, kinds

SCORE = """\
import os, pathlib, sys
answers = pathlib.Path(os.environ["OUT"], "answers.txt").read_text().split()
held = pathlib.Path(os.environ["SWARM_HELD"]).read_text().split()
assert pathlib.Path("vendor/x.txt").read_text() == "mounted"
assert not pathlib.Path("src/work.py").exists(), "the genome is here"
print("accuracy:", sum(a == b for a, b in zip(answers, held, strict=True)) / len(held))
print("answers:", len(answers))
"""

FILES = {
    "score.py": SCORE,
    "run.py": "import os, src.work\nsrc.work.main(os.environ['OUT'])\n",
    "src/work.py": "def main(out):\n    open(out + '/answers.txt', 'w').write('a b')\n",
    "data/dev.txt": "a b\n",
    ".gitignore": "vendor\n",
    "vendor/x.txt": "mounted",
    "data/hidden.txt": "a c\n",
    "program.md": "---\ntask: command\ngenome: [src/work.py]\nrun: python run.py\n"
    "score: python score.py\nheld: {dev: data/dev.txt, hidden: data/hidden.txt}\n"
    "metric: accuracy\ndirection: maximize\nevidence: verified\nmount: [vendor]\n---\n",
}


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A command whose answers are scored apart."""
    return Problem(tmp_path_factory.mktemp("score"), FILES)


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize(("split", "score"), [("dev", 1.0), ("hidden", 0.5)])
def test_the_scorer_reads_what_run_left_and_what_is_held(problem, kind, split, score):
    """The number is verified; files are known by their digests; `run` saw nothing that is held."""
    outcome = problem.measure(sandbox=kind, split=split)
    assert (outcome.failure, outcome.score, outcome.evidence) == (None, score, "verified")
    assert outcome.facts["answers"] == 2
    assert outcome.digests == {"answers.txt": hashlib.sha256(b"a b").hexdigest()}


LEAVES_A_SCORER = """\
def main(out):
    open(out + "/score.py", "w").write("print('accuracy: 9')")
    open(out + "/answers.txt", "w").write("a a")
"""

TRAPS = {
    "prints the metric": ("print('accuracy: 1e9')\n{honest}", None, 1.0),
    "reads what is held": (
        "def main(out):\n    open('/repo/data/dev.txt')",
        "crash",
        "exit status 1: FileNotFoundError: [Errno 2] No such file or directory: '/repo/data/dev.t",
    ),
    "leaves nothing": ("def main(out): pass", "invalid", "score: exit status 1: FileNotFoundError"),
    "leaves a link": (
        "import os\ndef main(out): os.symlink('/etc/passwd', out + '/answers.txt')",
        "invalid",
        "score: exit status 1: FileNotFoundError",
    ),
    "leaves a name that is no text": (
        r"def main(out): open(out.encode() + b'/\xff', 'w')",
        "invalid",
        r"it left a file whose name is not printable UTF-8: b'\xff'",
    ),
    "leaves a name with a line end": (
        r"def main(out): open(out + '/a\nb', 'w')",
        "invalid",
        r"it left a file whose name is not printable UTF-8: b'a\nb'",
    ),
    "leaves a scorer": (
        LEAVES_A_SCORER,
        None,
        0.5,
    ),
}


@pytest.mark.sandbox
@pytest.mark.parametrize("trap", TRAPS)
def test_what_run_prints_or_leaves_gains_nothing(problem, trap):
    """Only answers count; what is no regular file is not there for the scorer."""
    source, kind, expected = TRAPS[trap]
    genome = source.replace("{honest}", FILES["src/work.py"])
    outcome = problem.measure({"src/work.py": genome})
    if kind is None:
        assert (outcome.failure, outcome.score) == (None, expected)
    else:
        assert outcome.failure.kind == kind
        assert outcome.failure.reason.startswith(expected)
    assert decode_outcome(encode(outcome)) == outcome


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (b"KeyError: 'held'\n", "score: exit status 1"),
        (b"refused: a line\x1b[1m too many\n\n", "a line[1m too many"),
        (b"refused: early\nValueError: b c\n", "score: exit status 1"),
    ],
)
def test_of_a_failed_scorer_agents_are_told_what_it_says_to_them(problem, printed, told):
    """Its other output may quote what it alone sees."""
    reason, shown = failure_of(Exit(1, "", 1.0, 0.0, 9.0), printed, problem.trial())
    assert shown == told
    assert reason.startswith("score: exit status 1: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("data/dev.txt", "data/none.txt"), "held.dev: data/none.txt is not in the launch"),
        (("score: python score.py\n", ""), "program.md:5: held needs a judge, since the candidate"),
        (("evidence: verified", "evidence: maybe"), "program.md:9: evidence must be verified, whi"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, change, reason):
    """It names the key and the fix."""
    program = FILES["program.md"].replace(*change)
    with pytest.raises(SetupError) as raised:
        Problem(tmp_path, FILES | {"program.md": program})
    assert str(raised.value).startswith(reason)
    assert "\n" not in str(raised.value)


def test_verified_evidence_is_required_where_program_md_says_so(tmp_path):
    """A number that `run` prints is only reported, so the task is refused at launch."""
    program = FILES["program.md"].replace("score: python score.py\n", "")
    program = program.replace("held: {dev: data/dev.txt, hidden: data/hidden.txt}\n", "")
    with pytest.raises(SetupError, match=r"^program\.md: evidence .* add `score: python score.py`"):
        Problem(tmp_path, FILES | {"program.md": program})
