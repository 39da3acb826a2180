"""What agents write is read by expressions whose work is linear: no reply holds the coordinator.

Each of these inputs took minutes to years, at the square of its length or worse.
"""

import pytest

from swarm.agents.external.command_line import hypothesis
from swarm.agents.external.probe import _VERSION
from swarm.agents.llm.apply_edits import _GAP, _NUMBER, _unnumbered
from swarm.agents.llm.line_edits import _LABEL
from swarm.agents.llm.reasoning import _ANSWER

LONG = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "\n" * LONG,
        " \n" * (LONG // 2),
        "HYPOTHESIS: a" + " *" * LONG + "\n",
        "HYPOTHESIS" + "*" * LONG,
    ],
)
def test_a_log_of_a_million_signs_is_searched_for_its_hypothesis(text):
    """Where it has none, and where it has one; marks around it are left out."""
    assert hypothesis(text + "\n> **HYPOTHESIS:** it is *faster*  **\n") == "it is *faster"
    assert hypothesis(text) in ("", "a")


@pytest.mark.parametrize("gap", ["... existing code ...", "  # ...", "/* … the rest, as is */"])
def test_a_gap_is_told_from_a_line_of_a_million_spaces(gap):
    """Whatever stands around them."""
    assert _GAP.fullmatch(gap)
    for line in (" " * LONG + "x", "..." + " " * LONG + "!", "# ... " + "a " * LONG + "/"):
        assert not _GAP.fullmatch(line)


def test_numbers_of_lines_are_taken_off_their_beginnings_alone():
    """`4 | 8` is code; a blank line may be long."""
    assert _unnumbered("  12| flags = 4 | 8") == "flags = 4 | 8"
    assert _unnumbered(" " * LONG) == " " * LONG
    assert not _NUMBER.match(" " * LONG + "1" * LONG)


def test_other_long_lines_are_told_from_labels_answers_and_versions():
    """Those of spaces, colons and digits."""
    assert _LABEL.fullmatch(" src/a.py:12 | x = 1")["path"] == "src/a.py"
    assert not _LABEL.fullmatch(" " * LONG + ":" * LONG)
    assert _ANSWER.search(" " * LONG + "\n  ## HYPOTHESIS")
    assert not _ANSWER.search(" " * LONG + "x")
    assert _VERSION.search("1" * LONG + " v1.2.3-beta")[0] == "1.2.3-beta"
