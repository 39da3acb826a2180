"""Writes a new version of a corpus and moves it into place."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from harness.contract import HarnessError
from harness.data.cache import Progress, sha256_of
from harness.data.corpus import (
    MANIFEST,
    Corpus,
    CorpusIdentity,
    Manifest,
    TokenSplit,
    current_version,
    damaged,
    open_at,
    pinned_files,
)
from harness.data.spec import CorpusSpec
from harness.durable_files import sync_folder, write_whole


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a split that is safely on disk: the unit of resuming.

    tokens, bytes: how many
    text: sha256 of the documents' raw text
    """

    tokens: int
    bytes: int
    text: str


class SplitWriter:
    """Writer of a split's token file, section by section, after the sections already `done`.

    `tokens` are the vocabulary's raw bytes; every document is checked to be encoded without loss.
    """

    def __init__(self, path: Path, tokens: Sequence[bytes], done: Sequence[Section] = ()) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.sections = list(done)
        self._path = path
        self._lengths = np.array([len(token) for token in tokens], dtype=np.int64)
        self._file = path.open("r+b" if done else "wb")
        self._file.truncate(2 * sum(section.tokens for section in done))
        self._file.seek(0, os.SEEK_END)
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _begin(self) -> None:
        self.tokens = self.bytes = 0
        self._text = hashlib.sha256()

    def write(self, document: str, encoded: NDArray[np.uint16]) -> None:
        """Append one document. Raises HarnessError if its tokens do not add up to its bytes."""
        raw = document.encode()
        if int(self._lengths[encoded].sum()) != len(raw):
            raise HarnessError(f"the tokenizer lost text of a document that begins {raw[:60]!r}")
        self._text.update(len(raw).to_bytes(8, "little") + raw)
        self._file.write(encoded.astype("<u2", copy=False).tobytes())
        self.tokens += len(encoded)
        self.bytes += len(raw)

    def write_all(self, documents: Iterable[str], encoded: Iterable[NDArray[np.uint16]]) -> None:
        """Append documents, in order."""
        for document, tokens in zip(documents, encoded, strict=True):
            self.write(document, tokens)

    def end_section(self) -> None:
        """Flush to disk what was written since the last call, as a section."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.sections.append(Section(self.tokens, self.bytes, self._text.hexdigest()))
        self._begin()

    def finish(self) -> TokenSplit:
        """Close the file and return its record; the tokens are hashed as they are on disk."""
        self._file.close()
        texts = "".join(section.text for section in self.sections)
        return TokenSplit(
            tokens=sum(section.tokens for section in self.sections),
            bytes=sum(section.bytes for section in self.sections),
            text=hashlib.sha256(texts.encode()).hexdigest(),
            sha256=sha256_of(self._path),
        )


def write_vocabulary(folder: Path, tokens: Sequence[bytes]) -> str:
    """Write vocabulary.txt and return its sha256."""
    text = "".join(f"{base64.b64encode(token).decode()}\n" for token in tokens)
    write_whole(folder / "vocabulary.txt", text.encode())
    return hashlib.sha256(text.encode()).hexdigest()


def make_empty(draft: Path) -> None:
    """Make `draft` an empty folder, deleting what is in it."""
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir()


def publish(root: Path, draft: Path, identity: CorpusIdentity) -> None:
    """Make the finished `draft` the current version below `root`, atomically."""
    for path, _, _ in pinned_files(draft, identity):
        # A sandbox may run as another user: it may read train, and no held-out split.
        path.chmod(0o600 if path.parent.name == "held" else 0o644)
    _write_manifest(draft, identity)
    for folder in (draft / "train", draft / "held", draft):
        sync_folder(folder)
    version, old = root / identity.digest, root / ".old"
    if old.exists():
        shutil.rmtree(old)
    if version.exists():
        version.rename(old)
    draft.rename(version)
    write_whole(root / "current", f"{identity.digest}\n".encode())
    if old.exists():
        shutil.rmtree(old)


def recheck(root: Path, spec: CorpusSpec, progress: Progress, *, restamp: bool) -> Corpus:
    """Hash every file of the current version and open it. Raises SetupError if one is damaged.

    With `restamp`, the files' times are recorded again, since those of a copied cache differ.
    """
    folder, manifest = current_version(root, spec)
    for path, _, sha256 in pinned_files(folder, manifest.identity):
        progress(f"check {path.name}", 0.0)
        if not path.is_file() or sha256_of(path) != sha256:
            raise damaged(spec, path)
    if restamp:
        _write_manifest(folder, manifest.identity)
    return open_at(root, spec)


def _write_manifest(folder: Path, identity: CorpusIdentity) -> None:
    paths = [path for path, _, _ in pinned_files(folder, identity)]
    manifest = Manifest(identity, {path.name: path.stat().st_mtime_ns for path in paths})
    write_whole(folder / "manifest.json", MANIFEST.dump_json(manifest, indent=1, by_alias=True))
