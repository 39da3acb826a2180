"""The corpora of the gpt task: prepared once, then opened in milliseconds, pinned by a digest.

`prepare` fetches, checks, tokenises and caches; `open_corpus` maps what is cached. Only `prepare`
loads the tokenizer, DuckDB and the HTTP client, since a slice's server opens a corpus at start.
"""

from __future__ import annotations

from pathlib import Path

from harness.contract import SetupError
from harness.data.cache import Progress, corpus_root, disk_troubles, locked
from harness.data.corpus import Corpus, CorpusIdentity, open_at
from harness.data.spec import (
    CLIMBMIX,
    CLIMBMIX_LAST,
    CLIMBMIX_SHARDS,
    CLIMBMIX_URL,
    KJV,
    SPECS,
    CorpusSpec,
    climbmix_source,
)
from harness.data.writer import publish, recheck

__all__ = ["Corpus", "Progress", "names", "open_corpus", "prepare", "ready"]


def names() -> tuple[str, ...]:
    """Return the corpora there are."""
    return tuple(SPECS)


def open_corpus(name: str) -> Corpus:
    """Open a prepared corpus. Raises SetupError, naming the mend, where none is there or whole."""
    root = corpus_root(_spec(name).name)
    with disk_troubles(root):
        return open_at(root, SPECS[name])


def ready(name: str) -> Corpus:
    """Open corpus `name`, made on the spot where all of it came with the installation.

    What would have to be fetched is never fetched unasked: SetupError names the command.
    """
    return prepare(name) if _spec(name) is KJV else open_corpus(name)


def prepare(
    name: str,
    progress: Progress | None = None,
    *,
    shards: int | None = None,
    base_url: str | None = None,
) -> Corpus:
    """Make corpus `name` ready and open it; at once if it stands, from where it broke off if not.

    `shards` (how many to train on) and `base_url` (a mirror) are for climbmix. Without `shards`
    whatever number is prepared will do. Any number of processes may call this at once. Raises
    SetupError where the machine, the disk, the network or the server is in the way.
    """
    spec = _spec(name)
    if spec is not CLIMBMIX and (shards is not None or base_url is not None):
        raise SetupError(f"--shards and --base-url go with --data climbmix, not {name}")
    if shards is not None and not 1 <= shards <= CLIMBMIX_LAST:
        raise SetupError(f"--shards {shards}: choose 1 to {CLIMBMIX_LAST}")
    root, tell = corpus_root(name), progress or _silent
    with disk_troubles(root):
        # Without the lock first: a cache that may only be read is good enough to open.
        ready = _ready(root, spec, shards, tell, restamp=False)
        return ready or _prepare_alone(root, spec, shards, base_url, tell)


def _prepare_alone(
    root: Path, spec: CorpusSpec, shards: int | None, base_url: str | None, progress: Progress
) -> Corpus:
    with locked(root, progress):
        ready = _ready(root, spec, shards, progress, restamp=True)
        if ready is None:
            publish(root, root / ".draft", _build(root, spec, shards, base_url, progress))
            ready = open_at(root, spec)
        return ready


def _ready(
    root: Path, spec: CorpusSpec, shards: int | None, progress: Progress, *, restamp: bool
) -> Corpus | None:
    try:
        corpus = recheck(root, spec, progress, restamp=restamp)
    except SetupError:
        return None
    return corpus if shards is None or corpus.source == climbmix_source(shards) else None


def _build(
    root: Path, spec: CorpusSpec, shards: int | None, base_url: str | None, progress: Progress
) -> CorpusIdentity:
    # Imported here for the reason that the module's docstring gives.
    if spec is KJV:
        from harness.data import kjv  # noqa: PLC0415

        return kjv.build(root / ".draft", progress)
    from harness.data import climbmix  # noqa: PLC0415

    return climbmix.build(root, progress, shards or CLIMBMIX_SHARDS, base_url or CLIMBMIX_URL)


def _spec(name: str) -> CorpusSpec:
    if name not in SPECS:
        raise SetupError(f"no corpus {name!r}: choose one of {', '.join(SPECS)}")
    return SPECS[name]


def _silent(step: str, share: float) -> None:
    """Tell nobody."""
