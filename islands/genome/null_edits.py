"""Null edits: A/A tests, proposals without effect whose keeps measure the rate of false keeps.

A small share of a run's proposals are null proposals. A null proposal adds a comment: before a
top-level statement of a Python file of the genome, or after the last line of a file of another
language that has comments. The commit is a new one and the syntax tree, or the tokens, are the
same. Which experiments are null follows from the run's seed and the experiment's number. An
island treats a null proposal like any other until the verdict, and no agent is told which ones they
are; a keep of one moves no head.

Not covered: a genome of JSON or plain text gets no null proposals, since any edit there may have an
effect. What follows a mark of its end in a file (`__END__`) counts as code. A genome that reads its
own source or counts its lines may still behave differently.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping

from islands.genome.languages import language_of
from islands.genome.structured_data import NotParsedError
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
    comment = _comment(path, f"as in experiment {experiment}")
    after = _commented(before.data, line, comment)
    try:
        if compare(path, before.data, after) != "same":
            return None
    except NotParsedError:
        return None
    return Proposal(f"Comment {path}", {path: Entry(after, before.mode)})


def _places(genome: Mapping[str, Entry]) -> Iterator[tuple[str, int]]:
    """Yield each file with each line, from 1, before which a comment has no effect."""
    for path, entry in sorted(genome.items()):
        if path.endswith(".py"):
            yield from ((path, line) for line in _statement_lines(entry.data))
        elif _comment(path, "") and _ends_a_line(entry.data):
            yield path, len(entry.data.splitlines()) + 1


def _statement_lines(data: bytes) -> Iterator[int]:
    try:
        body = parse(data).body
    except NotPythonError:
        return
    for node in body:
        decorators = getattr(node, "decorator_list", [])
        yield min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _ends_a_line(data: bytes) -> bool:
    """Return whether a new line may follow: the last one is complete and does not go on."""
    return data.endswith(b"\n") and not data.rstrip().endswith(b"\\")


def _comment(path: str, text: str) -> str:
    """Return `text` as a comment, "" where the file's language has none."""
    language = language_of(path)
    if language.kind == "plain":
        return ""
    if language.line:
        return f"{language.line[0]} {text}"
    return next((f"{start} {text} {end}" for start, end in language.block), "")


def _commented(data: bytes, line: int, comment: str) -> bytes:
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    lines = data.removeprefix(mark).splitlines(keepends=True)
    end = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    return mark + b"".join((*lines[: line - 1], comment.encode(), end, *lines[line - 1 :]))
