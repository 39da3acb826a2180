"""Starts a box's first process and shakes hands with it; `inside` is the other half."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass

from harness.confine import bubblewrap
from harness.confine.inside import GO, READY, Spec
from harness.confine.interpreter import INSIDE, python
from harness.confine.policy import Policy
from harness.contract import HarnessError

PATIENCE = 30.0  # seconds to make a box: some 0.05, many more where the cores are starved


@dataclass(frozen=True, slots=True)
class Started:
    """A box whose program has just been started, and the handles on it.

    `outer` is our child and `outer_end` readable when it ends, which is when the first process
    does. `init` is readable when all of the box is dead (at tier 0: the same as `outer_end`).
    `watched` are the box's own directories as `inside` names them (at tier 0: none), `output` is
    the pipe of what it prints, `at` the time of its exec.
    """

    outer: subprocess.Popen[bytes]
    outer_end: int
    init: int
    watched: tuple[int, ...]
    output: int
    control: socket.socket
    at: float

    def refusal(self) -> str:
        """Return why exec was refused, once the box is dead; empty where it was not."""
        return self.control.recv(4096).decode(errors="replace")

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        for number in {self.outer_end, self.init, self.output, *self.watched}:
            os.close(number)
        self.control.close()


def launch(policy: Policy, argv: list[str], spec: Spec) -> Started:
    """Make the box, hand `spec` to its first process and return as that becomes the program.

    Raises HarnessError where the box cannot be made.
    """
    with ExitStack() as failed:
        control, theirs = socket.socketpair()
        failed.enter_context(control)
        output, output_end = _pipe(failed)
        info, info_end = _pipe(failed)
        walls = bubblewrap.command(policy, argv, info_end) if policy.tier else []
        outer = subprocess.Popen(
            [*walls, *python(INSIDE, str(theirs.fileno()))],
            stdin=subprocess.DEVNULL,
            stdout=output_end,
            stderr=output_end,
            env={},
            pass_fds=(theirs.fileno(), info_end, *policy.fds),
            start_new_session=True,
        )
        failed.callback(_end, outer)
        theirs.close()
        os.close(output_end)
        os.close(info_end)
        try:
            told = json.loads(_read_all(info)) if policy.tier else {"child-pid": outer.pid}
            watched = _greeted(control)
            init = os.pidfd_open(told["child-pid"])
            failed.callback(os.close, init)
            _instruct(control, spec)
        except (OSError, ValueError) as error:
            said = os.read(output, 4096).decode(errors="replace").strip()
            raise HarnessError(f"a box did not start ({error}): {said}") from error
        box = Started(
            outer, os.pidfd_open(outer.pid), init, watched, output, control, time.monotonic()
        )
        failed.pop_all()
    os.close(info)
    return box


def _pipe(failed: ExitStack) -> tuple[int, int]:
    """Return the two ends of a pipe; the first is closed with `failed`."""
    ours, theirs = os.pipe()
    failed.callback(os.close, ours)
    return ours, theirs


def _end(outer: subprocess.Popen[bytes]) -> None:
    outer.kill()
    outer.wait()


def _read_all(number: int) -> bytes:
    with open(number, "rb", closefd=False) as file:
        return file.read()


def _greeted(control: socket.socket) -> tuple[int, ...]:
    """Wait for the first sign and return the directories that come with it."""
    control.settimeout(PATIENCE)
    said, watched, _, _ = socket.recv_fds(control, len(READY), 8)
    if said != READY:
        raise ConnectionError("no first sign")
    return tuple(watched)


def _instruct(control: socket.socket, spec: Spec) -> None:
    """Send the spec and wait for the sign that it is in force."""
    control.sendall(json.dumps(dataclasses.asdict(spec)).encode())
    control.shutdown(socket.SHUT_WR)
    if control.recv(len(GO)) != GO:
        raise ConnectionError("no sign before exec")
