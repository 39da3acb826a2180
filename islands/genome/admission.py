"""Admission: the rules that decide whether a proposal may become a commit.

`admit` is a pure function of the proposal's files and the genome that they would change. It
returns the change to commit, or the rule that refuses it with a one-line reason that names the
file and says what is allowed. The agent that made the proposal is shown the reason.

| rule | refuses |
| --- | --- |
| outside | a path outside the genome, or one that git or a file system may read as another |
| instructions | files in a folder of the genome that instruct or configure coding agents |
| link | symbolic links and submodules, proposed or existing |
| mode | a new executable, and anything else that is not a regular file |
| size | a file, a genome or a number of files above its limit |
| binary | files that are not UTF-8 text |
| clash | two paths that some file system cannot tell apart, a file in place of a folder |
| entry | deleting the file that a trial starts from |
| syntax | Python that does not parse; JSON, YAML and TOML that parsed before and do not now |
| nothing | changes of comments, layout and docstrings only |
| seed | changes of seeds only |

Not covered: names that Windows reserves (CON, NUL); what an admitted file does when it runs, which
the sandbox confines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from islands.genome.agent_files import instructs_agents
from islands.genome.paths import is_inside, name_fault
from islands.genome.structured_data import NotParsedError
from islands.genome.syntax_diff import compare
from islands.records import Entry, Proposal

AdmissionRule = Literal[
    "outside",
    "instructions",
    "link",
    "mode",
    "size",
    "binary",
    "clash",
    "entry",
    "syntax",
    "nothing",
    "seed",
]

GenomeChange = Mapping[str, Entry | None]
"""Files by path, None where the file is deleted."""

MAX_REASON_CHARS = 200
"""Characters that a reason quotes of a name or of an error message."""

REGULAR_FILE_MODE = "100644"
"""git's mode of a regular file that is not executable."""

