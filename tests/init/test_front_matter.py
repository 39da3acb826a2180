"""program.md as `swarm init` writes it: every value reads back, and every word of prose stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import SetupError
from swarm.init.front_matter import COMMENTS, composed, has_front_matter
from swarm.project.frontmatter import read_front_matter

KEYS = {"task": "command", "run": "python bench.py", "genome": ["src/f.py"], "metric": "ops/s"}

PROSE = "# autoresearch\n\nThis is an experiment.\n\n---\n\nLOOP FOREVER: 1. tune `train.py`\n"


def values(text):
    """Return the front matter of a program.md as plain data."""
    return read_front_matter(text, "program.md").values


def test_a_new_file_says_what_its_keys_do_and_what_agents_should_know():
    """Keys stand in one order, whatever order they come in."""
    text = composed("", {**KEYS, "direction": "maximize"})
    assert list(values(text)) == ["task", "genome", "run", "metric", "direction"]
    assert "# The only paths that a candidate may change.\ngenome: [src/f.py]\n" in text
    assert "Raise `ops/s`, as `python bench.py` prints it." in text


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_prose_that_is_there_stays_below_the_new_front_matter(end, mark):
    """With the file's own line endings, horizontal rules and all."""
    text = composed(mark + PROSE.replace("\n", end), KEYS)
    assert values(text) == KEYS
    assert text.endswith(f"---{end}{end}" + PROSE.replace("\n", end))
    assert text.count("\n") == text.count(end)


def test_given_keys_replace_their_own_and_nothing_else():
    """The comments, the order and the prose of an existing front matter stay."""
    old = f"---\n# mine\ntask: command\nlimits: {{usd: 20}}  # a night\nmetric: ms\n---\n{PROSE}"
    text = composed(old, {"metric": "ops/s", "genome": ["a.py"]})
    assert text == (
        "---\n# mine\ntask: command\nlimits: {usd: 20}  # a night\nmetric: ops/s\n"
        f"genome: [a.py]\n---\n{PROSE}"
    )


def test_a_front_matter_that_cannot_be_read_is_refused():
    """With its line."""
    with pytest.raises(SetupError, match=r"program\.md:2"):
        composed("---\n\ttask: x\n---\n", KEYS)
    with pytest.raises(SetupError, match="no end"):
        composed("---\ntask: x\n", KEYS)


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30)


@given(
    st.dictionaries(st.sampled_from(sorted(COMMENTS)), TEXT | st.lists(TEXT, min_size=1)),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=60),
)
def test_whatever_is_written_reads_back(keys, prose):
    """Quotes, colons, `#`, `no` and numbers as text come back as the text that they were."""
    if has_front_matter(prose):
        return
    text = composed(prose, keys)
    assert values(text) == keys
    if prose.strip():
        kept = prose.removeprefix("\ufeff").replace("\r\n", "\n").lstrip("\n")
        assert text.replace("\r\n", "\n").endswith(kept)
