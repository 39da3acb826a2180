"""A prepared corpus: its identity, its layout on disk, and opening it without reading all of it.

Below a corpus's root the file `current` names a version, a folder called by its digest:

    <digest>/manifest.json      the identity, whose hash is the digest, and the files' times
    <digest>/vocabulary.txt     one line a token: its raw bytes in base64
    <digest>/train/train.u16    flat little-endian uint16 tokens; all that a sandbox is given
    <digest>/held/<split>.u16   dev, hidden, sealed, fresh; readable by their owner alone

Not covered: of a token file above 4 MiB only size and time of change are checked when it is opened,
and `prepare` alone hashes it; old versions stay on disk until their folders are deleted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from harness.contract import SetupError
from harness.data.cache import sha256_of
from harness.data.spec import SPLITS, CorpusSpec

_MAX_HASHED_BYTES = 4 * 2**20
"""Largest file that is hashed on opening, which must take less than 50 ms: hashing the 6 MiB of
climbmix's held-out splits of then took 34 ms on two cores that ten processes shared."""


@dataclass(frozen=True, slots=True)
class TokenSplit:
    """The tokens of one split.

    tokens: how many
    bytes: of the raw text
    text: sha256 of the documents' raw text
    sha256: of the token file
    """

    tokens: int
    bytes: int
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CorpusIdentity:
    """Everything that a score on this corpus depends on.

    name, rule: of its specification
    source: what the text was made from
    vocab: number of tokens in the vocabulary
    context: length of a window in tokens
    vocabulary: sha256 of vocabulary.txt
    splits: by name
    """

    name: str
    rule: str
    source: str
    vocab: int
    context: int
    vocabulary: str
    splits: Annotated[Mapping[str, TokenSplit], Field(alias="parts")]

    @property
    def digest(self) -> str:
        """The sha256 of this record as canonical JSON, in hex.

        `splits` is written as "parts", the name that published digests were made with.
        """
        record = asdict(self)
        record["parts"] = record.pop("splits")
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """An identity, and each file's time of change (ns) when its content was last verified."""

    identity: CorpusIdentity
    changed: Mapping[str, int]


MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Tokens of a text in five splits, of which only train ever reaches a genome.

    Bits per byte are counted with `token_bytes`. A corpus of many documents has a separator token
    of no bytes before each (`token_bytes` 0): mask it as a target, or the score pays for
    predicting where documents end. The fields are those of CorpusIdentity and its folder.
    """

    name: str
    digest: str
    vocab: int
    context: int
    folder: Path
    source: str
    splits: Mapping[str, TokenSplit]

    @property
    def train_file(self) -> Path:
        """The train split: flat little-endian uint16 tokens, in a folder of its own."""
        return self.folder / token_file("train")

    @property
    def token_bytes(self) -> NDArray[np.int32]:
        """Raw bytes of each token: int32[vocab]."""
        return np.array([len(token) for token in vocabulary(self.folder)], dtype=np.int32)

    def tokens(self, name: str) -> NDArray[np.uint16]:
        """Return a split's tokens by its name: uint16[tokens], mapped, read-only."""
        return np.memmap(self.folder / token_file(name), dtype="<u2", mode="r")


def token_file(split: str) -> str:
    """Return the path of the tokens of `split`, relative to a version's folder."""
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}: choose one of {', '.join(SPLITS)}")
    return f"{'train' if split == 'train' else 'held'}/{split}.u16"


def vocabulary(folder: Path) -> list[bytes]:
    """Return the raw bytes of each token of the version in `folder`."""
    lines = (folder / "vocabulary.txt").read_text("ascii").split("\n")[:-1]
    return [base64.b64decode(line, validate=True) for line in lines]


def open_at(root: Path, spec: CorpusSpec) -> Corpus:
    """Open the current version below `root`. Raises SetupError if it is missing or damaged."""
    folder, manifest = current_version(root, spec)
    for path, size, sha256 in pinned_files(folder, manifest.identity):
        if not _untouched(path, size, sha256, manifest.changed.get(path.name, -1)):
            raise damaged(spec, path)
    identity = manifest.identity
    return Corpus(
        name=spec.name,
        digest=folder.name,
        vocab=identity.vocab,
        context=identity.context,
        folder=folder,
        source=identity.source,
        splits=identity.splits,
    )


def current_version(root: Path, spec: CorpusSpec) -> tuple[Path, Manifest]:
    """Return the folder and manifest of the current version; its files are not checked.

    Raises SetupError if there is none, or if the manifest is damaged or of another rule.
    """
    try:
        digest = (root / "current").read_bytes().strip()
    except FileNotFoundError:
        raise SetupError(
            f"corpus {spec.name} is not prepared: run `swarm prepare --data {spec.name}`"
        ) from None
    if not re.fullmatch(rb"[0-9a-f]{64}", digest):
        raise damaged(spec, root / "current")
    folder = root / digest.decode()
    path = folder / "manifest.json"
    try:
        manifest = MANIFEST.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        raise damaged(spec, path) from None
    if manifest.identity.digest != folder.name or set(manifest.identity.splits) != set(SPLITS):
        raise damaged(spec, path)
    if manifest.identity.rule != spec.rule:
        raise SetupError(
            f"corpus {spec.name} was prepared by another version of swarm, with another rule: "
            f"run `swarm prepare --data {spec.name}`"
        )
    return folder, manifest


def pinned_files(folder: Path, identity: CorpusIdentity) -> Iterator[tuple[Path, int | None, str]]:
    """Yield each file of a version with its size (None: not recorded) and its sha256."""
    yield folder / "vocabulary.txt", None, identity.vocabulary
    for name in SPLITS:
        split = identity.splits[name]
        yield folder / token_file(name), split.tokens * 2, split.sha256


def damaged(spec: CorpusSpec, path: Path) -> SetupError:
    """Return the error for a cached file that does not match the digest."""
    return SetupError(
        f"corpus {spec.name} is damaged ({path} is missing or changed): "
        f"run `swarm prepare --data {spec.name}` to rebuild it"
    )


def _untouched(path: Path, size: int | None, sha256: str, changed: int) -> bool:
    try:
        info = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if size is not None and info.st_size != size:
        return False
    if info.st_size > _MAX_HASHED_BYTES:
        return info.st_mtime_ns == changed
    return _cached_sha256(path, info.st_size, info.st_mtime_ns, info.st_ino) == sha256


@lru_cache(maxsize=64)
def _cached_sha256(path: Path, size: int, changed: int, inode: int) -> str:  # noqa: ARG001
    """Return the sha256 of a file; cached as long as its size, time and inode stay the same."""
    return sha256_of(path)
