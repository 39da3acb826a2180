"""Parsing of a language model's reply, and application of its SEARCH/REPLACE blocks."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from swarm.agents.llm.apply_edits import apply_changes
from swarm.agents.llm.search_replace import (
    MAX_CHANGES,
    Deletion,
    EditBlock,
    EditError,
    MalformedError,
    UnappliedError,
    parse_reply,
)

TRAIN = "import math\n\nlr = 0.1\ndepth = 2\n\ndef step(x):\n    return x * lr\n"


def block(search, replace, head="FILE: train.py\n"):
    """Return one block as a model writes it."""
    return f"{head}<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


LOWER = block("lr = 0.1\n", "lr = 0.2\n", head="")


def edit(answer, **files):
    """Return the files changed by `answer`, parsed and applied to the genome."""
    return apply_changes({"train.py": TRAIN, **files}, parse_reply(f"HYPOTHESIS: why\n\n{answer}"))


def test_a_reply_holds_its_hypothesis_and_its_changes_in_order():
    """The hypothesis runs to the blank line and becomes one line; changes keep their order."""
    text = f"HYPOTHESIS: lower it,\n  since it\n\n{block('a', 'b')}\nDELETE: `old.py`\n"
    text = text.replace("a=", "a\n=").replace("b>", "b\n>")
    answer = parse_reply(text)
    assert answer.hypothesis == "lower it, since it"
    assert answer.changes == (EditBlock("train.py", ("a",), ("b",)), Deletion("old.py"))


def test_several_blocks_in_several_files_are_applied_in_order():
    """Each block edits the result of the previous one; a file is added and one deleted."""
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
def test_unambiguous_deviations_are_tolerated(answer):
    """Fences, decorated or bare or missing path lines, trailing blanks, longer markers, CRLF."""
    assert edit(answer) == {"train.py": TRAIN.replace("0.1", "0.2")}


def test_the_end_of_a_path_is_enough_if_one_file_has_it():
    """`train.py` means islands/seeds/gpt/train.py when no other file ends so."""
    deep = {"islands/seeds/gpt/train.py": TRAIN}
    answer = parse_reply("HYPOTHESIS: y\n" + block("depth = 2\n", "depth = 3\n"))
    assert list(apply_changes(deep, answer)) == ["islands/seeds/gpt/train.py"]


def test_a_missing_hypothesis_is_read_from_the_prose():
    """Without a HYPOTHESIS line the prose before a block counts; without prose, malformed."""
    edits = block("lr = 0.1\n", "lr = 0.2\n")
    assert parse_reply(f"I halve the rate.\n{edits}").hypothesis == "I halve the rate."
    with pytest.raises(MalformedError, match="no HYPOTHESIS"):
        parse_reply(edits)


def test_markers_of_another_length_let_a_block_hold_marker_lines():
    """A file with a line of seven `=` can be edited with longer markers."""
    answer = "FILE: doc.rst\n<<<<<<<< SEARCH\n=======\n========\n-------\n>>>>>>>> REPLACE\n"
    assert edit(answer, **{"doc.rst": "Title\n=======\n"}) == {"doc.rst": "Title\n-------\n"}


def test_line_ends_of_the_file_are_kept():
    """Replaced lines keep the file's CRLF, and a file without a last newline gets none."""
    crlf = {"w.py": "a = 1\r\nb = 2\r\n"}
    answer = block("a = 1\n", "a = 3\n", head="FILE: w.py\n")
    assert edit(answer, **crlf) == {"w.py": "a = 3\r\nb = 2\r\n"}
    assert edit(answer, **{"w.py": "b = 2\na = 1"}) == {"w.py": "b = 2\na = 3"}


def test_a_block_that_does_not_match_is_named_with_the_nearest_lines_and_their_numbers():
    """The message shows equal lines for wrong indentation, the closest line for a typo."""
    with pytest.raises(UnappliedError) as wrong:
        edit(block("def step(x):\n  return x * lr\n", "pass\n") + block("dpeth = 2\n", "x\n"))
    first, second = str(wrong.value).split("\n\n")
    assert "Block 1 (train.py): SEARCH is not in the file" in first
    assert "    6 | def step(x):\n    7 |     return x * lr" in first
    assert "Block 2 (train.py)" in second
    assert "    4 | depth = 2" in second


