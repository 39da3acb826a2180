"""Starts a sandbox's program and hands it the spec; `guest.init` is the other half."""

from __future__ import annotations

import json
import marshal
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.contract import HarnessError, SuspectError
from harness.sandbox.backends.interpreter import guest_argv
from harness.sandbox.fds import readable
from harness.sandbox.guest.init import GIVEN, GO, READY
from harness.sandbox.monitor.control_group import ControlGroup
from harness.sandbox.monitor.process_trees import pid_of

if TYPE_CHECKING:
    from harness.sandbox.guest.limits import GuestSpec

START_TIMEOUT_S = 30.0  # a start takes 0.05 s, much longer where the cores are starved


@dataclass(slots=True)
class Started:
    """A program that has just started in its sandbox, and the handles on it.

    outer: our child process, None where it is the zygote's
    end: descriptor that becomes readable when the program ends; -1 outside Linux
    init: descriptor that becomes readable when the whole sandbox is dead; -1 without namespaces
    handles: the first process and the directories that the spec asks for, or the supervisor
    control: socket on which the first process reports
    at: time of the program's exec, in seconds of `time.monotonic`
    supervised: whether a supervisor reports instead
    cpu_seconds: its CPU time and that of the descendants it reaped, once `code` has read the report
        of a zygote's copy or a supervisor
    """

    outer: subprocess.Popen[bytes] | None
    end: int
    init: int
    handles: tuple[int, ...]
    control: socket.socket
    at: float
    supervised: bool = False
    cpu_seconds: float | None = None

    def ended(self, wait: float) -> bool:
        """Return whether the program has ended, after waiting at most `wait` seconds for it."""
        if self.end >= 0 or self.outer is None:
            return readable(self.end, wait)
        try:
            self.outer.wait(wait)
        except subprocess.TimeoutExpired:
            return False
        return True

    def code(self) -> int:
        """Return the program's exit status, negative for a signal, once the sandbox is dead.

        Raises HarnessError where the program could not be started.
        """
        code = self.outer.wait() if self.outer else 0
        report = self.control.recv(4096).decode(errors="replace").partition("\n")[0]
        status, _, used = report.partition(" ")
        if status.isdigit():
            self.cpu_seconds = float(used)
            return os.waitstatus_to_exitcode(int(status))
        if report:
            raise HarnessError(f"a sandbox could not start its program: {report}")
        if self.supervised:
            raise SuspectError("a sandbox's supervisor died before its sandbox")
        return code

    @classmethod
    def from_zygote(
        cls,
        outer: subprocess.Popen[bytes] | None,
        init: int,
        handles: tuple[int, ...],
        control: socket.socket,
    ) -> Started:
        """Return the program of a zygote's copy that starts now; `control` reports its end."""
        return cls(outer, os.dup(control.fileno()), init, handles, control, time.monotonic())

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (self.end, self.init, *self.handles):
            if number >= 0:
                os.close(number)
        self.control.close()


def launch(spec: GuestSpec, output: int) -> Started:
    """Start a program from scratch, hand it `spec`, and return when it becomes the program.

    It prints to the descriptor `output`. Raises HarnessError where it does not start.
    """
    supervised = spec["supervisor"] is not None
    with ExitStack() as failed:
        control, theirs = socket.socketpair()
        failed.enter_context(control)
        with theirs:
            outer = subprocess.Popen(
                guest_argv("init", str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={},
                pass_fds=(theirs.fileno(), *spec["fds"]),
                start_new_session=True,
            )
            failed.callback(_abort, outer, control, supervised=supervised)
        handles = handshake(control, spec)
        end = os.pidfd_open(outer.pid) if sys.platform == "linux" else -1
        failed.pop_all()
    return Started(outer, end, -1, handles, control, time.monotonic(), supervised)


def init_handle(report: bytes) -> int:
    """Return a pidfd of the first process, from bubblewrap's report.

    Raises HarnessError where there is no such process.
    """
    try:
        return os.pidfd_open(json.loads(report)["child-pid"])
    except (ValueError, ProcessLookupError) as error:
        raise HarnessError("a sandbox could not be made") from error


def handshake(
    control: socket.socket,
    spec: GuestSpec,
    given: Sequence[int] = (),
    group: ControlGroup | None = None,
) -> tuple[int, ...]:
    """Hand over `spec`, wait until it is in force, and return the descriptors it asks for.

    A zygote's copy gets the descriptors `given` first: for its output, and those its program keeps;
    it is moved to `group` before. Raises HarnessError where the other side fails or does not answer
    in time.
    """
    for handle in _receive(control, READY):
        if group is not None:
            group.add(int(pid_of(handle)))
        os.close(handle)
    with _starting():
        if given:
            socket.send_fds(control, [GIVEN], given)
        control.sendall(marshal.dumps(dict(spec)))
        control.shutdown(socket.SHUT_WR)
    return _receive(control, GO)


def _receive(control: socket.socket, word: bytes) -> tuple[int, ...]:
    with _starting():
        control.settimeout(START_TIMEOUT_S)
        message, handles, _, _ = socket.recv_fds(control, len(word), 64, socket.MSG_WAITALL)
    if message != word:
        raise HarnessError("a sandbox did not start: its first process ended")
    return tuple(handles)


@contextmanager
def _starting() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HarnessError(f"a sandbox did not start: {error}") from error


def _abort(outer: subprocess.Popen[bytes], control: socket.socket, *, supervised: bool) -> None:
    """Kill a sandbox that did not start; a supervisor ends itself when `control` closes."""
    control.close()
    if supervised:
        with suppress(subprocess.TimeoutExpired):
            outer.wait(START_TIMEOUT_S)
    outer.kill()
    outer.wait()
