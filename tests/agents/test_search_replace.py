"""What a language model may answer, and what becomes of its edits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.agents.llm.search_replace import (
    MAX_CHANGES,
    Deletion,
    EditBlock,
    EditError,
    MalformedError,
    UnappliedError,
    apply_changes,
    parse_reply,
)

TRAIN = "import math\n\nlr = 0.1\ndepth = 2\n\ndef step(x):\n    return x * lr\n"


def block(search, replace, head="FILE: train.py\n"):
    """Write one block as a model would."""
    return f"{head}<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


LOWER = block("lr = 0.1\n", "lr = 0.2\n", head="")


def edit(answer, **files):
    """Parse and apply `answer` to the genome."""
    return apply_changes({"train.py": TRAIN, **files}, parse_reply(f"HYPOTHESIS: why\n\n{answer}"))


def test_an_answer_holds_its_hypothesis_and_its_changes_in_order():
    """The hypothesis runs to the blank line and becomes one line; changes keep their order."""
    text = f"HYPOTHESIS: lower it,\n  since it\n\n{block('a', 'b')}\nDELETE: `old.py`\n"
    text = text.replace("a=", "a\n=").replace("b>", "b\n>")
    answer = parse_reply(text)
    assert answer.hypothesis == "lower it, since it"
    assert answer.changes == (EditBlock("train.py", ("a",), ("b",)), Deletion("old.py"))


def test_several_blocks_in_several_files_are_applied_in_order():
    """Each block works on what the one before it left; a new file and a deletion among them."""
    answer = (
        block("lr = 0.1\n", "lr = 0.2\n")
        + block("lr = 0.2\n", "lr = 0.3\n", head="")
        + block("", "x = 1\n", head="FILE: pkg/new.py\n")
        + "DELETE: old.py\n"
    )
    assert edit(answer, **{"old.py": "gone\n"}) == {
        "train.py": TRAIN.replace("0.1", "0.3"),
        "old.py": None,
        "pkg/new.py": "x = 1\n",
    }


@pytest.mark.parametrize(
    "answer",
    [
        f"FILE: train.py\n```python\n{LOWER}```\n",
        f"```python\ntrain.py\n{LOWER}```\n",
        f"**`train.py`**:\n\n{LOWER}",
        f"Here it is:\n{LOWER}",
        f"### File: ./train.py\n{LOWER.replace('0.1', '0.1  ')}",
        "FILE: train.py\n<<<<<<<<< SEARCH\nlr = 0.1\n=========\nlr = 0.2\n>>>>>>>>> REPLACE",
        block("lr = 0.1\r\n", "lr = 0.2\r\n"),
    ],
)
def test_what_models_do_and_is_unambiguous_is_tolerated(answer):
    """Fences, decorated or bare or missing path lines, trailing blanks, longer markers, CRLF."""
    assert edit(answer) == {"train.py": TRAIN.replace("0.1", "0.2")}


def test_the_end_of_a_path_is_enough_where_one_file_has_it():
    """`train.py` means islands/seeds/gpt/train.py when no other file ends so."""
    deep = {"islands/seeds/gpt/train.py": TRAIN}
    answer = parse_reply("HYPOTHESIS: y\n" + block("depth = 2\n", "depth = 3\n"))
    assert list(apply_changes(deep, answer)) == ["islands/seeds/gpt/train.py"]


def test_a_missing_hypothesis_is_read_from_the_prose():
    """Prose before a block is the hypothesis where no line says so; silence is malformed."""
    edits = block("lr = 0.1\n", "lr = 0.2\n")
    assert parse_reply(f"I halve the rate.\n{edits}").hypothesis == "I halve the rate."
    with pytest.raises(MalformedError, match="no HYPOTHESIS"):
        parse_reply(edits)


def test_markers_of_another_length_let_a_block_hold_marker_lines():
    """A file with a line of seven `=` can be edited with longer markers."""
    answer = "FILE: doc.rst\n<<<<<<<< SEARCH\n=======\n========\n-------\n>>>>>>>> REPLACE\n"
    assert edit(answer, **{"doc.rst": "Title\n=======\n"}) == {"doc.rst": "Title\n-------\n"}


def test_line_ends_of_the_file_are_kept():
    """A file with CRLF keeps it in replaced lines, one without a last newline stays without."""
    crlf = {"w.py": "a = 1\r\nb = 2\r\n"}
    answer = block("a = 1\n", "a = 3\n", head="FILE: w.py\n")
    assert edit(answer, **crlf) == {"w.py": "a = 3\r\nb = 2\r\n"}
    assert edit(answer, **{"w.py": "b = 2\na = 1"}) == {"w.py": "b = 2\na = 3"}


def test_a_block_that_does_not_match_is_named_with_the_nearest_lines_and_their_numbers():
    """Wrong indentation is found by its equal lines, a wrong letter by the closest line."""
    with pytest.raises(UnappliedError) as wrong:
        edit(block("def step(x):\n  return x * lr\n", "pass\n") + block("dpeth = 2\n", "x\n"))
    first, second = str(wrong.value).split("\n\n")
    assert "Block 1 (train.py): SEARCH is not in the file" in first
    assert "    6 | def step(x):\n    7 |     return x * lr" in first
    assert "Block 2 (train.py)" in second
    assert "    4 | depth = 2" in second


def test_a_block_that_matches_twice_says_where():
    """An ambiguous SEARCH is refused with the line numbers of all its places."""
    with pytest.raises(UnappliedError, match="2 times, at lines 1, 3: quote more"):
        edit(block("x = 1\n", "x = 2\n", head="FILE: two.py\n"), **{"two.py": "x = 1\ny\nx = 1\n"})


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (block("lr = 0.1\n", "lr = 0.1\n"), "change nothing"),
        (block("", "x\n"), "the file exists"),
        (block("x\n", "y\n", head="FILE: nowhere.py\n"), "no such file; the files are: train.py"),
        (block("", "y\n", head="FILE: ../up.py\n"), "path below the repository"),
        (block("", "y\n", head="FILE: /etc/passwd\n"), "path below the repository"),
        (block("", "y\n", head="FILE: a\\b\n"), "path below the repository"),
        ("DELETE: nowhere.py\n", "no such file"),
        ("DELETE:\n", "no such file"),
    ],
)
def test_edits_that_do_not_fit_are_refused_with_what_to_mend(answer, complaint):
    """Each misfit has its own sentence."""
    with pytest.raises(UnappliedError, match=complaint):
        edit(answer)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("", "no SEARCH/REPLACE block"),
        ("HYPOTHESIS: only talk", "no SEARCH/REPLACE block"),
        ("HYPOTHESIS: x\n<<<<<<< SEARCH\na\n", "block 1 has no line `=======`"),
        ("HYPOTHESIS: x\n<<<<<<< SEARCH\na\n=======\nb\n", "no line `>>>>>>> REPLACE`"),
        ("HYPOTHESIS: x\n<<<<<<< SEARCH\na\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE", "`=======`"),
        ("x" * 1_000_001, "longer than"),
        ("HYPOTHESIS: x\n" + "DELETE: a.py\n" * (MAX_CHANGES + 1), "more than 100 blocks"),
    ],
)
def test_answers_outside_the_format_are_malformed(answer, complaint):
    """Each defect of form has its own sentence."""
    with pytest.raises(MalformedError, match=complaint):
        parse_reply(answer)


def test_a_failing_answer_applies_nothing_and_a_hundred_failing_blocks_are_reported_in_four():
    """The complaint is bounded, so that neither the prompt nor the search for near lines grows."""
    with pytest.raises(UnappliedError) as wrong:
        edit("".join(block(f"nothing {n}\n", "x\n") for n in range(100)))
    assert str(wrong.value).count("Block ") == 4
    assert len(str(wrong.value)) < 4_000


MARKS = ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "HYPOTHESIS: a", "FILE: train.py", "```"]
LINES = st.one_of(st.sampled_from([*MARKS, *TRAIN.split("\n"), "DELETE: train.py"]), st.text())


@given(st.lists(LINES, max_size=25))
def test_any_text_is_parsed_and_applied_or_refused(lines):
    """Whatever a model says, an answer of encodable text or an EditError comes of it."""
    try:
        answer = parse_reply("\n".join(lines))
        files = apply_changes({"train.py": TRAIN, "empty.py": "", "bare.py": "x"}, answer)
    except EditError as error:
        refused = str(error)
    else:
        refused = ""
        assert files
        "".join([answer.hypothesis, *files, *(text or "" for text in files.values())]).encode()
    assert len(refused) < 10_000


WORDS = st.lists(st.sampled_from(["a", "b", "    c", "", "d = 1"]), max_size=12)


@given(before=WORDS, after=WORDS, at=st.integers(0, 12), length=st.integers(1, 6))
def test_a_unique_search_replaces_exactly_its_lines(before, after, at, length):
    """Applying a block equals splicing the lines, whenever its SEARCH stands there only once."""
    search = before[at : at + length]
    places = [n for n in range(len(before)) if before[n : n + len(search)] == search]
    if not any(line.strip() for line in search) or len(places) != 1:
        return
    text = "".join(f"{line}\n" for line in before)
    spliced = before[:at] + after + before[at + len(search) :]
    expected = "".join(f"{line}\n" for line in spliced)
    answer = block("".join(f"{x}\n" for x in search), "".join(f"{x}\n" for x in after))
    if expected == text:
        return
    changed = apply_changes({"train.py": text}, parse_reply(f"HYPOTHESIS: h\n{answer}"))
    assert changed == {"train.py": expected}
