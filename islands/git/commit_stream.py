"""One commit as the input of `git fast-import`. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from islands.git.plumbing import IDENTITY, message_bytes
from islands.records import Entry

REGULAR_MODES = ("100644", "100755")
"""Git's modes of regular files: plain and executable."""


def commit_stream(
    ref: str,
    parent: str,
    files: Mapping[str, Entry | None],
    message: str,
    when: int,
) -> bytes:
    """Return a stream that commits `files` (None deletes) on `parent` and creates `ref` there.

    Git answers with the commit's id.
    Author and committer are `IDENTITY` at `when` (seconds since the epoch), so equal arguments give
    an equal commit id on every machine. A stream that is cut off changes no ref: git waits for its
    `done`. Raises ValueError if a file is not regular.
    """
    order = sorted(files, key=lambda path: (files[path] is not None, path))  # deletions first
    changes = b"".join(_change(path, files[path]) for path in order)
    committer = f"{IDENTITY['GIT_COMMITTER_NAME']} <{IDENTITY['GIT_COMMITTER_EMAIL']}>"
    return (
        f"feature done\ncommit {ref}\nmark :1\ncommitter {committer} {when} +0000\n".encode()
        + _data(message_bytes(message))
        + f"from {parent}\n".encode()
        + changes
        + b"get-mark :1\ndone\n"
    )


def _change(path: str, entry: Entry | None) -> bytes:
    quoted = b'"' + path.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    if entry is None:
        return b"D " + quoted + b"\n"
    if entry.mode not in REGULAR_MODES:
        raise ValueError(f"{path!r} has mode {entry.mode}: not a regular file")
    return f"M {entry.mode} inline ".encode() + quoted + b"\n" + _data(entry.data)


def _data(content: bytes) -> bytes:
    return f"data {len(content)}\n".encode() + content + b"\n"
