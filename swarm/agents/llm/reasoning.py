"""Removes a model's reasoning from its reply: a draft inside it must never be applied. Pure.

Models that think in their reply put it between tags, at the reply's beginning. Some chat templates
write the opening tag into the prompt, so that only the closing one arrives. Servers that separate
the reasoning themselves now and then put the whole reply there and leave the answer empty.
"""

from __future__ import annotations

import re

_NAMES = "think|thinking|thought|reasoning|analysis"
_OPENING = re.compile(rf"^[ \t]*<({_NAMES})>", re.IGNORECASE | re.MULTILINE)
_CLOSING = re.compile(rf"</(?:{_NAMES})>[ \t]*$", re.IGNORECASE | re.MULTILINE)
_FINAL = re.compile(r"<\|channel\|>final(?:<\|[a-z]+\|>)*")
_ANSWER = re.compile(
    r"^[ \t]*+(?:<{4,}|[*_#` ]*+HYPOTHESIS\b|```|~~~|\{)", re.IGNORECASE | re.MULTILINE
)
_LAST_ANSWER = re.compile(r"^[*_# ]*HYPOTHESIS\b", re.IGNORECASE | re.MULTILINE)


def without_reasoning(text: str) -> str:
    """Return `text` without reasoning; empty where a tag that opens it is never closed."""
    final = list(_FINAL.finditer(text))
    if final:
        text = text[final[-1].end() :]
    while (opening := _OPENING.search(text)) and not _answered(text[: opening.start()]):
        closing = re.compile(f"</{opening[1]}>", re.IGNORECASE).search(text, opening.end())
        text = text[: opening.start()] + (text[closing.end() :] if closing else "")
    # a closing tag alone: everything before it is reasoning
    while (lone := _CLOSING.search(text)) and not _OPENING.search(text, 0, lone.start()):
        text = text[lone.end() :]
    return text.lstrip("\n")


def answer_in(reasoning: str) -> str:
    """Return the answer at the end of `reasoning`, for a reply that holds nothing else.

    It begins at the last hypothesis: what comes before is drafts.
    """
    text = without_reasoning(reasoning)
    last = list(_LAST_ANSWER.finditer(text))
    return text[last[-1].start() :] if last else ""


def _answered(text: str) -> bool:
    return _ANSWER.search(text) is not None
