"""Null edits: A/A tests, proposals without effect whose keeps measure the rate of false keeps.

A small share of a run's proposals are null proposals. A null proposal adds a comment before a
top-level statement of a Python file of the genome: the commit is a new one and the syntax tree is
the same. Which experiments are null follows from the run's seed and the experiment's number. An
island treats a null proposal like any other until the verdict, and no agent is told which ones they
are; a keep of one moves no head.

Not covered: a genome without a Python file that holds a statement gets no null proposals, since
only there an edit is certain to have no effect. A genome that reads its own source or counts its
lines may still behave differently.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping

from islands.genome.syntax_diff import NotPythonError, compare, parse
from islands.records import Entry, Proposal
from islands.rng import seed_of

_SEED_COUNT = 1 << 31
"""Number of values of `seed_of`."""


def is_null(run_seed: int, experiment: int, rate: float) -> bool:
    """Return whether `experiment` is a null proposal, as a share `rate` of all are."""
    return seed_of(run_seed, "null", experiment) < rate * _SEED_COUNT


def null_proposal(run_seed: int, experiment: int, genome: Mapping[str, Entry]) -> Proposal | None:
    """Return a proposal without effect on `genome`, None where no such edit is possible."""
    places = [*_places(genome)]
    if not places:
        return None
    path, line = places[seed_of(run_seed, "null", experiment, "place") % len(places)]
    before = genome[path]
    # the wording must not tell an agent that the edit is null
    after = _commented(before.data, line, f"# as in experiment {experiment}")
    if compare(path, before.data, after) != "same":
        return None
    return Proposal(f"Comment {path}", {path: Entry(after, before.mode)})


def _places(genome: Mapping[str, Entry]) -> Iterator[tuple[str, int]]:
    """Yield each Python file with each line, from 1, on which a top-level statement begins."""
    for path, entry in sorted(genome.items()):
        if not path.endswith(".py") or entry.data.startswith(codecs.BOM_UTF8):
            continue
        try:
            body = parse(entry.data).body
        except NotPythonError:
            continue
        for node in body:
            decorators = getattr(node, "decorator_list", [])
            yield path, min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _commented(data: bytes, line: int, comment: str) -> bytes:
    lines = data.splitlines(keepends=True)
    end = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    return b"".join((*lines[: line - 1], comment.encode(), end, *lines[line - 1 :]))
