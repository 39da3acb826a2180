"""JSON that agents write may hold halves of characters: none reaches a record or a commit."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from islands import events as ev
from swarm.agents.agent_json import read_json
from swarm.agents.external.command_line import json_lines
from swarm.agents.llm.tools import arguments_of

TEXTS = st.text(st.characters(exclude_categories=()))
"""With halves of surrogate pairs."""

VALUES = st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))


@given(VALUES)
def test_every_text_of_an_answer_can_be_encoded(value):
    """Whatever an agent escapes, keys included."""
    json.dumps(read_json(json.dumps(value)), ensure_ascii=False).encode()


def test_a_half_is_replaced_and_a_pair_is_not():
    """An emoji that was cut after its first half, and a whole one."""
    said = r'{"hypothesis": "faster \ud83d", "words": "\ud83d\ude00"}'
    (event,) = json_lines(said)
    assert event == arguments_of(said) == {"hypothesis": "faster \ufffd", "words": "\U0001f600"}
    ev.encode(ev.ProposalReceived(1, "a", "codex", "p", event["hypothesis"]))


def test_what_is_nested_too_deep_is_no_answer():
    """It is passed over like what is no JSON."""
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    with pytest.raises(ValueError, match="nested too deep"):
        read_json(deep)
    assert arguments_of(deep) == {} and list(json_lines(deep)) == []
