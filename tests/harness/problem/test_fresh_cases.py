"""`held: {dev: ..., fresh: ...}`: fresh cases of a user's own, scored before a change is kept."""

from __future__ import annotations

import pytest

from harness import tasks
from harness.contract import SetupError
from islands.ratchet.fresh import compare
from tests.harness.problem.test_command import Problem

SCORE = """\
import os, pathlib
rule = pathlib.Path(os.environ["OUT"], "rule.txt").read_text().split()
cases = sorted(pathlib.Path(os.environ["SWARM_HELD"]).iterdir())
assert pathlib.Path(os.environ["SWARM_HELD"]).name == "dev"
words = [word for case in cases for word in case.read_text().split()]
print("accuracy:", sum(word[0] in rule or word in rule for word in words) / len(words))
"""

EVALUATE = """\
import os, pathlib
def evaluate(candidate):
    cases = sorted(pathlib.Path(os.environ["SWARM_HELD"]).iterdir())
    words = [word for case in cases for word in case.read_text().split()]
    return sum(candidate.known(word) for word in words) / len(words)
"""

LETTERS = "abcdefgh"


def cases(folder, first, count):
    """Eight words a case, each beginning with another letter."""
    return {
        f"{folder}/{n:02}.txt": " ".join(f"{letter}{n}" for letter in LETTERS)
        for n in range(first, first + count)
    }


HELD = {**cases("data/dev", 0, 16), **cases("data/fresh", 50, 20)}
COMMAND = {
    "score.py": SCORE,
    "run.py": "import os, src.work\nsrc.work.main(os.environ['OUT'])\n",
    "src/work.py": "def main(out):\n    open(out + '/rule.txt', 'w').write('a b')\n",
    "program.md": "---\ntask: command\ngenome: [src/work.py]\nrun: python run.py\n"
    "score: python score.py\nheld: {dev: data/dev, fresh: data/fresh}\n"
    "metric: accuracy\ndirection: maximize\n---\n",
    **HELD,
}
FUNCTION = {
    "evaluate.py": EVALUATE,
    "src/work.py": "def known(word):\n    return word[0] in 'ab'\n",
    "program.md": "---\ntask: function\ngenome: [src/work.py]\n"
    "held: {dev: data/dev, fresh: data/fresh}\nmetric: accuracy\ndirection: maximize\n---\n",
    **HELD,
}
DEV_WORDS = " ".join(f"{letter}{n}" for letter in LETTERS for n in range(16))
GENOMES = {
    "command": {
        "better": "def main(out):\n    open(out + '/rule.txt', 'w').write('a b c d e')\n",
        "remembers": f"def main(out):\n    open(out + '/rule.txt', 'w').write('a b {DEV_WORDS}')\n",
    },
    "function": {
        "better": "def known(word):\n    return word[0] in 'abcde'\n",
        "remembers": f"KNOWN = {DEV_WORDS.split()!r}\n"
        "def known(word):\n    return word[0] in 'ab' or word in KNOWN\n",
    },
}


@pytest.fixture(
    scope="module", params=["command", pytest.param("function", marks=pytest.mark.soak)]
)
def problem(request, tmp_path_factory):
    """A problem with 16 cases for dev and two pieces of fresh ones."""
    files = COMMAND if request.param == "command" else FUNCTION
    return Problem(tmp_path_factory.mktemp(request.param), files)


@pytest.mark.sandbox
def test_a_gain_that_is_remembered_does_not_hold(problem):
    """A better rule gains as much on fresh cases as on dev's; words by heart gain there alone."""
    kind = problem.program.settings.task
    assert tasks.load(kind, problem.frozen).fresh_pieces("none") == 2
    head = problem.measure(task=kind, fresh=2)
    assert head.failure is None
    assert head.parts == {"dev": (0.25,) * 8, "fresh": (0.25,) * 8}
    changes = [("better", 0.625, 0.625)] * (kind == "command") + [("remembers", 1.0, 0.25)]
    for name, dev, fresh in changes:
        own = problem.measure({"src/work.py": GENOMES[kind][name]}, task=kind, fresh=2)
        assert (own.failure, own.score) == (None, dev)
        assert own.parts == {"dev": (dev,) * 8, "fresh": (fresh,) * 8}
        assert compare(head.parts, own.parts, "maximize").holds == (name == "better")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("dev: data/dev,", ""), "held.fresh: it and held.dev must be folders"),
        (("fresh: data/fresh", "fresh: data/fresh/50.txt"), "held.fresh: it and held.dev must be"),
    ],
)
def test_a_mistake_about_cases_is_one_line(tmp_path, change, reason):
    """It names the key and the fix."""
    program = COMMAND["program.md"].replace(*change)
    with pytest.raises(SetupError) as raised:
        Problem(tmp_path, COMMAND | {"program.md": program})
    assert str(raised.value).startswith(reason)


def test_too_few_cases_are_refused(tmp_path):
    """Seven cannot score a single change."""
    few = {name: text for name, text in COMMAND.items() if not name.startswith("data/fresh")}
    with pytest.raises(SetupError, match=r"held\.fresh: data/fresh has 7 entries"):
        Problem(tmp_path, few | cases("data/fresh", 50, 7))
