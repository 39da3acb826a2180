"""Forms in which models answer, through the server: understood, or refused as a whole."""

import dataclasses
import json

import pytest

from islands.records import Proposal
from swarm.agents.llm.agent import LanguageModel
from tests.support.language_models import BRIEF, make_model_agent, propose
from tests.support.loopback import Garbage, Say

PATH = "genome/train.py"
FILE = '"""A tiny program."""\n\nLR = 0.1\nSTEPS = 100\n\n\ndef main():\n    print(LR * STEPS)\n'
WHOLE = FILE.replace("LR = 0.1", "LR = 0.2")
HERE = dataclasses.replace(BRIEF, genome={PATH: FILE})
WHY = "HYPOTHESIS: a higher rate trains further"
BLOCK = "<<<<<<< SEARCH\nLR = 0.1\n=======\nLR = 0.2\n>>>>>>> REPLACE"
GOOD = f"{WHY}\n\nFILE: {PATH}\n{BLOCK}\n"
DRAFT = f"HYPOTHESIS: a draft\n\n{BLOCK.replace('0.2', '9.9')}\n"
DIFF = f"""\
--- a/{PATH}
+++ b/{PATH}
@@ -1,5 +1,5 @@
 \"\"\"A tiny program.\"\"\"
{" "}
-LR = 0.1
+LR = 0.2
 STEPS = 100
"""
PATCH = f"*** Begin Patch\n*** Update File: {PATH}\n@@\n-LR = 0.1\n+LR = 0.2\n*** End Patch"
EDIT = {"path": PATH, "first": 3, "last": 3, "replacement": "LR = 0.2"}
JSON = json.dumps({"hypothesis": WHY[12:], "edits": [EDIT]})


def in_json(line, replacement="LR = 0.2"):
    """Return an answer that names a line of a list."""
    edits = [{"line": line, "replacement": replacement}]
    return json.dumps({"hypothesis": WHY[12:], "edits": edits})


def block(search, replace):
    """Return an answer with one block."""
    return f"{WHY}\n\nFILE: {PATH}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


UNDERSTOOD = {
    "as asked": GOOD,
    "reasoning before": f"<think>\n{DRAFT}</think>\n\n{GOOD}",
    "reasoning without its opening tag": f"so\n{DRAFT}</think>\n{GOOD}",
    "half a block in the reasoning": f"<thinking>\n<<<<<<< SEARCH\n...\n</thinking>\n{GOOD}",
    "channels": f"<|channel|>analysis<|message|>{DRAFT}<|channel|>final<|message|>{GOOD}",
    "one fence": f"```\n{GOOD}```",
    "indented": "\n".join(f"   {line}" for line in GOOD.split("\n")),
    "a/ prefix": GOOD.replace("FILE: ", "FILE: a/"),
    "absolute path": GOOD.replace("FILE: ", "FILE: /home/me/"),
    "path (modified)": GOOD.replace(PATH, f"{PATH} (modified)"),
    "CRLF": GOOD.replace("\n", "\r\n"),
    "other markers": GOOD.replace("SEARCH", "ORIGINAL").replace("REPLACE", "UPDATED"),
    "unequal markers": GOOD.replace("=======", "========"),
    "heading": GOOD.replace("HYPOTHESIS: ", "# HYPOTHESIS\n\n"),
    "typographic quotes": block(
        "“““A tiny program.”””\n\nLR = 0.1", '"""A tiny program."""\n\nLR = 0.2'
    ),
    "line numbers": block("3 | LR = 0.1", "3 | LR = 0.2"),
    "blank lines around": block("\nLR = 0.1\n\n", "\nLR = 0.2\n\n"),
    "indented too far": block("    LR = 0.1", "    LR = 0.2"),
    "diff in a fence": f"{WHY}\n\n```diff\n{DIFF}```",
    "bare diff": f"{WHY}\n\n{DIFF}",
    "apply_patch": f"{WHY}\n\n{PATCH}",
    "whole file": f"{WHY}\n\nFILE: {PATH}\n```python\n{WHOLE}```",
    "whole file, path in the fence": f"{WHY}\n\n```python:{PATH}\n{WHOLE}```",
    "JSON": JSON,
    "JSON of a line as listed": in_json("3| LR = 0.1"),
    "JSON of a line with its path": in_json(f"{PATH}:3| LR = 0.1"),
    "JSON of a line by its text": in_json("LR = 0.1"),
    "JSON of a line by its number": in_json(3),
    "JSON of a line by its number as text": in_json(" 3 "),
    "JSON of a line with a wrong number": in_json("4| LR = 0.1"),
    "JSON with the number in the new text": in_json("3| LR = 0.1", "3| LR = 0.2"),
    "JSON indented anew": in_json("3| LR = 0.1", "    LR = 0.2\n"),
    "JSON in a fence": f"```json\n{JSON}\n```",
}

