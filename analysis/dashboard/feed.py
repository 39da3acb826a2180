"""Feed of a run's events: the latest from the end of its ledger, and new ones as they are written.

The ledger is read and never locked, from the end of a line on, so a reader costs the writer nothing
and the length of the run does not matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from analysis.dashboard.headlines import Headline, brief, headline, headlines
from analysis.dashboard.keeps import ListedKeep, OpenExperiments
from analysis.ledger import NAME, read_events
from analysis.plain_json import to_json
from harness.contract import SetupError

TAIL_BYTES: Final = 200_000
"""Bytes at the end of a ledger that the latest headlines are read from."""

POLL_S: Final = 0.25
"""Seconds between two looks at a ledger's size."""

BEAT_S: Final = 15.0
"""Seconds of silence after which a comment is sent, so that nothing between closes the stream."""


def latest(folder: Path, most: int) -> list[Headline]:
    """Return the last headlines of the run in `folder`, latest first.

    Raises SetupError where the ledger is broken there.
    """
    path = folder / NAME
    found = list(headlines(event for _, event in read_events(path, _line_start(path))))
    return list(islice(brief(found[::-1]), most))


def _line_start(path: Path) -> int:
    """Return the offset of the first line that begins in the last TAIL_BYTES of the file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size <= TAIL_BYTES:
            return 0
        file.seek(size - TAIL_BYTES)
        return size - TAIL_BYTES + len(file.readline())


async def stream(
    folder: Path,
    stopping: Callable[[], bool],
    row: Callable[[ListedKeep], str] = lambda _: "",
) -> AsyncIterator[str]:
    """Yield a server-sent event at once, and whenever the ledger has grown, until `stopping`.

    Its data is JSON: `bytes` of the ledger, and the `headlines` since the last one. That of a kept
    change has its line of the list of kept changes, `row`: the record has it only seconds later.
    """
    path = folder / NAME
    reader, quiet = _Reader(path, row), 0.0
    await asyncio.to_thread(reader.begin)
    yield f"retry: 2000\nevent: recorded\ndata: {_message(reader.at, [])}\n\n"
    while not stopping() and path.exists():
        if path.stat().st_size > reader.at:
            before, new = reader.at, await asyncio.to_thread(reader.read)
            if reader.at != before:  # else its last line is still being written
                quiet = 0.0
                yield f"event: recorded\ndata: {_message(reader.at, new)}\n\n"
        elif quiet >= BEAT_S:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(POLL_S)
        quiet += POLL_S


async def stream_all(
    runs: Callable[[], list[Path]], stopping: Callable[[], bool]
) -> AsyncIterator[str]:
    """Yield a server-sent event whenever a run was added or any ledger has grown."""
    seen: dict[Path, int] = _sizes(runs())
    yield "retry: 2000\n\n"
    quiet = 0.0
    while not stopping():
        await asyncio.sleep(POLL_S)
        quiet += POLL_S
        now = await asyncio.to_thread(lambda: _sizes(runs()))
        if now != seen:
            seen, quiet = now, 0.0
            yield f"event: recorded\ndata: {_message(sum(now.values()), [])}\n\n"
        elif quiet >= BEAT_S:
            quiet = 0.0
            yield ": still here\n\n"


def _sizes(folders: list[Path]) -> dict[Path, int]:
    return {folder: (folder / NAME).stat().st_size for folder in folders}


def _whole(path: Path, size: int) -> int:
    """Return the end of the last whole line in the first `size` bytes."""
    with path.open("rb") as file:
        start = max(0, size - TAIL_BYTES)
        file.seek(start)
        return start + file.read(size - start).rfind(b"\n") + 1


class _Reader:
    """Reads a ledger on from its end, where `at` is. Remembers the experiments under way."""

    def __init__(self, path: Path, row: Callable[[ListedKeep], str]) -> None:
        self._path, self._row = path, row
        self._known = OpenExperiments()
        self.at = 0

    def begin(self) -> None:
        """Go to the end, past the latest events."""
        self.at = _whole(self._path, self._path.stat().st_size)
        with suppress(SetupError):  # the page says that the record is broken
            for end, event in read_events(self._path, _line_start(self._path)):
                if end > self.at:
                    return
                self._known.take(event)

    def read(self) -> list[dict[str, object]]:
        """Return the headlines of what was written since."""
        said = []
        try:
            for end, event in read_events(self._path, self.at):
                self.at = end
                kept = self._known.take(event)
                if (one := headline(event, self._known.hypotheses)) is not None:
                    said.append(_said(one) | ({"row": self._row(kept)} if kept else {}))
        except SetupError:  # a torn line was cut off at this moment, or the record is broken
            self.at = self._path.stat().st_size
        return said


def _said(one: Headline) -> dict[str, object]:
    facts = {"text": one.text, "tone": one.tone, "experiment": one.experiment}
    return {"time": f"{one.when:%H:%M:%S}", **facts}


def _message(size: int, new: list[dict[str, object]]) -> str:
    return to_json({"bytes": size, "headlines": new})
