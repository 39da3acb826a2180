"""Standard streams that stop no command: closed ones are opened, unknown characters replaced.

A program that reads a launch's output may end first (`swarm launch | head`): what nobody reads is
dropped, and the run goes on.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

STANDARD = 3
"""Standard input, output and error are the descriptors below this."""


def open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed.

    Else the next file that is opened gets its number, and what children print goes into it.
    """
    for number in range(STANDARD):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            null = open(os.devnull, "w")  # noqa: SIM115, PTH123  # until the process ends
            setattr(sys, name, null)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def outlive_readers() -> None:
    """From now on drop what cannot be written to standard output and error."""
    sys.stdout, sys.stderr = _LastingStream(sys.stdout), _LastingStream(sys.stderr)


class _LastingStream:
    """A text stream that writes to the null device once its reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, or drop it."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what is left."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def _drop(self) -> None:
        """Point the descriptor at the null device, so that the last flush succeeds too."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
