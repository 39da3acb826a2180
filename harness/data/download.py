"""Downloads one parquet file over HTTP, resumes after an interruption, checks it before use.

Servers like Hugging Face's send a file's sha256 (`X-Linked-ETag`) and size; others send at least
the size. Bytes arrive in `<name>.part`, beside a note of what the server said of the file, so a
cut connection, a full disk or a kill costs only the bytes in flight.

Why not huggingface_hub (2.4.0): it downloads to a temporary file of random name and deletes it on
failure, so nothing resumes in the next process; it checks the size but not the sha256; and it
refuses a mirror that does not speak the Hub's protocol (`X-Repo-Commit`).

Not covered: a server that sends no sha256 and sends wrong bytes of the right length between the
right magic numbers is trusted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
from pydantic import TypeAdapter, ValidationError

from harness.contract import SetupError
from harness.data.cache import sha256_of
from harness.durable_files import sync_folder, write_whole

MAX_ATTEMPTS = 5
"""Failures in a row, without a new byte, after which a download is given up."""

MAX_WAIT_S = 300.0
"""A server that asks for a longer wait is not waited for."""

_CHUNK_BYTES = 2**16
_MAGIC = b"PAR1"
_WHOLE, _PARTIAL, _NO_RANGE = 200, 206, 416
_RETRY_STATUSES = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Promise:
    """What the server says of a file.

    etag: its strong ETag, "" without one
    size: in bytes, -1 if not told
    sha256: in hex, "" if not told
    """

    etag: str = ""
    size: int = -1
    sha256: str = ""


class _RetryableError(Exception):
    """A failed attempt; the next may succeed after `wait` seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def download(
    url: str,
    path: Path,
    progress: Callable[[float], None],
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Download the parquet file at `url` to `path`, unless it is there intact; return its sha256.

    Raises SetupError, in one line, after MAX_ATTEMPTS in a row without a new byte; bytes that have
    arrived are kept.
    """
    digest_file = path.with_name(f"{path.name}.sha256")
    if path.exists() and digest_file.exists():
        sha256 = digest_file.read_text().strip()
        if sha256_of(path) == sha256:
            return sha256
    part, failures = path.with_name(f"{path.name}.part"), 0
    with httpx2.Client(follow_redirects=True, timeout=30.0) as client:
        while True:
            before = _size(part)
            try:
                sha256 = _verify(_download_rest(client, url, part, progress), part)
                break
            except _RetryableError as error:
                failures = 1 if _size(part) > before else failures + 1
                if failures == MAX_ATTEMPTS or error.wait > MAX_WAIT_S:
                    raise SetupError(_final_message(url, error)) from error
                sleep(max(error.wait, 2.0 ** (failures - 1)))
    write_whole(digest_file, f"{sha256}\n".encode())
    part.replace(path)
    sync_folder(path.parent)
    _note(part).unlink()
    return sha256


def _download_rest(
    client: httpx2.Client, url: str, part: Path, progress: Callable[[float], None]
) -> Promise:
    """Download the rest of `part`; return what the server promises of the whole file."""
    promise, have = _resume_point(part)
    if have == promise.size:
        return promise
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": promise.etag}
    try:
        with client.stream("GET", url, headers=headers) as answer:
            _check_status(answer, url, part)
            if answer.status_code != _PARTIAL:
                promise, have = _promise(answer), 0
                part.unlink(missing_ok=True)  # before the note: never old bytes with a new note
                write_whole(_note(part), _PROMISE.dump_json(promise))
            elif answer.headers.get("Content-Range") != _content_range(promise, have):
                raise _discard(part, "the server sent another range than was asked for")
            with part.open("ab" if have else "wb") as file:
                for chunk in answer.iter_raw(_CHUNK_BYTES):
                    file.write(chunk)
                    have += len(chunk)
                    progress(have / promise.size if promise.size > 0 else 0.0)
    except httpx2.RequestError as error:
        raise _RetryableError(f"{type(error).__name__} {error}".strip()) from error
    except httpx2.InvalidURL as error:
        raise SetupError(f"cannot download {url}: {error}: check --base-url") from error
    return promise


def _resume_point(part: Path) -> tuple[Promise, int]:
    """Return the promise noted for a partial file and how many of its bytes can be kept."""
    try:
        promise = _PROMISE.validate_json(_note(part).read_bytes())
    except (FileNotFoundError, ValidationError):
        return Promise(), 0
    have = _size(part)
    return (promise, have) if promise.etag and have <= promise.size else (promise, 0)


def _check_status(answer: httpx2.Response, url: str, part: Path) -> None:
    code = answer.status_code
    if code in {_WHOLE, _PARTIAL}:
        return
    if code == _NO_RANGE:
        raise _discard(part, "the server has no such range")
    reason = f"the server answered {code} {answer.reason_phrase}".strip()
    if code in _RETRY_STATUSES:
        raise _RetryableError(reason, _retry_after(answer.headers.get("Retry-After", "")))
    raise SetupError(f"cannot download {url}: {reason}: check --base-url and --shards")


def _promise(answer: httpx2.Response) -> Promise:
    """Read what the server says of the file in its headers, those of redirects included."""
    headers: dict[str, str] = {}
    for step in (*answer.history, answer):
        headers |= {name.lower(): value for name, value in step.headers.items()}
    etag, size = answer.headers.get("ETag", ""), headers.get("content-length", "")
    linked = headers.get("x-linked-etag", "").strip('"').lower()
    return Promise(
        etag=etag if etag.startswith('"') else "",
        size=int(size) if size.isdecimal() else -1,
        sha256=linked if re.fullmatch("[0-9a-f]{64}", linked) else "",
    )


def _verify(promise: Promise, part: Path) -> str:
    """Return the sha256 of `part`. Raises _RetryableError unless it is the file promised."""
    size, sha256 = _size(part), sha256_of(part)
    if promise.size not in {-1, size}:
        raise _discard(part, f"{size} bytes arrived where {promise.size} were promised")
    if promise.sha256 not in {"", sha256}:
        raise _discard(part, f"its sha256 is {sha256}, the server promised {promise.sha256}")
    with part.open("rb") as file:
        head = file.read(4)
        file.seek(-min(4, size), os.SEEK_END)
        if (head, file.read()) != (_MAGIC, _MAGIC):
            raise _discard(part, "it is not a parquet file")
    return sha256


def _discard(part: Path, reason: str) -> _RetryableError:
    """Delete the bytes of `part`, which do not belong to the file; return the error to raise."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
    return _RetryableError(reason)


def _retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header (seconds or a date) asks for, 0 if invalid."""
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _final_message(url: str, error: _RetryableError) -> str:
    if error.wait > MAX_WAIT_S:
        return f"cannot download {url}: {error}, asking to wait {error.wait:.0f} s: run again then"
    return f"cannot download {url}: {error}: run again to resume, or name a mirror with --base-url"


def _content_range(promise: Promise, have: int) -> str:
    return f"bytes {have}-{promise.size - 1}/{promise.size}"


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


_PROMISE = TypeAdapter(Promise)