def test_a_block_that_matches_twice_says_where():
    """An ambiguous SEARCH is refused with the line numbers of its matches."""
    with pytest.raises(UnappliedError, match="2 times, at lines 1, 3: quote more"):
        edit(block("x = 1\n", "x = 2\n", head="FILE: two.py\n"), **{"two.py": "x = 1\ny\nx = 1\n"})


@pytest.mark.parametrize(
    ("answer", "message"),
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
def test_edits_that_do_not_apply_are_refused_with_the_fix(answer, message):
    """Each cause has its own message."""
    with pytest.raises(UnappliedError, match=message):
        edit(answer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "no SEARCH/REPLACE block"),
        ("HYPOTHESIS: only talk", "no SEARCH/REPLACE block"),
        ("HYPOTHESIS: x\n<<<<<<< SEARCH\na\n", "block 1 has no line `=======`"),
        ("HYPOTHESIS: x\n<<<<<<< SEARCH\na\n=======\nb\n", "no line `>>>>>>> REPLACE`"),
        ("HYPOTHESIS: x\n<<<<<<< SEARCH\na\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE", "`=======`"),
        ("HYPOTHESIS: x\n" + "DELETE: a.py\n" * (MAX_CHANGES + 1), "more than 100 blocks"),
    ],
)
def test_answers_outside_the_format_are_malformed(answer, message):
    """Each defect of form has its own message."""
    with pytest.raises(MalformedError, match=message):
        parse_reply(answer)


def test_of_a_hundred_failing_blocks_four_are_reported():
    """The message is bounded, so neither the prompt nor the search for near lines grows."""
    with pytest.raises(UnappliedError) as wrong:
        edit("".join(block(f"nothing {n}\n", "x\n") for n in range(100)))
    assert str(wrong.value).count("Block ") == 4
    assert len(str(wrong.value)) < 4_000


MARKS = ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "HYPOTHESIS: a", "FILE: train.py", "```"]
LINES = st.one_of(st.sampled_from([*MARKS, *TRAIN.split("\n"), "DELETE: train.py"]), st.text())


@given(st.lists(LINES, max_size=25))
def test_any_text_is_parsed_and_applied_or_refused(lines):
    """Any reply gives files of encodable text, or an EditError of bounded length."""
    try:
        answer = parse_reply("\n".join(lines))
        files = apply_changes({"train.py": TRAIN, "empty.py": "", "bare.py": "x"}, answer)
    except EditError as error:
        message = str(error)
    else:
        message = ""
        assert files
        "".join([answer.hypothesis, *files, *(text or "" for text in files.values())]).encode()
    assert len(message) < 10_000


FILE_LINES = st.lists(st.sampled_from(["a", "b", "    c", "", "d = 1"]), max_size=12)


@st.composite
def unique_replacements(draw):
    """Draw a file's lines, the range of a non-blank SEARCH that occurs once, and its REPLACE."""
    before = draw(FILE_LINES)
    ranges = [
        (start, end)
        for start in range(len(before))
        for end in range(start + 1, min(start + 6, len(before)) + 1)
        if any(line.strip() for line in before[start:end])
        and sum(
            before[n : n + end - start] == before[start:end]
            for n in range(len(before) - (end - start) + 1)
        )
        == 1
    ]
    assume(ranges)
    start, end = draw(st.sampled_from(ranges))
    after = draw(FILE_LINES)
    assume(after != before[start:end])
    return before, start, end, after


@given(unique_replacements())
def test_a_unique_search_replaces_exactly_its_lines(replacement):
    """Applying a block equals splicing the lines, if its SEARCH is in the file once."""
    before, start, end, after = replacement
    spliced = before[:start] + after + before[end:]
    text, expected, search, replace = (
        "".join(f"{line}\n" for line in lines)
        for lines in (before, spliced, before[start:end], after)
    )
    reply = parse_reply(f"HYPOTHESIS: h\n{block(search, replace)}")
    assert apply_changes({"train.py": text}, reply) == {"train.py": expected}


def test_a_byte_order_mark_is_invisible_and_stays():
    """The first line matches without it and with it."""
    for mark in ("", "\ufeff"):
        block = f"<<<<<<< SEARCH\n{mark}x = 1\n=======\nx = 2\n>>>>>>> REPLACE\n"
        reply = parse_reply(f"HYPOTHESIS: h\nFILE: a.py\n{block}")
        changed = apply_changes({"a.py": "\ufeffx = 1\ny = 1\n"}, reply)
        assert changed == {"a.py": "\ufeffx = 2\ny = 1\n"}
