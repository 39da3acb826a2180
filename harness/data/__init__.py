"""Corpora of the gpt task: prepared once, then opened in milliseconds, pinned by a digest.

`prepare` downloads, checks, tokenises and caches; `open_corpus` maps what is cached. Only `prepare`
loads the tokenizer, DuckDB and the HTTP client, since each harness process opens a corpus when it
starts. Imported by harness.tasks and by `swarm prepare`.
"""

from __future__ import annotations

from harness.contract import SetupError
from harness.data.cache import Progress, corpus_root, disk_errors
from harness.data.corpus import Corpus, open_at
from harness.data.sources import CORPORA, CorpusSource, Option, Options, given_options

__all__ = [
    "CORPORA", "Corpus", "CorpusSource", "Option", "Progress", "names", "open_corpus",
    "open_or_build", "prepare",
]  # fmt: skip


def names() -> tuple[str, ...]:
    """Return the names of all corpora."""
    return tuple(CORPORA)


def open_corpus(name: str) -> Corpus:
    """Open a prepared corpus. Raises SetupError, naming the fix, if it is missing or damaged."""
    source = _source(name)
    root = corpus_root(name)
    with disk_errors(root):
        return open_at(root, source.spec)


def open_or_build(name: str) -> Corpus:
    """Open corpus `name`; build it first if its text comes with the installation.

    Never downloads: raises SetupError, naming the command, if that is needed.
    """
    return prepare(name) if _source(name).bundled else open_corpus(name)


def prepare(name: str, options: Options | None = None, progress: Progress | None = None) -> Corpus:
    """Build corpus `name` unless it is prepared as `options` ask, and open it.

    `options` are values for `CORPORA[name].options`, by name; None counts as not given.
    Any number of processes may call this at once; an interrupted build resumes. Raises SetupError
    if there is no such corpus or option, or if the disk, the network or the server fails.
    """
    source = _source(name)
    given = given_options(source, options or {})
    return source.prepare(corpus_root(name), given, progress or _no_progress)


def _source(name: str) -> CorpusSource:
    if name not in CORPORA:
        raise SetupError(f"no corpus {name!r}: choose one of {', '.join(CORPORA)}")
    return CORPORA[name]


def _no_progress(step: str, share: float) -> None:
    """Ignore progress."""