REFUSED = {
    "empty": ("", "malformed", "it is empty"),
    "reasoning that never ends": (f"<think>\n{GOOD}", "malformed", "nothing but reasoning"),
    "prose": ("I would raise the rate.", "malformed", "no SEARCH/REPLACE block"),
    "a part for the whole": (
        f"{WHY}\n\nFILE: {PATH}\n```\nLR = 0.2\n```",
        "unapplied",
        "has 8 lines and the answer shows 1",
    ),
    "code left out": (
        f"{WHY}\n\nFILE: {PATH}\n```\nLR = 0.2\n# ... rest of the code ...\n```",
        "unapplied",
        "stands for code left out",
    ),
    "one block of two": (
        f"{GOOD}\n{BLOCK.replace('LR = 0.1', 'RATE = 0.1')}",
        "unapplied",
        "Block 2 (genome/train.py): SEARCH is not in the file. The nearest lines",
    ),
    "a block cut off": (GOOD.replace(">>>>>>> REPLACE", ""), "malformed", "no line `>>>>>>>"),
    "a diff that does not fit": (
        f"{WHY}\n\n{DIFF.replace('-LR = 0.1', '-RATE = 0.1')}",
        "unapplied",
        "The nearest lines of genome/train.py",
    ),
    "blocks and a diff": (f"{GOOD}\n{DIFF}", "malformed", "mixes blocks and a diff"),
    "JSON of lines that are not there": (
        JSON.replace("3", "33"),
        "unapplied",
        "lines 33 to 33 do not exist (the file has 8)",
    ),
    "JSON of no such line": (in_json("RATE = 1"), "unapplied", "has no line `RATE = 1`"),
    "JSON of another line's text": (in_json("3| X = 1"), "unapplied", "line 3 is `LR = 0.1`"),
    "JSON of a digit that is no number": (
        in_json("\N{SUPERSCRIPT TWO}"),
        "unapplied",
        "has no line `²`",
    ),
    "JSON of more digits than a number may have": (
        in_json("9" * 4301),
        "unapplied",
        "no line `999",
    ),
    "JSON up to a digit that is no number": (
        JSON.replace('"last": 3', '"last": "\N{SUPERSCRIPT TWO}"'),
        "unapplied",
        "has no line `²`",
    ),
    "JSON that changes nothing": (
        in_json("3| LR = 0.1", "LR = 0.1"),
        "unapplied",
        "what shall replace line 3 is the line as it is, `LR = 0.1`",
    ),
    "no code changed": (block("LR = 0.1", "LR = 0.1  # low"), "unapplied", "no code that runs"),
    "JSON cut off": (JSON[:-9], "malformed", "does not parse"),
}


@pytest.mark.parametrize("form", UNDERSTOOD)
def test_each_form_is_understood(server, api, form):
    """One call, and exactly the change that was meant; drafts in the reasoning are no change."""
    server.play([Say(UNDERSTOOD[form])])
    proposal = propose(make_model_agent(server, api), HERE)
    assert isinstance(proposal, Proposal), proposal
    assert {path: entry.data.decode() for path, entry in proposal.files.items()} == {PATH: WHOLE}
    assert "a higher rate trains further" in proposal.hypothesis
    assert len(server.log) == 1


def test_halves_of_characters_in_json_are_replaced(server, api):
    """In the code and in the hypothesis: what is proposed can be committed and recorded."""
    edits = [{"line": "3| LR = 0.1", "replacement": "LR = len('\ud800')"}]
    server.play([Say(json.dumps({"edits": edits, "hypothesis": "wider \ud83d"}))])
    proposal = propose(make_model_agent(server, api), HERE)
    assert isinstance(proposal, Proposal), proposal
    assert proposal.hypothesis == "wider \N{REPLACEMENT CHARACTER}"
    said = "LR = len('\N{REPLACEMENT CHARACTER}')"
    assert proposal.files[PATH].data == FILE.replace("LR = 0.1", said).encode()


