"""Decides whether a proposal is let in: path is permission, and nothing else is.

One pure function looks at the text of a proposal and the genome it would change, and answers
with the change or with the rule that stands against it. Reasons are one line, name the file and
say what is allowed: the agent that proposed it is shown them.

| rule | refuses |
| --- | --- |
| outside | a path that is not plainly inside the genome, or that git or a file system may misread |
| link | symbolic links and submodules, proposed or already there |
| mode | a new executable, or anything else that is not a regular file |
| size | too large a file, too many files, too large a genome |
| binary | what is not UTF-8 text |
| clash | two paths that some file system takes for one, a file where a folder is |
| entry | the deletion of the file that a trial starts from |
| syntax | Python that does not parse |
| nothing | a change of comments, layout and docstrings only |
| seed | a change of seeds only |

Not covered: names that Windows reserves (CON, NUL); what a permitted file does when it runs,
which is the sandbox's business.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from islands.genome.syntax_diff import NotPythonError, compare
from islands.records import Entry, Proposal

Rule = Literal[
    "outside", "link", "mode", "size", "binary", "clash", "entry", "syntax", "nothing", "seed"
]

Change = Mapping[str, Entry | None]

MOST_NAME_BYTES = 255
MOST_PATH_BYTES = 1024
"""Of one name and of a path: what every file system we export to can hold."""

MOST_SHOWN = 200
"""Characters of a name or a complaint in a reason."""

PLAIN = "100644"

_LINKS = {"120000": "a symbolic link", "160000": "a submodule"}

_GIT_SHORT = re.compile(r"git~\d")
"""How NTFS also spells .git."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """What a proposal may weigh: bytes of one file, bytes and files of the genome after it.

    With `null` a change without effect is let in, to measure what the ratchet makes of one.
    """

    file_bytes: int = 256 * 1024
    total_bytes: int = 1024 * 1024
    files: int = 64
    null: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """Let in: `files` is what differs from the head, fit to be committed."""

    files: Change


@dataclass(frozen=True, slots=True)
class Refused:
    """Not let in, by `rule`, for a `reason` of one line that the agent may be shown."""

    rule: Rule
    reason: str


def admit(
    proposal: Proposal,
    head: Mapping[str, Entry],
    genome: tuple[str, ...],
    limits: AdmissionLimits,
    entry: str,
) -> Admitted | Refused:
    """Say whether `proposal` may become a commit on a commit whose whole genome is `head`.

    `genome` are files and folders of the repository, `entry` the path of the file that a trial
    starts from. Never raises on anything a proposal holds.
    """
    refused = next(_file_refusals(proposal.files, head, genome, limits), None)
    if refused is not None:
        return refused
    change = _change(proposal.files, head)
    refused = next(_change_refusals(change, head, limits, entry), None)
    if refused is not None:
        return refused
    refused = _effect_refusal(change, head)
    if refused is not None and not (limits.null and refused.rule == "nothing"):
        return refused
    return Admitted(change)


def inside(path: str, genome: tuple[str, ...]) -> bool:
    """Say whether `path` is plain (no "..", no .git in any spelling) and inside the genome."""
    return _is_plain(path) and any(
        path == part or path.startswith(part + "/") for part in (p.rstrip("/") for p in genome)
    )


def _is_plain(path: str) -> bool:
    return (
        len(path) <= MOST_PATH_BYTES
        # git takes a folder with a file HEAD for a repository, and runs what its config names
        and path.rpartition("/")[2].casefold() != "head"
        and all(_is_plain_name(name) for name in path.split("/"))
        and len(path.encode()) <= MOST_PATH_BYTES
        and unicodedata.is_normalized("NFC", path)
    )


def _is_plain_name(name: str) -> bool:
    """Refuse what means something to git or a file system, or looks like another name."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return (
        0 < len(name) <= MOST_NAME_BYTES
        and not name.endswith((".", " "))  # "." and ".." too; Windows drops both at a name's end
        and not any(_is_hidden(char) for char in name)
        and len(name.encode()) <= MOST_NAME_BYTES
        and not folded.startswith(".git")
        and not _GIT_SHORT.match(folded)
    )


def _is_hidden(char: str) -> bool:
    """Say whether `char` separates somewhere, controls, shows nothing, or is no character."""
    return char in "\\:" or (char != " " and unicodedata.category(char)[0] in "CZ")


def _file_refusals(
    files: Change, head: Mapping[str, Entry], genome: tuple[str, ...], limits: AdmissionLimits
) -> Iterator[Refused]:
    if len(files) > limits.files:
        yield Refused("size", f"{len(files)} files at once; propose {limits.files} at most")
    for path, entry in files.items():
        name = shown(path)
        if not inside(path, genome):
            allowed = ", ".join(genome)
            yield Refused("outside", f"{name} is outside the genome; change only: {allowed}")
        was = head.get(path)
        yield from _link_refusals(name, entry, was)
        if entry is not None:
            yield from _mode_refusals(name, entry, was)
            yield from _content_refusals(name, entry, limits)


