"""What judges candidates, frozen at launch: evaluate.py, held files, the genome's entry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import SetupError
from swarm.project.judge import entry_of, parameters


@pytest.mark.parametrize(
    ("source", "takes"),
    [
        ("def evaluate(candidate): ...", ("candidate",)),
        ("def evaluate(candidate, seed, part): ...", ("candidate", "seed", "part")),
        ("def evaluate(seed, *, candidate, reference): ...", ("seed", "candidate", "reference")),
        ("def evaluate(candidate, depth=2, other=1, *, more=0): ...", ("candidate", "depth")),
        ("x = 1\ndef evaluate(): ...\ndef evaluate(candidate): ...", ("candidate",)),
    ],
)
def test_evaluate_is_given_what_it_names(source, takes):
    """Read from the source, since no code of the user's runs outside a sandbox."""
    assert parameters(source.encode(), "evaluate.py") == takes


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "evaluate.py:1: no function `evaluate` at its top level: add `def evaluate("),
        ("from judge import evaluate", "evaluate.py:1: no function `evaluate`"),
        ("async def evaluate(candidate): ...", "evaluate.py:1: no function `evaluate`"),
        (
            "\ndef evaluate(x): ...",
            "evaluate.py:2: `evaluate` must take candidate, and may take se",
        ),
        ("def evaluate(candidate, /): ...", "evaluate.py:1: `evaluate` must take candidate"),
        ("def evaluate(candidate, *, b): ...", "evaluate.py:1: `evaluate` must take candidate"),
        ("def evaluate(:", "evaluate.py:1: it does not parse (invalid syntax): fix it"),
        ("\0", "evaluate.py:1: it does not parse (source code string cannot contain null bytes)"),
    ],
)
def test_a_mistake_in_evaluate_is_one_line(source, reason):
    """With its line and the signature to write."""
    with pytest.raises(SetupError) as raised:
        parameters(source.encode(), "evaluate.py")
    assert str(raised.value).startswith(reason)
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=60) | st.text("def evaluate(cndi,*/=:) \n", max_size=60).map(str.encode))
def test_any_evaluate_is_read_or_refused(source):
    """Never a traceback."""
    try:
        assert "candidate" in parameters(source, "evaluate.py")
    except SetupError:
        return


def test_the_entry_is_the_first_python_file_of_the_genome():
    """A file that is named first, or a package's `__init__.py`, or the only file of a folder."""
    assert entry_of(["src/fast.py", "lib"], ["src/fast.py", "lib/a.py"]) == "src/fast.py"
    assert entry_of(["pkg"], ["pkg/b.py", "pkg/__init__.py"]) == "pkg/__init__.py"
    assert entry_of(["src"], ["src/only.py", "src/data.txt"]) == "src/only.py"
    with pytest.raises(SetupError, match=r"genome: the first path names .* src holds 2"):
        entry_of(["src"], ["src/a.py", "src/b.py"])
