"""Standard streams that stop no command: closed ones are opened, unknown characters replaced.

A program that reads a launch's output may end first (`swarm launch | head`): what nobody reads is
dropped, and the run goes on. A command that only prints ends with its reader.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any

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
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            os.set_inheritable(null, True)  # children write to it
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123  # until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def outlive_readers() -> None:
    """From now on drop what cannot be written to standard output and error."""
    sys.stdout, sys.stderr = _LastingStream(sys.stdout), _LastingStream(sys.stderr)


def end_with_reader() -> None:
    """From now on exit with 0 where nobody reads standard output, and name it in its errors."""
    sys.stdout = _EndingStream(sys.stdout)


class _LastingStream:
    """A stream that writes to the null device once its reader is gone."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401  # of text or of bytes
        self._stream = stream

    @property
    def buffer(self) -> _LastingStream:
        """The stream of bytes below."""
        return _LastingStream(self._stream.buffer)

    def write(self, data: str | bytes) -> int:
        """Write `data`, or drop it."""
        try:
            return int(self._stream.write(data))
        except (OSError, ValueError) as error:
            if data:  # click tries a stream with nothing, and a full disk refuses even that
                self._drop()
                self._failed(error)
            return len(data)

    def flush(self) -> None:
        """Flush, or drop what is left."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop()
            self._failed(error)

    def _failed(self, error: OSError | ValueError) -> None:
        """Go on after a failed write."""

    def _drop(self) -> None:
        """Point the descriptor at the null device, so that the last flush succeeds too."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _EndingStream(_LastingStream):
    """Standard output of a command that only prints."""

    @property
    def buffer(self) -> _EndingStream:
        """The stream of bytes below."""
        return _EndingStream(self._stream.buffer)

    def _failed(self, error: OSError | ValueError) -> None:
        """Exit, where rich and click would with 1, or raise the error with the stream's name."""
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, "standard output")
        raise error
