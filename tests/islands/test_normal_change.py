"""The normal form of a change: what it ignores, what counts, which ancestors are near."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from islands.genome.normal_change import change_digest, normal_line

PYTHON = '''\
import math

A = 1
B = 2


def f(x, y):
    """Say what."""
    total = x + y
    for i in range(3):
        total += i
    return total * B


C = 3


def g(n):
    return n


D = 4
'''

C = "int f(int a) {\n  return a+1; // x\n}\nint g;\n"


def digest(old, new, text=PYTHON, path="m.py"):
    """Return the digest of replacing `old` by `new` in a file."""
    assert old in text
    return change_digest({path: text.encode()}, {path: text.replace(old, new, 1).encode()})


DOUBLED = digest("total += i", "t = i * 2\n        total += t")


@pytest.mark.parametrize(
    "text",
    [
        PYTHON.replace("total += i", "tmp = i*2  # twice\n        total += (tmp)"),
        PYTHON.replace("total += i", "\n        t = (i\n             * 2)\n        total += t"),
        PYTHON.replace("total += i", "t = i * 2\n        total += t").replace("total", "acc"),
        PYTHON.replace("total += i", "t = i * 2; total += t").replace("Say what", "Say more"),
    ],
)
def test_layout_comments_and_local_names_do_not_matter(text):
    """They are one change, whoever wrote it down."""
    assert change_digest({"m.py": PYTHON.encode()}, {"m.py": text.encode()}) == DOUBLED != ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("total += i", "t = i * 3\n        total += t"),
        ("total += i", "t = i * 2\n        total -= t"),
        ("total = x + y", "t = i * 2\n    total = x + y"),
        ("total = x + y", "total = y + x"),
        ("return n", "return n + 1"),
    ],
)
def test_values_places_and_roles_of_names_matter(old, new):
    """Each is another change than the rest."""
    assert digest(old, new) not in {"", DOUBLED}


@pytest.mark.parametrize("new", ["A = 1  # one", "\nA = (1)", "A = 0x1", "pass\nA = 1"])
def test_a_change_without_effect_has_no_digest(new):
    """Nor has one of names only."""
    assert digest("A = 1", new) == ""
    assert (
        change_digest({"m.py": PYTHON.encode()}, {"m.py": PYTHON.replace("total", "s").encode()})
        == ""
    )


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [("D = 4", "D = 5", True), ("x + y", "x - y", True), ("range(3)", "range(4)", False)],
)
def test_ancestors_are_near_where_what_stands_beside_the_hunk_is_equal(old, new, near):
    """A kept change elsewhere leaves the digest as it is; one beside it does not."""
    there = digest("total += i", "t = i * 2\n        total += t", PYTHON.replace(old, new))

    assert (there == DOUBLED) == near


def test_other_languages_are_compared_by_token():
    """Comments and line breaks do not matter, values do."""
    one = digest("a+1", "a + 2", C, "a.c")
    assert one == digest("a+1; // x", "a\n    + 2; // y", C, "a.c") != ""
    assert one != digest("a+1", "a + 3", C, "a.c")
    assert digest("// x", "// y", C, "a.c") == ""
    assert digest("  k: 1", "    k: 1", "a:\n  k: 1\n", "a.yaml") != ""


def test_new_and_deleted_files_are_changes():
    """Of the path that they have."""
    assert change_digest({}, {"a.py": b"A = 1\n"}) != change_digest({}, {"b.py": b"A = 1\n"})
    gone = change_digest({"a.py": b"A = 1\n"}, {"a.py": None})
    assert gone not in {"", change_digest({}, {"a.py": b"A = 1\n"})}


def test_a_line_is_its_tokens_with_numbers_masked():
    """So that another value of the same knob is alike."""
    assert normal_line("  lr = 3e-4   # tuned", "a.py") == normal_line("lr=0.02", "a.py")


TEXTS = st.text(st.sampled_from("ab1 \n\t=()[]:#'\"\\{}/*,+é\x0c\r"), max_size=60)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(["m.py", "a.c", "a.yaml", "a.md", "a.json"]))
def test_any_text_has_a_digest(before, after, path):
    """Equal texts have none; hostile ones raise nothing."""
    assert change_digest({path: before.encode()}, {path: before.encode()}) == ""
    one, two = ({path: text.encode("utf-8", "surrogatepass")} for text in (before, after))
    assert change_digest(one, two) == change_digest(one, two)
