"""Builds the corpus climbmix: the shards that autoresearch trains on, downloaded, for GPUs.

Train shards are 0, 1, 2 …; the last shard of the dataset is held out whole, as in autoresearch.
Text is read in batches and tokens are appended shard by shard, so memory stays flat, and an
interrupted build resumes with the shard it was at.

Not covered: documents that are both in a train shard and in the held-out one (the dataset is
shuffled, and duplicates are not searched for); a malicious parquet file that exploits DuckDB, which
reads it in this process after its checksum, if the server states one, was verified.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from harness.contract import SetupError
from harness.data.bpe import Bpe
from harness.data.cache import Progress
from harness.data.corpus import CorpusIdentity, TokenSplit, token_file
from harness.data.download import download
from harness.data.spec import (
    CLIMBMIX,
    CLIMBMIX_HELD,
    CLIMBMIX_LAST,
    CLIMBMIX_TRAINER,
    HELD_OUT,
    climbmix_source,
)
from harness.data.writer import Section, SplitWriter, make_empty, write_vocabulary
from harness.durable_files import write_whole

_BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True)
class _Progress:
    """Progress of the train split of a draft.

    key: digest of what it is made of
    sections: those that are finished
    """

    key: str
    sections: tuple[Section, ...]


def build(root: Path, progress: Progress, shards: int, base_url: str) -> CorpusIdentity:
    """Build the corpus in `root`/.draft. Raises SetupError if network, server or disk fail."""
    if not re.match(r"https?://\w", base_url):
        raise SetupError(f"--base-url {base_url}: it must begin with https:// and a host")
    *train, held = sums = _download_all(root / "shards", progress, shards, base_url.rstrip("/"))
    bpe = _train_tokenizer(list(train), progress)
    draft = root / ".draft"
    done = _resume(draft, _key(sums, bpe))
    splits: dict[str, TokenSplit] = {}
    splits["train"] = _encode_train(draft, bpe, list(train), done, progress)
    splits |= _encode_held(draft, bpe, held, progress)
    (draft / _DONE_FILE).unlink()
    return CorpusIdentity(
        name=CLIMBMIX.name,
        rule=CLIMBMIX.rule,
        source=climbmix_source(shards),
        vocab=CLIMBMIX.vocab,
        context=CLIMBMIX.context,
        vocabulary=write_vocabulary(draft, [*bpe.tokens, b""]),
        splits=splits,
    )


def _download_all(folder: Path, progress: Progress, shards: int, base_url: str) -> dict[Path, str]:
    """Return the files of all shards, the held-out one last, each with its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = {}
    for at, number in enumerate([*range(shards), CLIMBMIX_LAST], start=1):
        path, step = folder / f"shard_{number:05d}.parquet", f"download shard {at} of {shards + 1}"
        progress(step, 0.0)
        sums[path] = download(f"{base_url}/{path.name}", path, partial(progress, step))
    return sums


def _train_tokenizer(paths: Sequence[Path], progress: Progress) -> Bpe:
    bpe = Bpe(_first_characters(paths, progress), CLIMBMIX.vocab - 1)
    if len(bpe.tokens) < CLIMBMIX.vocab - 1:
        raise SetupError(
            f"the shards hold too little text for {CLIMBMIX.vocab} tokens: use more with --shards"
        )
    return bpe


def _first_characters(paths: Sequence[Path], progress: Progress) -> Iterator[str]:
    seen = 0
    for path in paths:
        for _, texts in _batches(path):
            progress("train the tokenizer", seen / CLIMBMIX_TRAINER)
            for text in texts:
                if seen >= CLIMBMIX_TRAINER:
                    return
                yield text
                seen += len(text)


def _batches(path: Path) -> Iterator[tuple[float, list[str]]]:
    """Yield the documents of a shard in order, with the share of its rows that came before."""
    query = "SELECT text FROM read_parquet(?) WHERE text IS NOT NULL"
    try:
        with duckdb.connect() as db:
            # DuckDB reads the name as a pattern.
            name = glob.escape(str(path))
            (rows,) = db.execute(
                "SELECT num_rows FROM parquet_file_metadata(?)", [name]
            ).fetchall()[0]
            seen, result = 0, db.execute(query, [name])
            while batch := result.fetchmany(_BATCH_ROWS):
                yield seen / rows, [text for (text,) in batch]
                seen += len(batch)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise SetupError(f"cannot read {path} ({reason}): delete it and run again") from error


def _encode(bpe: Bpe, documents: Sequence[str]) -> Iterator[NDArray[np.uint16]]:
    """Yield the tokens of each document, separator first."""
    separator = np.array([len(bpe.tokens)], dtype=np.uint16)
    for encoded in bpe.encode(documents):
        yield np.concatenate([separator, encoded])


def _encode_train(
    draft: Path, bpe: Bpe, paths: Sequence[Path], done: _Progress, progress: Progress
) -> TokenSplit:
    with SplitWriter(draft / token_file("train"), [*bpe.tokens, b""], done.sections) as writer:
        for at, path in enumerate(paths[len(done.sections) :], start=len(done.sections) + 1):
            for share, documents in _batches(path):
                progress(f"encode shard {at} of {len(paths) + 1}", share)
                writer.write_all(documents, _encode(bpe, documents))
            writer.end_section()
            now = _Progress(done.key, tuple(writer.sections))
            write_whole(draft / _DONE_FILE, _DONE.dump_json(now))
        return writer.finish()


def _encode_held(draft: Path, bpe: Bpe, path: Path, progress: Progress) -> dict[str, TokenSplit]:
    tokens = [*bpe.tokens, b""]
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(SplitWriter(draft / token_file(name), tokens))
            for name in HELD_OUT
        }
        turns = cycle(writers.items())
        for share, documents in _batches(path):
            progress("encode the held-out shard", share)
            for document, encoded, (name, writer) in zip(
                documents, _encode(bpe, documents), turns, strict=False
            ):
                if writer.tokens < CLIMBMIX_HELD[name]:
                    writer.write(document, encoded)
            if all(writer.tokens >= CLIMBMIX_HELD[name] for name, writer in writers.items()):
                break
        for writer in writers.values():
            writer.end_section()
        return {name: writer.finish() for name, writer in writers.items()}


def _key(sums: Mapping[Path, str], bpe: Bpe) -> str:
    ingredients = [CLIMBMIX.rule, *sums.values(), *(token.hex() for token in bpe.tokens)]
    return hashlib.sha256("\n".join(ingredients).encode()).hexdigest()


def _resume(draft: Path, key: str) -> _Progress:
    """Return how much of `draft` can be kept; empty it if nothing can."""
    try:
        done = _DONE.validate_json((draft / _DONE_FILE).read_bytes())
        size = (draft / token_file("train")).stat().st_size
    except (FileNotFoundError, ValidationError):
        done, size = _Progress("", ()), 0
    if done.key == key and size >= 2 * sum(section.tokens for section in done.sections):
        return done
    make_empty(draft)
    return _Progress(key, ())


_DONE_FILE = "done.json"
_DONE = TypeAdapter(_Progress)