_LINKS = {"120000": "a symbolic link", "160000": "a submodule"}


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Size limits of a proposal."""

    file_bytes: int = 256 * 1024
    """Bytes of one file."""
    total_bytes: int = 1024 * 1024
    """Bytes of the whole genome after the change."""
    files: int = 64
    """Files of the whole genome after the change."""
    allow_null: bool = False
    """Whether a change without effect is admitted: the run's own A/A tests are (`null_edits`)."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admitted proposal: `files` holds what differs from the head, ready to commit."""

    files: GenomeChange


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused proposal, with a one-line `reason` that the agent may be shown."""

    rule: AdmissionRule
    reason: str


def admit(
    proposal: Proposal,
    head: Mapping[str, Entry],
    genome: tuple[str, ...],
    limits: AdmissionLimits,
    entry: str,
) -> Admitted | Refused:
    """Return the change that `proposal` makes to the genome `head`, or the rule that refuses it.

    `genome` lists the files and folders of the repository that may change, `entry` is the path of
    the file that a trial starts from, "" where none must exist. Never raises, whatever the proposal
    holds.
    """
    # In this order: a later check relies on what the earlier ones have ruled out.
    refused = next(_file_refusals(proposal.files, head, genome, limits), None)
    if refused is not None:
        return refused
    change = _change(proposal.files, head)
    refused = next(_change_refusals(change, head, limits, entry), None)
    if refused is not None:
        return refused
    refused = _effect_refusal(change, head)
    if refused is not None and not (limits.allow_null and refused.rule == "nothing"):
        return refused
    return Admitted(change)


def _instructs(path: str, genome: tuple[str, ...]) -> bool:
    """Return whether `path`, in a folder of the genome, is a file that instructs coding agents.

    A folder or file that program.md names is the user's choice, whatever it is called.
    """
    parts = (part.rstrip("/") for part in genome)
    return any(
        path.startswith(f"{part}/") and instructs_agents(path[len(part) + 1 :]) for part in parts
    )


def _file_refusals(
    files: GenomeChange, head: Mapping[str, Entry], genome: tuple[str, ...], limits: AdmissionLimits
) -> Iterator[Refused]:
    if len(files) > limits.files:
        yield Refused(
            "size", f"{len(files)} files in one proposal; at most {limits.files} are allowed"
        )
    for path, entry in files.items():
        name = printable_line(path)
        if not is_inside(path, genome):
            yield Refused("outside", _outside(path, genome))
        if entry is not None and _instructs(path, genome):
            told = "a candidate may not tell later agents what to do; choose another name"
            yield Refused("instructions", f"{name} is a file that instructs coding agents: {told}")
        was = head.get(path)
        yield from _link_refusals(name, entry, was)
        if entry is not None:
            yield from _mode_refusals(name, entry, was)
            yield from _content_refusals(name, entry, limits)


def _outside(path: str, genome: tuple[str, ...]) -> str:
    if fault := name_fault(path, genome):
        with suppress(UnicodeEncodeError):  # where they stand for a file's bytes
            path = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return f"{printable_line(path)}: its name {fault}; choose another name"
    return f"{printable_line(path)} is outside the genome; change only: {', '.join(genome)}"


def _link_refusals(name: str, entry: Entry | None, was: Entry | None) -> Iterator[Refused]:
    if entry is not None and entry.mode in _LINKS:
        yield Refused("link", f"{name} is {_LINKS[entry.mode]}; propose regular files only")
    if was is not None and was.mode in _LINKS:
        yield Refused(
            "link", f"{name} is {_LINKS[was.mode]} and must not change; change other files"
        )


def _mode_refusals(name: str, entry: Entry, was: Entry | None) -> Iterator[Refused]:
    if entry.mode != REGULAR_FILE_MODE and (was is None or was.mode != entry.mode):
        mode = printable_line(entry.mode)
        yield Refused("mode", f"{name} has mode {mode}; propose mode {REGULAR_FILE_MODE} only")


def _content_refusals(name: str, entry: Entry, limits: AdmissionLimits) -> Iterator[Refused]:
    size, limit = len(entry.data), limits.file_bytes
    if size > limit:
        yield Refused("size", f"{name} has {size:,} bytes; a file may have at most {limit:,}")
    if b"\0" in entry.data or not _is_utf8(entry.data):
        yield Refused("binary", f"{name} is not text; propose UTF-8 text without null bytes")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _change(files: GenomeChange, head: Mapping[str, Entry]) -> dict[str, Entry | None]:
    """Return the files that differ from `head`; an executable file keeps its mode."""
    modes = {path: entry.mode for path, entry in head.items()}
    proposed = {
        path: entry and replace(entry, mode=modes.get(path, REGULAR_FILE_MODE))
        for path, entry in files.items()
    }
    return {path: entry for path, entry in proposed.items() if entry != head.get(path)}


def _change_refusals(
    change: GenomeChange, head: Mapping[str, Entry], limits: AdmissionLimits, entry: str
) -> Iterator[Refused]:
    after = {path: new for path, new in {**head, **change}.items() if new is not None}
    if entry and entry not in after:
        name = printable_line(entry)
        yield Refused("entry", f"{name} starts a trial; change it, but do not delete it")
    yield from _clash_refusals(change, after)
    yield from _growth_refusals(head, after, limits)


def _clash_refusals(change: GenomeChange, after: Mapping[str, Entry]) -> Iterator[Refused]:
    files = Counter(path.casefold() for path in after)
    folders = {folder.casefold() for path in after for folder in _folders(path)}
    for path, entry in change.items():
        if entry is None:
            continue
        name = printable_line(path)
        if files[path.casefold()] > 1:
            yield Refused("clash", f"{name} differs from another file by case only; rename it")
        if path.casefold() in folders:
            yield Refused("clash", f"{name} is a folder; choose another name")
        if any(folder.casefold() in files for folder in _folders(path)):
            yield Refused("clash", f"{name} is below a file, not a folder; choose another path")


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _growth_refusals(
    head: Mapping[str, Entry], after: Mapping[str, Entry], limits: AdmissionLimits
) -> Iterator[Refused]:
    """Yield refusals of growth above a limit; a genome already above it may change and shrink."""
    was, now = (sum(len(entry.data) for entry in side.values()) for side in (head, after))
    if now > max(was, limits.total_bytes):
        limit = f"at most {limits.total_bytes:,} are allowed"
        yield Refused("size", f"the genome would have {now:,} bytes; {limit}")
    if len(after) > max(len(head), limits.files):
        limit = f"at most {limits.files} are allowed"
        yield Refused("size", f"the genome would have {len(after)} files; {limit}")


def _effect_refusal(change: GenomeChange, head: Mapping[str, Entry]) -> Refused | None:
    effects = set()
    for path, entry in change.items():
        was = head.get(path)
        try:
            effects.add(compare(path, was.data if was else b"", entry.data if entry else b""))
        except NotParsedError as error:
            name, reason = printable_line(path), printable_line(str(error))
            return Refused("syntax", f"{name} does not parse as {error.language}: {reason}")
    if "changed" in effects:
        return None
    if "reseeded" in effects:
        allowed = "the harness sets the seeds; change what is computed"
        return Refused("seed", f"{_names(change)}: only seeds differ; {allowed}")
    allowed = "change what is computed"
    return Refused("nothing", f"{_names(change)}: no code that runs differs; {allowed}")


def _names(change: GenomeChange) -> str:
    return printable_line(", ".join(sorted(change))) or "no file"


def printable_line(text: str) -> str:
    """Return untrusted `text` as one printable line of at most MAX_REASON_CHARS characters."""
    start = text[: MAX_REASON_CHARS + 1]
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in start)
    return line if len(line) <= MAX_REASON_CHARS else line[: MAX_REASON_CHARS - 3] + "..."
