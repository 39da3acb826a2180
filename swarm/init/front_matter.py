"""Writes the front matter of program.md, above prose that is there already.

Keys are written in a fixed order, each with a comment that says what it does. An existing front
matter keeps its keys, order and comments; given keys replace its own. Of the prose only sentences
of swarm's own change with the keys (`swarm.init.prose`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from swarm.init.prose import new_prose, updated_prose
from swarm.project.frontmatter import Value, read_front_matter

COMMENTS: Mapping[str, str] = {
    "task": "",
    "genome": "The only paths that a candidate may change.",
    "run": "Runs in a sandbox, in a plain export of the commit.",
    "evaluate": "Calls the candidate, which runs in a sandbox of its own.",
    "reference": "The base runs beside each candidate.",
    "metric": "",
    "direction": "",
    "score": "Computes the score from what `run` left in $OUT, without the candidate's code.",
    "held": "Seen by the scorer alone.",
    "build": "Runs before each commit's first trial, outside its time.",
    "prepare": "Runs once, at launch, never on a candidate's code.",
    "checks": "Must pass before a candidate is kept.",
    "files": "The only other files that a trial sees.",
    "python": "The interpreter of `run`.",
    "mount": "Folders that a trial may read.",
    "text": "The genome is read and not run.",
    "network": "",
    "env": "Variables that `run` sees.",
    "model": "`run` may ask it; swarm holds the key and meters each call.",
    "rungs": "Limits of one trial.",
    "agent": "",
}
"""Keys that `swarm init` writes, in order, each with the comment above it."""

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@%+-]*(?: [A-Za-z0-9_./@%+=-]+)*")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))

_FENCE = re.compile(r"---[ \t]*\n")
_MATTER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)(.*)", re.MULTILINE | re.DOTALL)


def has_front_matter(text: str) -> bool:
    """Return whether `text` begins with a front matter."""
    return _FENCE.match(_plain(text)) is not None


def composed(text: str, keys: Mapping[str, Value]) -> str:
    """Return program.md with `keys`, and the rest of the existing `text` ("" for a new file).

    Line endings stay what they are. Raises SetupError where the existing front matter cannot be
    read.
    """
    plain = _plain(text)
    if not plain.strip():
        return _fenced(_new(keys), "\n" + new_prose(keys))
    if not has_front_matter(text):
        return _as_in(text, _fenced(_new(keys), "\n" + plain.lstrip("\n")))
    before = read_front_matter(text, "program.md").values
    matter = _MATTER.match(plain)
    old = _yaml().load(matter[1] if matter else "") or CommentedMap()
    for key, value in keys.items():
        old[key] = _flow(value)
    prose = updated_prose(matter[2] if matter else "", before, {**before, **keys})
    return _as_in(text, _fenced(old, prose))


def _plain(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _as_in(text: str, plain: str) -> str:
    """Return `plain` with the line endings of `text`."""
    return plain.replace("\n", "\r\n") if "\r\n" in text else plain


def _new(keys: Mapping[str, Value]) -> CommentedMap:
    matter = CommentedMap()
    for key in sorted(keys, key=list(COMMENTS).index):
        matter[key] = _flow(keys[key])
        if COMMENTS[key]:
            matter.yaml_set_comment_before_after_key(key, before=COMMENTS[key])
    return matter


def _flow(value: Value) -> object:
    """Return `value` so that lists and mappings are written on one line."""
    if isinstance(value, list):
        sequence = CommentedSeq(_flow(item) for item in value)
        sequence.fa.set_flow_style()
        return sequence
    if isinstance(value, dict):
        mapping = CommentedMap((key, _flow(item)) for key, item in value.items())
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, str) and not _is_plain(value):
        return DoubleQuotedScalarString(value)
    return value


def _is_plain(text: str) -> bool:
    """Return whether `text` means itself without quotes, in a list too (ruamel writes `[?0]`)."""
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 10_000  # a wrapped command line is valid, and hard to read
    return yaml


def _fenced(matter: CommentedMap, below: str) -> str:
    buffer = io.StringIO()
    _yaml().dump(matter, buffer)
    return f"---\n{buffer.getvalue()}---\n{below}"
