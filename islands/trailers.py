"""Git trailers of the swarm's commits: `Swarm-<Key>: <value>` lines at the end of a message.

`git log --format='%(trailers)'` and `git interpret-trailers` read them, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Values = Mapping[str, str | int | Sequence[str]]
"""Trailers by key without its `Swarm-`; a sequence is a repeated key."""

_LINE = re.compile(r"^Swarm-([A-Za-z]+): (\S.*)$", re.MULTILINE)


def write(values: Values) -> str:
    """Return one line a value, in order; a sequence repeats its key."""
    lines = []
    for key, value in values.items():
        texts = [str(value)] if isinstance(value, str | int) else value
        lines += [f"Swarm-{key}: {text}\n" for text in texts]
    return "".join(lines)


def read(message: str) -> dict[str, str]:
    """Return the trailers of a commit message by key; of a repeated key the last value.

    All of `message` is read, not its last paragraph alone: a host that squashes may append to it.
    The last value counts since the text above the trailers may be an agent's.
    """
    return {key: value.rstrip() for key, value in _LINE.findall(message)}
