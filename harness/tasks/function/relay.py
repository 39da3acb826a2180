"""Relay of the function task: passes calls from evaluate.py to genomes, and takes the time.

Each of the three, evaluate.py, the candidate and the reference, runs in a sandbox of its own, with
a socket to this process and none to another. Of a genome's frame only the header is read here; its
data is passed on as bytes, to be decoded in the sandbox of evaluate.py.

A call's time runs from before the request is sent until all of the reply is here: decoding,
computing and encoding, whatever the genome's own clock says. A reply carries the nonce of its
request, so none can be sent ahead. The budget of a trial covers a genome's import and all of its
calls, less what others took of its cores; while evaluate.py computes, the genome's clock stands,
and so must the genome: CPU time that it uses between calls makes the trial invalid, since it could
slow the reference or work ahead.

Not covered:
- CPU time between calls below IDLE_CPU_S and its kin, which is why calls should take a second in
  all; that of children that end unreaped (SIGCHLD ignored) between two looks, which shows as
  foreign load; and that of all processes without a sandbox;
- results that a genome remembers from one call to the next: evaluate.py gives it fresh inputs, or
  calls `candidate.fresh()`.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from harness.contract import DisturbedError, Failure, one_line
from harness.problem import wire
from harness.sandbox.policy import Exit
from harness.tasks.base import InvalidError

IDLE_CPU_S, IDLE_CPU_SHARE, CALL_CPU_S, SPIN_CPU_S = 0.1, 0.01, 0.0005, 0.03
"""CPU time that a genome may use between calls: in seconds (the kernel counts in hundredths), as a
share of the time of its calls, in seconds a call, and in seconds a call for each core but one,
since threads of numerical libraries spin before they sleep."""

LOOK_S = 0.25
"""Seconds between two looks at what others have taken, while a reply is waited for."""

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

    def lost_seconds(self) -> float:
        """Return by how long others have made it wait so far."""


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


@dataclass(slots=True)
class CallClock:
    """The clock of one call, with `left` seconds of a budget: wall time less what others took.

    others: returns by how long they have made the genome wait so far
    max_wall: seconds of wall time after which the call says nothing
    wall, lost: what it has taken
    """

    others: Callable[[], float]
    left: float
    max_wall: float
    wall: float = 0.0
    lost: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _before: float = field(default=0.0)

    def __post_init__(self) -> None:
        self._before = self.others()

    def remaining(self) -> float:
        """Return how long to wait before asking again. Raises TimeoutError, DisturbedError."""
        self.stop()
        if self.wall > self.max_wall and self.lost > 0:
            raise DisturbedError(f"others kept a call waiting for {self.lost:.0f} s", "busy")
        remaining = self.left + self.lost - self.wall
        if remaining <= 0:
            raise TimeoutError
        return remaining

    def stop(self) -> None:
        """Take the time."""
        self.wall = time.monotonic() - self._began
        self.lost = min(self.wall, max(0.0, self.others() - self._before))


class Peer:
    """A sandbox and the socket to it; leaving the block ends it."""

    def __init__(self, start: StartWith) -> None:
        self._start, self._stack = start, ExitStack()
        self.running: RunningSandbox
        self._socket: socket.socket

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # closed at once where the sandbox does not start
            self._socket, theirs = socket.socketpair()
            stack.enter_context(self._socket).setblocking(False)
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

    def send(self, frame: wire.Frame, clock: CallClock | None = None) -> None:
        """Send a frame. Raises EndedError, and what `clock` raises."""
        sizes = len(frame.head), len(frame.body)
        header = wire.HEADER.pack(frame.nonce, frame.op, frame.target, frame.seconds, *sizes)
        try:
            for part in (header + frame.head, frame.body):
                rest = memoryview(part)
                while rest:
                    self._wait(select.POLLOUT, clock)
                    rest = rest[self._socket.send(rest) :]
        except ConnectionError:
            raise EndedError from None

    def receive(self, clock: CallClock | None = None) -> wire.Frame:
        """Return the next frame.

        Raises EndedError, WireError if it is too large, and what `clock` raises.
        """
        raw = self._exactly(wire.HEADER.size, clock)
        nonce, op, target, seconds, head, body = wire.HEADER.unpack(raw)
        wire.check_sizes(head, body)
        data = self._exactly(head, clock), self._exactly(body, clock)
        return wire.Frame(op, bytes(data[0]), data[1], target, seconds, nonce)

    def has_sent(self) -> bool:
        """Return whether data waits to be received. Raises EndedError."""
        try:
            waiting = self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionError:
            raise EndedError from None
        if not waiting:
            raise EndedError
        return True

    def _exactly(self, size: int, clock: CallClock | None) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            self._wait(select.POLLIN, clock)
            try:
                count = self._socket.recv_into(rest)
            except ConnectionError:
                count = 0
            if not count:
                raise EndedError
            rest = rest[count:]
        return data

    def _wait(self, event: int, clock: CallClock | None) -> None:
        """Wait until the socket can be used. Raises what `clock` raises."""
        poll = select.poll()
        poll.register(self._socket, event)
        while not poll.poll(1000 * min(LOOK_S, clock.remaining()) if clock else None):
            pass


@dataclass(slots=True)
class Genome:
    """A genome in its sandbox, and what its calls have taken so far.

    peer: its sandbox
    target: CANDIDATE or REFERENCE
    budget: seconds that its imports and calls may take together, by its clock: what others took of
        its cores is left out
    max_wall: wall time, in budgets, that they may take
    memory_mib: most memory that it may hold, for messages
    cores: CPU cores that it has
    spent: seconds that they have taken by its clock
    lost: seconds by which others made it wait
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
    max_wall: float
    cores: int = 1
    spent: float = 0.0
    lost: float = 0.0
    calls: int = 0
    idle_cpu: float = 0.0
    cpu: float = 0.0
    peak_mib: float = 0.0
    ended: Exit | None = None
    _seen_cpu: float | None = field(default=None)

    @property
    def wall(self) -> float:
        """Wall seconds of its imports and calls."""
        return self.spent + self.lost

    def await_import(self) -> None:
        """Wait until it is imported. Raises GenomeError, EndedError if no code of it has run."""
        self._step(wire.STARTED, None)
        try:
            with self._spending() as clock:
                self._step(wire.READY, clock)
        except EndedError:
            raise self._died("while it was imported") from None
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
        with self._spending() as clock:
            self.peer.send(call, clock)
            reply = self.peer.receive(clock)
        if reply.nonce != call.nonce or reply.op not in (wire.VALUE, wire.RAISED):
            raise self._failed("invalid", "it sent something other than the answer to a call")
        reply.seconds = clock.wall
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

    def end(self) -> Exit:
        """End it, if it has not ended by itself, and return how it ended."""
        if self.ended is None:
            self.cpu += self.peer.running.cpu_seconds() or 0.0
            self.ended = self.peer.running.end()
            self.peak_mib = max(self.peak_mib, self.ended.peak_mib)
        return self.ended

    def how_it_ended(self, when: str) -> str:
        """Return one line on the end of its process.

        Raises GenomeError if a limit ended it, DisturbedError if a signal of nobody's did.
        """
        by_itself = self.ended is None and self.peer.running.ended(END_WAIT_S)
        ended = self.end()
        if by_itself:
            ended.check_undisturbed()
        if ended.killed == "memory":
            raise self._failed("memory", f"held more than {self.memory_mib} MiB")
        if ended.killed == "disk":
            raise self._failed("crash", "wrote more files than a sandbox may hold")
        return f"its process ended (exit status {ended.code}) {when}"

    @contextmanager
    def _spending(self) -> Iterator[CallClock]:
        """Count a call's time. Raises GenomeError where the budget ends, DisturbedError."""
        left = self.budget - self.spent
        clock = CallClock(self.peer.running.lost_seconds, left, self.max_wall * self.budget)
        try:
            yield clock
        except TimeoutError:
            raise self._over_budget() from None
        finally:
            clock.stop()
            self.spent += clock.wall - clock.lost
            self.lost += clock.lost

    def _step(self, op: int, clock: CallClock | None) -> None:
        try:
            reply = self.peer.receive(clock)
        except wire.WireError as error:
            raise self._failed("crash", str(error)) from None
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
        told = reason if kind == "invalid" else ""
        return GenomeError(self.target, Failure(kind, reason, told))


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
        text = str(frame.value())
    except wire.WireError as error:
        text = str(error)
    return one_line(text, 300)
