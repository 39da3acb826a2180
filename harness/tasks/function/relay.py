"""Relay of the function task: passes calls from evaluate.py to genomes, and takes the time.

Each of the three, evaluate.py, the candidate and the reference, runs in a sandbox of its own, with
a socket to this process and none to another. Of a genome's frame only the header is read here; its
data is passed on as bytes, to be decoded in the sandbox of evaluate.py.

A call's time runs from before the request is sent until all of the reply is here: decoding,
computing and encoding, whatever the genome's own clock says. A reply carries the nonce of its
request, so none can be sent ahead. The budget of a trial covers a genome's import and all of its
calls; while evaluate.py computes, the genome's clock stands, and so must the genome: CPU time that
it uses between calls makes the trial invalid, since it could slow the reference or work ahead.

Not covered:
- CPU time between calls below IDLE_CPU_S and its kin, which is why calls should take a second in
  all; that of children that end unreaped (SIGCHLD ignored) between two looks, which shows as
  foreign load; and that of all processes without a sandbox;
- results that a genome remembers from one call to the next: evaluate.py gives it fresh inputs, or
  calls `candidate.fresh()`.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from harness.contract import Failure
from harness.problem import wire
from harness.sandbox.policy import Exit
from harness.tasks.base import InvalidError

IDLE_CPU_S, IDLE_CPU_SHARE, CALL_CPU_S, SPIN_CPU_S = 0.02, 0.01, 0.0005, 0.03
"""CPU time that a genome may use between calls: in seconds (the kernel counts in hundredths), as a
share of the time of its calls, in seconds a call, and in seconds a call for each core but one,
since threads of numerical libraries spin before they sleep."""

END_WAIT_S = 1.0
"""For a process whose stream has ended to end itself, so that its exit status is known."""


class RunningSandbox(Protocol):
    """A sandbox that runs, see `harness.sandbox.Running`."""

    def end(self) -> Exit:
        """End it and return how it ended."""

    def ended(self, wait: float) -> bool:
        """Return whether it has ended by itself."""

    def cpu_seconds(self) -> float | None:
        """Return its CPU time so far, None where it is not measured."""


StartWith = Callable[[int], AbstractContextManager[RunningSandbox]]
"""`start(channel)` makes a sandbox whose program keeps the descriptor `channel`."""


class EndedError(Exception):
    """A sandbox ended before it answered."""


class GenomeError(Exception):
    """A genome did what ends the trial.

    target: which genome
    failure: what it did
    """

    def __init__(self, target: int, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.target, self.failure = target, failure


class Peer:
    """A sandbox and the socket to it; leaving the block ends it."""

    def __init__(self, start: StartWith) -> None:
        self._start, self._stack = start, ExitStack()
        self.running: RunningSandbox
        self._socket: socket.socket

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # closed at once where the sandbox does not start
            self._socket, theirs = socket.socketpair()
            stack.enter_context(self._socket)
            with theirs:
                self.running = stack.enter_context(self._start(theirs.fileno()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """End the sandbox and start another."""
        self._stack.close()
        self.__enter__()

    def send(self, frame: wire.Frame, deadline: float | None = None) -> None:
        """Send a frame. Raises EndedError, TimeoutError at the `deadline`."""
        sizes = len(frame.head), len(frame.body)
        header = wire.HEADER.pack(frame.nonce, frame.op, frame.target, frame.seconds, *sizes)
        try:
            for part in (header + frame.head, frame.body):
                self._set_timeout(deadline)
                self._socket.sendall(part)
        except ConnectionError:
            raise EndedError from None

    def receive(self, deadline: float | None = None) -> wire.Frame:
        """Return the next frame. Raises EndedError, TimeoutError, WireError if it is too large."""
        raw = self._exactly(wire.HEADER.size, deadline)
        nonce, op, target, seconds, head, body = wire.HEADER.unpack(raw)
        wire.check_sizes(head, body)
        data = self._exactly(head, deadline), self._exactly(body, deadline)
        return wire.Frame(op, bytes(data[0]), data[1], target, seconds, nonce)

    def has_sent(self) -> bool:
        """Return whether data waits to be received. Raises EndedError."""
        self._socket.settimeout(0)
        try:
            waiting = self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionError:
            raise EndedError from None
        if not waiting:
            raise EndedError
        return True

    def _exactly(self, size: int, deadline: float | None) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            self._set_timeout(deadline)
            try:
                count = self._socket.recv_into(rest)
            except ConnectionError:
                count = 0
            if not count:
                raise EndedError
            rest = rest[count:]
        return data

    def _set_timeout(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


@dataclass(slots=True)
class Genome:
    """A genome in its sandbox, and what its calls have taken so far.

    peer: its sandbox
    target: CANDIDATE or REFERENCE
    budget: seconds that its imports and calls may take together
    memory_mib: most memory that it may hold, for messages
    cores: CPU cores that it has
    spent: seconds that they have taken
    calls: how many there were
    idle_cpu: CPU seconds that it used between calls
    cpu: CPU seconds of its ended processes
    peak_mib: most memory that it held
    ended: how its sandbox ended, None while it lives
    """

    peer: Peer
    target: int
    budget: float
    memory_mib: int
    cores: int = 1
    spent: float = 0.0
    calls: int = 0
    idle_cpu: float = 0.0
    cpu: float = 0.0
    peak_mib: float = 0.0
    ended: Exit | None = None
    _seen_cpu: float | None = field(default=None)

    def await_import(self) -> None:
        """Wait until it is imported. Raises GenomeError, EndedError if no code of it has run."""
        self._step(wire.STARTED, None)
        began = time.monotonic()
        try:
            self._step(wire.READY, began + self.budget - self.spent)
        except TimeoutError:
            raise self._over_budget() from None
        except EndedError:
            raise self._died("while it was imported") from None
        except wire.WireError as error:
            raise self._failed("crash", str(error)) from None
        finally:
            self.spent += time.monotonic() - began
        self._seen_cpu = self.peer.running.cpu_seconds()

    def answer(self, call: wire.Frame) -> wire.Frame:
        """Return the reply to a call, with the seconds that it took.

        Raises GenomeError, EndedError if it dies of its own, WireError if the reply is too large.
        """
        if self.ended is not None:
            raise EndedError
        self.check_idle()
        if self.peer.has_sent():
            raise self._failed("invalid", "it sent data before it was called")
        call.nonce = secrets.randbits(64)
        self.calls += 1
        began = time.monotonic()
        try:
            self.peer.send(call, began + self.budget - self.spent)
            reply = self.peer.receive(began + self.budget - self.spent)
        except TimeoutError:
            raise self._over_budget() from None
        finally:
            took = time.monotonic() - began
            self.spent += took
        if reply.nonce != call.nonce or reply.op not in (wire.VALUE, wire.RAISED):
            raise self._failed("invalid", "it sent something other than the answer to a call")
        reply.seconds = took
        self._seen_cpu = self.peer.running.cpu_seconds()
        return reply

    def restart(self) -> None:
        """Start it afresh. Raises what `await_import` raises."""
        self.end()
        self.peer.restart()
        self.ended, self._seen_cpu = None, None
        self.await_import()

    def check_idle(self) -> None:
        """Add up the CPU time that it used since its last call. Raises GenomeError at too much."""
        now = None if self.ended else self.peer.running.cpu_seconds()
        if now is not None and self._seen_cpu is not None:
            self.idle_cpu += max(0.0, now - self._seen_cpu)
        self._seen_cpu = now
        spinning = SPIN_CPU_S * max(0, self.cores - 1)
        allowed = self.calls * (CALL_CPU_S + spinning) + IDLE_CPU_SHARE * self.spent
        if self.idle_cpu > IDLE_CPU_S + allowed:
            used = f"used {self.idle_cpu:.2f} s of CPU time between calls"
            raise self._failed("invalid", f"it {used}: a call may leave nothing running")

    def end(self, wait: float = 0.0) -> Exit:
        """End it, unless it ends by itself within `wait` seconds, and return how it ended."""
        if self.ended is None:
            if wait:
                self.peer.running.ended(wait)
            self.cpu += self.peer.running.cpu_seconds() or 0.0
            self.ended = self.peer.running.end()
            self.peak_mib = max(self.peak_mib, self.ended.peak_mib)
        return self.ended

    def how_it_ended(self, when: str) -> str:
        """Return one line on the end of its process. Raises GenomeError if a limit ended it."""
        ended = self.end(END_WAIT_S)
        if ended.killed == "memory":
            raise self._failed("memory", f"held more than {self.memory_mib} MiB")
        if ended.killed == "disk":
            raise self._failed("crash", "wrote more files than a sandbox may hold")
        return f"its process ended (exit status {ended.code}) {when}"

    def _step(self, op: int, deadline: float | None) -> None:
        reply = self.peer.receive(deadline)
        if reply.op == wire.RAISED:
            raise self._failed("crash", text_of(reply))
        if reply.op != op:
            raise self._failed("invalid", "it sent something other than the answer to a call")

    def _died(self, when: str) -> GenomeError:
        return self._failed("crash", self.how_it_ended(when))

    def _over_budget(self) -> GenomeError:
        calls = f"{self.calls} call" + "s" * (self.calls != 1)
        reason = f"still running at the end of its {self.budget:g} s budget, after {calls}"
        return GenomeError(self.target, Failure("timeout", reason))

    def _failed(self, kind: Literal["crash", "invalid", "memory"], reason: str) -> GenomeError:
        return GenomeError(self.target, Failure(kind, reason))


def converse(evaluate: Peer, genomes: Mapping[int, Genome]) -> wire.Frame:
    """Pass calls of evaluate.py on to `genomes`, by target, until it ends; return its last frame.

    That is a RESULT or a FAULT. Raises EndedError where it ends without one, GenomeError,
    InvalidError where it sends anything else.
    """
    while True:
        try:
            frame = evaluate.receive()
        except wire.WireError as error:
            raise InvalidError(f"evaluate.py sent {error}") from None
        if frame.op in (wire.RESULT, wire.FAULT):
            return frame
        if frame.target not in genomes or frame.op not in (wire.CALL, wire.FRESH):
            raise InvalidError("evaluate.py sent what is no call")
        evaluate.send(_reply(genomes[frame.target], frame))


def _reply(genome: Genome, frame: wire.Frame) -> wire.Frame:
    """Return a genome's reply, or one that says why there is none."""
    try:
        if frame.op == wire.CALL:
            return genome.answer(frame)
        genome.restart()
    except EndedError:
        return wire.Frame.of(wire.ENDED, genome.how_it_ended("before it answered"))
    except wire.WireError as error:
        genome.end()  # what it goes on to send is lost
        return wire.Frame.of(wire.ENDED, str(error))
    return wire.Frame(wire.VALUE)


def text_of(frame: wire.Frame) -> str:
    """Return the text of a frame from an untrusted source as one printable line."""
    try:
        text = str(frame.value())[:1000]
    except wire.WireError as error:
        text = str(error)
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:300]