@pytest.mark.parametrize("form", REFUSED)
def test_each_other_form_is_refused_as_a_whole(server, api, form):
    """The model is told what is wrong and shown the form with this genome's path; then it ends."""
    text, kind, complaint = REFUSED[form]
    server.play([Say(text)] * 4)
    error = propose(make_model_agent(server, api), HERE)
    assert (error.error_kind, len(server.log)) == (kind, 2)
    repair = server.log[1].request.turns[-1][1]
    assert complaint in repair
    assert f"FILE: {PATH}\n<<<<<<< SEARCH\n" in repair


def message(content, usage, **more):
    """Return a chat completion with these parts."""
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": content, **more}}
    return Garbage(json.dumps({"choices": [choice], "usage": usage}).encode())


def anthropic(content, usage):
    """Return a message of Anthropic's format with these parts."""
    return Garbage(json.dumps({"content": content, "usage": usage}).encode())


USAGE = {"prompt_tokens": 10, "completion_tokens": 5}
SHAPES = {
    "content as a list": ("chat", message([{"type": "text", "text": GOOD}], USAGE)),
    "answer in reasoning_content": ("chat", message("", USAGE, reasoning_content=DRAFT + GOOD)),
    "draft in reasoning_content": ("chat", message(GOOD, USAGE, reasoning_content=DRAFT)),
    "reasoning as an object": ("chat", message(GOOD, USAGE, reasoning={"effort": 3})),
    "null usage": ("chat", message(GOOD, None)),
    "usage that does not read": ("chat", message(GOOD, {"prompt_tokens": "many"})),
    "negative usage": ("chat", message(GOOD, {"prompt_tokens": -5, "completion_tokens": 1})),
    "messages: null usage": ("anthropic", anthropic([{"type": "text", "text": GOOD}], None)),
    "messages: usage that does not read": (
        "anthropic",
        anthropic([{"type": "text", "text": GOOD}], {"input_tokens": 1.5, "output_tokens": 1}),
    ),
    "messages: a draft in the thinking": (
        "anthropic",
        anthropic([{"type": "thinking", "thinking": DRAFT}, {"type": "text", "text": GOOD}], None),
    ),
    "responses: null usage": (
        "responses",
        Garbage(
            json.dumps(
                {
                    "output": [
                        {"type": "reasoning", "content": None},
                        {"type": "message", "content": [{"type": "output_text", "text": GOOD}]},
                    ],
                    "usage": None,
                }
            ).encode()
        ),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_good_answer_is_never_thrown_away_for_what_is_around_it(server, shape):
    """Whatever the envelope, the answer counts; without a count of tokens, at its largest cost."""
    api, step = SHAPES[shape]
    server.play([step])
    proposal = propose(make_model_agent(server, api), HERE)
    assert isinstance(proposal, Proposal), proposal
    assert proposal.files[PATH].data.decode() == WHOLE
    assert proposal.usage.tokens_out == 5 or proposal.usage.tokens_untold > 1_000


def test_a_model_that_costs_nothing_is_asked_for_lines_where_blocks_fail(server, api):
    """After one repair in vain it picks lines from a list, from then on at once."""

    def answer(request):
        asked = str(request.body)
        return Say(JSON if "3| LR = 0.1" in asked else f"prose {request.number}")

    server.play(answer)
    agent = make_model_agent(server, api, price=None)
    for calls in (3, 4):
        proposal = propose(agent, HERE)
        assert isinstance(proposal, Proposal), proposal
        assert proposal.files[PATH].data.decode() == WHOLE
        assert len(server.log) == calls
        agent = LanguageModel("m", dataclasses.replace(agent.client, provider=renewed(server, api)))
    schema = json.dumps(server.log[2].request.body)
    assert '"enum": ["3| LR = 0.1", "4| STEPS = 100", "7| def main():", "8| print(LR' in schema


def renewed(server, api):
    """Return a provider with open connections."""
    return make_model_agent(server, api, price=None).client.provider
