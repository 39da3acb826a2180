"""Starts a box and shakes hands with its first process; `within.first` is the other half.

Not covered: where a supervisor of a box that no zygote serves (a canary's) is killed in the moment
in which bubblewrap makes it, bubblewrap's own waiting process stays. Nothing has been in that box.
"""

from __future__ import annotations

import json
import marshal
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.contract import HarnessError
from harness.sandbox.backends.interpreter import within
from harness.sandbox.fds import readable
from harness.sandbox.guest.init import GIVEN, GO, READY

if TYPE_CHECKING:
    from harness.sandbox.guest.limits import GuestSpec

START_TIMEOUT_S = 30.0  # a start takes 0.05 s, much longer where the cores are starved

Walls = Callable[[int], list[str]]
"""The command line that puts walls around what follows it, given a descriptor to tell on."""


@dataclass(slots=True)
class Started:
    """A box whose program has just been started, and the handles on it.

    `outer` is our child (None where it is a zygote's), `end` becomes readable when the program
    ends, `init` when all of the box is dead (-1 where there are no such descriptors: without walls,
    and outside Linux). `handles` are the first process and the directories that the spec asks for,
    or the warden, `control` what the first process says, `at` the time of the program's exec.
    """

    outer: subprocess.Popen[bytes] | None
    end: int
    init: int
    handles: tuple[int, ...]
    control: socket.socket
    at: float
    supervised: bool = False

    def ended(self, wait: float) -> bool:
        """Say whether the program has ended, after waiting at most `wait` seconds for it."""
        if self.end >= 0 or self.outer is None:
            return readable(self.end, wait)
        try:
            self.outer.wait(wait)
        except subprocess.TimeoutExpired:
            return False
        return True

    def code(self) -> int:
        """Return how the program ended, once all of the box is dead: negative for a signal.

        Raises HarnessError where the program could not be started.
        """
        code = self.outer.wait() if self.outer else 0
        said = self.control.recv(4096).decode(errors="replace").partition("\n")[0]
        if said.isdigit():
            return os.waitstatus_to_exitcode(int(said))
        if said:
            raise HarnessError(f"a box could not start its program: {said}")
        if self.supervised:
            raise HarnessError("a box's warden died before its box")
        return 128 - code if 128 < code <= 192 else code  # noqa: PLR2004  # the shells' convention

    @classmethod
    def told(
        cls,
        outer: subprocess.Popen[bytes] | None,
        init: int,
        handles: tuple[int, ...],
        control: socket.socket,
    ) -> Started:
        """Return the box of a zygote's copy, whose end `control` tells, and which starts now."""
        return cls(outer, os.dup(control.fileno()), init, handles, control, time.monotonic())

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (self.end, self.init, *self.handles):
            if number >= 0:
                os.close(number)
        self.control.close()


def launch(spec: GuestSpec, walls: Walls | None, output: int) -> Started:
    """Start a box within `walls`, hand it `spec`, and return as it becomes the program.

    What it prints goes to the descriptor `output`. Raises HarnessError where it does not start.
    """
    with ExitStack() as failed:
        control, theirs = socket.socketpair()
        failed.enter_context(control)
        info, info_end = os.pipe()
        with os.fdopen(info, "rb") as told, theirs:
            outer = subprocess.Popen(
                [*(walls(info_end) if walls else []), *within("init", str(theirs.fileno()))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={},
                pass_fds=(theirs.fileno(), info_end, *spec["fds"]),
                start_new_session=True,
            )
            failed.callback(_end, outer, control, supervised=spec["supervisor"] is not None)
            theirs.close()
            os.close(info_end)
            first = first_of(told.read()) if walls else -1
        if first >= 0:
            failed.callback(os.close, first)
        handles = shake(control, spec)
        end = os.pidfd_open(outer.pid) if sys.platform == "linux" else -1
        failed.pop_all()
    supervised = spec["supervisor"] is not None
    return Started(outer, end, first, handles, control, time.monotonic(), supervised)


def first_of(told: bytes) -> int:
    """Return a handle on the first process that bubblewrap tells of. HarnessError if none is."""
    try:
        return os.pidfd_open(json.loads(told)["child-pid"])
    except (ValueError, ProcessLookupError) as error:
        raise HarnessError("a box could not be made") from error


def shake(control: socket.socket, spec: GuestSpec, given: Sequence[int] = ()) -> tuple[int, ...]:
    """Hand over `spec`, wait until it is in force, and return what was asked for.

    A zygote's copy is `given` descriptors before it: where its output goes, and what its program
    keeps. Raises HarnessError where the other side falls silent or fails.
    """
    _hear(control, READY)
    with _starting():
        if given:
            socket.send_fds(control, [GIVEN], given)
        control.sendall(marshal.dumps(dict(spec)))
        control.shutdown(socket.SHUT_WR)
    return _hear(control, GO)


def _hear(control: socket.socket, word: bytes) -> tuple[int, ...]:
    with _starting():
        control.settimeout(START_TIMEOUT_S)
        said, handles, _, _ = socket.recv_fds(control, len(word), 64, socket.MSG_WAITALL)
    if said != word:
        raise HarnessError("a box did not start: its first process ended")
    return tuple(handles)


@contextmanager
def _starting() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HarnessError(f"a box did not start: {error}") from error


def _end(outer: subprocess.Popen[bytes], control: socket.socket, *, supervised: bool) -> None:
    """End a box that did not start; a warden ends its box, and itself, when we hang up."""
    control.close()
    if supervised:
        with suppress(subprocess.TimeoutExpired):
            outer.wait(START_TIMEOUT_S)
    outer.kill()
    outer.wait()