def _link_refusals(name: str, entry: Entry | None, was: Entry | None) -> Iterator[Refused]:
    if entry is not None and entry.mode in _LINKS:
        yield Refused("link", f"{name} is {_LINKS[entry.mode]}; propose regular files only")
    if was is not None and was.mode in _LINKS:
        yield Refused("link", f"{name} is {_LINKS[was.mode]} and must stay; change other files")


def _mode_refusals(name: str, entry: Entry, was: Entry | None) -> Iterator[Refused]:
    if entry.mode != PLAIN and (was is None or was.mode != entry.mode):
        yield Refused("mode", f"{name} has mode {shown(entry.mode)}; propose mode {PLAIN} only")


def _content_refusals(name: str, entry: Entry, limits: AdmissionLimits) -> Iterator[Refused]:
    size, most = len(entry.data), limits.file_bytes
    if size > most:
        yield Refused("size", f"{name} has {size:,} bytes; a file may have {most:,} at most")
    if b"\0" in entry.data or not _is_utf8(entry.data):
        yield Refused("binary", f"{name} is not text; propose UTF-8 text without null bytes")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _change(files: Change, head: Mapping[str, Entry]) -> dict[str, Entry | None]:
    """Return what really differs; an executable stays one where only text is proposed."""
    modes = {path: entry.mode for path, entry in head.items()}
    wanted = {
        path: entry and replace(entry, mode=modes.get(path, PLAIN)) for path, entry in files.items()
    }
    return {path: entry for path, entry in wanted.items() if entry != head.get(path)}


def _change_refusals(
    change: Change, head: Mapping[str, Entry], limits: AdmissionLimits, entry: str
) -> Iterator[Refused]:
    after = {path: new for path, new in {**head, **change}.items() if new is not None}
    if entry not in after:
        yield Refused("entry", f"{shown(entry)} is where a trial starts; change it, keep it")
    yield from _clash_refusals(change, after)
    yield from _growth_refusals(head, after, limits)


def _clash_refusals(change: Change, after: Mapping[str, Entry]) -> Iterator[Refused]:
    files = Counter(path.casefold() for path in after)
    folders = {folder.casefold() for path in after for folder in _folders(path)}
    for path, entry in change.items():
        if entry is None:
            continue
        if files[path.casefold()] > 1:
            yield Refused("clash", f"{shown(path)} differs from another file by case only; rename")
        if path.casefold() in folders:
            yield Refused("clash", f"{shown(path)} is a folder; choose another name")
        if any(folder.casefold() in files for folder in _folders(path)):
            yield Refused("clash", f"{shown(path)} is below a file, not a folder; choose another")


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _growth_refusals(
    head: Mapping[str, Entry], after: Mapping[str, Entry], limits: AdmissionLimits
) -> Iterator[Refused]:
    """Refuse growth past a limit; a genome that began beyond it may change and shrink."""
    was, now = (sum(len(entry.data) for entry in side.values()) for side in (head, after))
    if now > max(was, limits.total_bytes):
        most = f"{limits.total_bytes:,}"
        yield Refused("size", f"the genome would have {now:,} bytes; {most} at most are allowed")
    if len(after) > max(len(head), limits.files):
        most = f"{limits.files}"
        yield Refused("size", f"the genome would have {len(after)} files; {most} at most")


def _effect_refusal(change: Change, head: Mapping[str, Entry]) -> Refused | None:
    found = set()
    for path, entry in change.items():
        was = head.get(path)
        try:
            found.add(compare(path, was.data if was else b"", entry.data if entry else b""))
        except NotPythonError as error:
            said = shown(str(error))
            return Refused("syntax", f"{shown(path)} does not parse as Python: {said}")
    if "changed" in found:
        return None
    if "reseeded" in found:
        allowed = "the harness gives the seeds; change what is computed"
        return Refused("seed", f"{_names(change)}: only seeds differ; {allowed}")
    allowed = "change what is computed"
    return Refused("nothing", f"{_names(change)}: nothing that runs differs; {allowed}")


def _names(change: Change) -> str:
    return shown(", ".join(sorted(change))) or "no file"


def shown(text: str) -> str:
    """Return hostile `text` as one line of printable characters, cut at MOST_SHOWN."""
    start = text[: MOST_SHOWN + 1]
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in start)
    return line if len(line) <= MOST_SHOWN else line[: MOST_SHOWN - 3] + "..."
