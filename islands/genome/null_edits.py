"""Null proposals: a small share of a run's proposals does nothing, and nobody is told which.

What the ratchet makes of them is the run's own measured rate of false keeps. Which experiment is
one follows from the run's seed and its number. It is a comment before a statement of one of the
genome's Python files, so that the commit is a new one and what runs is the same: the syntax trees
are compared. An island treats it as any other proposal until the verdict; a keep moves no head.

Not covered: a genome without a Python file of statements gets none, since nothing is certain to do
nothing there; a genome that reads its own source, or counts its lines, is changed all the same.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping

from islands.genome.syntax_diff import NotPythonError, compare, parse
from islands.records import Entry, Proposal
from islands.rng import seed_of

_SEEDS = 1 << 31
"""How many seeds there are."""


def is_null(run: int, experiment: int, share: float) -> bool:
    """Say whether `experiment` of the run with seed `run` is a null, as `share` of all are."""
    return seed_of(run, "null", experiment) < share * _SEEDS


def propose(run: int, experiment: int, genome: Mapping[str, Entry]) -> Proposal | None:
    """Return a proposal that does nothing to `genome`, None where there is no place for one."""
    places = [*_places(genome)]
    if not places:
        return None
    path, line = places[seed_of(run, "null", experiment, "place") % len(places)]
    before = genome[path]
    after = _commented(before.data, line, f"# as in experiment {experiment}")
    if compare(path, before.data, after) != "same":
        return None
    return Proposal(f"Comment {path}", {path: Entry(after, before.mode)})


def _places(genome: Mapping[str, Entry]) -> Iterator[tuple[str, int]]:
    """Yield the Python files and their lines, from 1, at which a top-level statement begins."""
    for path, entry in sorted(genome.items()):
        if not path.endswith(".py") or entry.data.startswith(codecs.BOM_UTF8):
            continue
        try:
            body = parse(entry.data).body
        except NotPythonError:
            continue
        for node in body:
            decorators = getattr(node, "decorator_list", [])
            yield path, min([node.lineno, *(each.lineno for each in decorators)])


def _commented(data: bytes, line: int, comment: str) -> bytes:
    lines = data.splitlines(keepends=True)
    end = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    return b"".join((*lines[: line - 1], comment.encode(), end, *lines[line - 1 :]))
