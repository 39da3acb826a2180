"""Fetching one file over HTTP: resumed where it broke off, checked before it counts.

A server of Hugging Face's kind states a file's sha256 (`X-Linked-ETag`) and size; others state at
least a size. What arrives is kept beside the target as `.part` with what the server said of it,
so a cut connection, a full disk or a kill costs only the bytes that were under way.

Not covered: a server that states no sha256 and sends other bytes of the right length between the
right magic numbers is believed.
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
from harness.data.cache import sha256_of, sync_folder, write_whole

ATTEMPTS = 5
LONGEST_WAIT = 300.0
_CHUNK = 2**16
_MAGIC = b"PAR1"
_WHOLE, _PARTIAL, _NO_RANGE = 200, 206, 416
_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Promise:
    """What a server said of a file: strong ETag, bytes and sha256; empty or -1 where it did not."""

    etag: str = ""
    size: int = -1
    sha256: str = ""


class _TroubleError(Exception):
    """It did not work this time; it may after `wait` seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch(
    url: str,
    path: Path,
    progress: Callable[[float], None],
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Bring the parquet file at `url` to `path`, unless it is there whole; return its sha256.

    Gives up after ATTEMPTS in a row that brought no byte nearer. Raises SetupError, one line, what
    has arrived being kept.
    """
    known = path.with_name(f"{path.name}.sha256")
    if path.exists() and known.exists() and sha256_of(path) == known.read_text().strip():
        return known.read_text().strip()
    part, failures = path.with_name(f"{path.name}.part"), 0
    with httpx2.Client(follow_redirects=True, timeout=30.0) as client:
        while True:
            before = _size(part)
            try:
                sha256 = _settle(_pull(client, url, part, progress), part)
                break
            except _TroubleError as trouble:
                failures = 1 if _size(part) > before else failures + 1
                if failures == ATTEMPTS or trouble.wait > LONGEST_WAIT:
                    raise SetupError(_farewell(url, trouble)) from trouble
                sleep(max(trouble.wait, 2.0 ** (failures - 1)))
    write_whole(known, f"{sha256}\n".encode())
    part.replace(path)
    sync_folder(path.parent)
    _note(part).unlink()
    return sha256


def _pull(
    client: httpx2.Client, url: str, part: Path, progress: Callable[[float], None]
) -> Promise:
    """Fetch what `part` lacks; return what the server promised of the whole."""
    promise, have = _begun(part)
    if have == promise.size:
        return promise
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": promise.etag}
    try:
        with client.stream("GET", url, headers=headers) as answer:
            _refuse(answer, url, part)
            if answer.status_code != _PARTIAL:
                promise, have = _promise(answer), 0
                part.unlink(missing_ok=True)  # bytes of another file must never meet the new note
                write_whole(_note(part), _PROMISE.dump_json(promise))
            elif answer.headers.get("Content-Range") != _rest(promise, have):
                raise _spoiled(part, "the server sent another range than was asked for")
            with part.open("ab" if have else "wb") as file:
                for chunk in answer.iter_raw(_CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    progress(have / promise.size if promise.size > 0 else 0.0)
    except httpx2.RequestError as error:
        raise _TroubleError(f"{type(error).__name__} {error}".strip()) from error
    except httpx2.InvalidURL as error:
        raise SetupError(f"cannot fetch {url}: {error}: check --base-url") from error
    return promise


def _begun(part: Path) -> tuple[Promise, int]:
    """Return what is known of a begun file and how much of it can be kept."""
    try:
        promise = _PROMISE.validate_json(_note(part).read_bytes())
    except (FileNotFoundError, ValidationError):
        return Promise(), 0
    have = _size(part)
    return (promise, have) if promise.etag and have <= promise.size else (promise, 0)


def _refuse(answer: httpx2.Response, url: str, part: Path) -> None:
    code = answer.status_code
    if code in {_WHOLE, _PARTIAL}:
        return
    if code == _NO_RANGE:
        raise _spoiled(part, "the server has no such range")
    reason = f"the server answered {code} {answer.reason_phrase}".strip()
    if code in _AGAIN:
        raise _TroubleError(reason, _retry_after(answer.headers.get("Retry-After", "")))
    raise SetupError(f"cannot fetch {url}: {reason}: check --base-url and --shards")


def _promise(answer: httpx2.Response) -> Promise:
    """Read what the server says of the file, on the way of its redirects too."""
    said: dict[str, str] = {}
    for step in (*answer.history, answer):
        said |= {name.lower(): value for name, value in step.headers.items()}
    etag, size = answer.headers.get("ETag", ""), said.get("content-length", "")
    linked = said.get("x-linked-etag", "").strip('"').lower()
    return Promise(
        etag=etag if etag.startswith('"') else "",
        size=int(size) if size.isdecimal() else -1,
        sha256=linked if re.fullmatch("[0-9a-f]{64}", linked) else "",
    )


def _settle(promise: Promise, part: Path) -> str:
    """Hold what has arrived to what was promised; return its sha256."""
    size, sha256 = _size(part), sha256_of(part)
    if promise.size not in {-1, size}:
        raise _spoiled(part, f"{size} bytes arrived where {promise.size} were promised")
    if promise.sha256 not in {"", sha256}:
        raise _spoiled(part, f"its sha256 is {sha256}, the server promised {promise.sha256}")
    with part.open("rb") as file:
        head = file.read(4)
        file.seek(-min(4, size), os.SEEK_END)
        if (head, file.read()) != (_MAGIC, _MAGIC):
            raise _spoiled(part, "it is not a parquet file")
    return sha256


def _spoiled(part: Path, reason: str) -> _TroubleError:
    """Drop what has arrived, since it is no beginning of the file."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
    return _TroubleError(reason)


def _retry_after(value: str) -> float:
    """Read Retry-After, seconds or a date, as seconds from now; 0 where it says nothing."""
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _farewell(url: str, trouble: _TroubleError) -> str:
    if trouble.wait > LONGEST_WAIT:
        return f"cannot fetch {url}: {trouble}, asking to wait {trouble.wait:.0f} s: run again then"
    return f"cannot fetch {url}: {trouble}: run again to go on, or name a mirror with --base-url"


def _rest(promise: Promise, have: int) -> str:
    return f"bytes {have}-{promise.size - 1}/{promise.size}"


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


_PROMISE = TypeAdapter(Promise)
