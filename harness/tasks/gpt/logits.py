"""Client of a genome's model in a sandbox of its own: rows of tokens go in, logits come out.

No code of the candidate runs here. The sandbox (harness/runners/gpt_logits.py) and this process
share one piece of memory of sealed size and take turns over a socket. We read the memory by
`preadv`, which copies and cannot fault, and never read it twice. The end of the sandbox is the only
deadline: the socket then tells us that the other end is closed.

Not covered:
- a model that trains on before its first answer, the same in every sandbox, by text that its
  weights bring along: it gains START_S and START_SHARE of training, 0.6 s in a trial of 10 s, and
  up to twice that where others have half of the core or more;
- outside Linux the memory is an unlinked file without seals; a sandbox that truncates it is caught
  by its short answer, one that extends it is held by its limit on file sizes.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contract import HarnessError, Trial
from harness.sandbox import python_argv
from harness.sandbox.policy import CpuAllowance, Exit, SandboxPolicy
from harness.tasks.base import RUNNERS, Confine, InvalidError

Tokens = NDArray[np.int32]
Logits = NDArray[np.float32]

Take = Callable[[int, Logits], None]
"""`take(i, logits)` receives the answer to question i, valid only during the call."""

BATCH_BYTES = 1 << 22
"""Size of the answers to one question, unless a single row is larger. On one core of a CPU with
1 MiB of cache the seed answers 41,000 tokens in 1.1 s in batches of 2 to 4 MiB, and in 1.8 s in
batches of 32."""

_STEPS = (
    (HarnessError, "a sandbox for scoring ended before it could import torch"),
    (InvalidError, "its entry file could not be imported for scoring"),
    (InvalidError, "build() failed when called for scoring"),
    (InvalidError, "the weights it left do not fit what build() returns"),
)
"""The error for each step of the start-up that the sandbox does not reach."""


@dataclass(frozen=True, slots=True)
class ScoredModel:
    """A genome's model as a sandbox can rebuild it: the trial's source and the frozen weights."""

    trial: Trial
    weights: Path
    vocab: int
    context: int

    @property
    def rows(self) -> int:
        """The number of rows of a question; each is answered by context x vocab float32."""
        return max(1, BATCH_BYTES // (4 * self.context * self.vocab))


@dataclass(frozen=True, slots=True)
class Question:
    """Rows of tokens to forecast.

    tokens: int32[model.rows, length], length <= context
    at: None for the logits of all positions, float32[rows, length, vocab], or int32[rows] for those
        of one position a row, float32[rows, vocab]
    """

    tokens: Tokens
    at: Tokens | None = None

    def shape(self, vocab: int) -> tuple[int, ...]:
        """Return the shape of the answer."""
        return (*(self.tokens if self.at is None else self.at).shape, vocab)


START_S, START_SHARE = 0.5, 0.01
"""CPU time to import the entry file, build the model, load its weights and answer once, with a
share of the budget. What trains before its first answer gets no further in it; what trains later
answers the audit otherwise. At a load of 20 on two cores the seed took 0.03 s, 0.1 at depth 4, 0.4
at depth 8 with a budget of 300 s; torch is imported already."""

SLOW_START_S, SLOW_START_SHARE = 5.0, 0.02
"""The same on other devices, whose libraries start; there it bounds the wall time too, since they
compute while no CPU does (a guess, not measured on such a device). And without a sandbox, where
torch's compiler, which optimizers need, is not imported yet."""

ANSWERING_SHARE = 0.5
"""CPU time for all answers, as a share of the budget on every core of the slice, with ANSWERING_S.
The seed takes 4 % of it for a score, and again for an audit, 6 % at depth 8 on a busy machine."""

ANSWERING_S = 5.0

_MACHINE = (errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE)
"""Errors of a talk that no candidate can cause; every other one is by its hand."""


def ask(  # noqa: PLR0913 - what a talk needs
    model: ScoredModel,
    questions: Sequence[Question],
    confine: Confine,
    seconds: float,
    take: Take,
    *,
    effort: float = 1.0,
) -> float:
    """Ask the model `questions` in a fresh sandbox and pass each answer to `take`.

    It may use `effort` times the CPU time that answers usually may. Returns the seconds until the
    first question. Raises InvalidError if the sandbox does not answer everything within `seconds`
    of its start, HarnessError if it ended before it ran any code of the candidate.
    """
    called = time.monotonic()
    ours, theirs = socket.socketpair()
    cpu = CpuAllowance()
    answering = ANSWERING_S + ANSWERING_SHARE * model.trial.rung.seconds * max(
        1, len(model.trial.slice.cores)
    )
    with ours, theirs, _memory(model) as memory, ThreadPoolExecutor(1) as pool:
        talk = pool.submit(_converse, model, questions, ours, memory, cpu, effort * answering, take)
        try:
            with _same_file(memory) as given:
                ended = confine(*_launch(model, seconds, theirs.fileno(), given, cpu))
        finally:
            theirs.close()  # wakes `talk` if it still waits
        if not isinstance(talk.exception(), HarnessError):
            _check(ended, seconds, model.trial.rung.memory_mib)
        return talk.result() - called


@contextmanager
def _same_file(memory: int) -> Iterator[int]:
    """Yield a descriptor whose flags (O_APPEND) are not ours: the sandbox can change its own."""
    if sys.platform != "linux":
        yield memory
        return
    number = os.open(f"/proc/self/fd/{memory}", os.O_RDWR)
    try:
        yield number
    finally:
        os.close(number)


def _launch(
    model: ScoredModel, seconds: float, channel: int, memory: int, cpu: CpuAllowance
) -> tuple[SandboxPolicy, list[str], Path]:
    trial = model.trial
    policy = SandboxPolicy(
        slice=trial.slice,
        seconds=seconds,
        memory_mib=trial.rung.memory_mib,
        read={"/genome": Path(trial.genome), "/weights": model.weights},
        late=("/genome", "/weights"),
        fds=(channel, memory),
        kind=trial.sandbox,
        bare=trial.slice.kind == "cpu",  # CUDA loads libraries when they are first used
        cpu=cpu,
    )
    numbers = {
        "share": trial.slice.share,
        "vocab": model.vocab,
        "context": model.context,
        "depth": trial.rung.depth,
        "rows": model.rows,
        "channel": channel,
        "memory": memory,
    }
    flags = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    paths = ["--entry", f"/genome/{trial.entry}", "--weights", "/weights"]
    program = python_argv(RUNNERS / "gpt_logits.py", *paths, "--device", trial.slice.kind, *flags)
    return policy, program, Path(trial.scratch) / trial.id / "score.log"


def _check(ended: Exit, seconds: float, memory_mib: int) -> None:
    ended.check_undisturbed()
    if ended.killed == "deadline":
        raise InvalidError(f"scoring its model took more than {seconds:g} s")
    if ended.killed == "cpu":
        raise InvalidError("scoring its model took more time than building it and answering does")
    if ended.killed == "memory":
        raise InvalidError(f"its model held more than {memory_mib} MiB when it was scored")
    if ended.killed == "disk":
        raise InvalidError("its model wrote more files than a sandbox may hold when it was scored")


def _converse(  # noqa: PLR0913, PLR0917 - both ends of a talk
    model: ScoredModel,
    questions: Sequence[Question],
    ours: socket.socket,
    memory: int,
    cpu: CpuAllowance,
    answering: float,
    take: Take,
) -> float:
    """Take turns with the sandbox until all is answered; return the time of the first question.

    Raises InvalidError for what the candidate did or may have done, HarnessError for the rest.
    """
    room = np.empty(model.rows * model.context * model.vocab, np.float32)
    with ours:  # closing our end is what tells the sandbox to end
        for step, (fault, reason) in enumerate(_STEPS):
            _wait(ours, fault, reason)
            if not step:  # the candidate's code runs from now on
                cpu.allow(*_start_limits(model.trial))
        began = time.monotonic()
        for i, question in enumerate(questions):
            answer = room[: math.prod(question.shape(model.vocab))]
            with _their_hand():
                _ask_one(model, question, ours, memory, answer)
            if not i:
                cpu.allow(answering)
            take(i, answer.reshape(question.shape(model.vocab)))
    return began


def _start_limits(trial: Trial) -> tuple[float, float]:
    """Return the CPU time and the wall time that a sandbox may take to its first answer."""
    on_cpu, seconds = trial.slice.kind == "cpu", trial.rung.seconds
    if on_cpu and trial.sandbox != "none":
        return START_S + START_SHARE * seconds, math.inf
    slow = SLOW_START_S + SLOW_START_SHARE * seconds
    return slow, math.inf if on_cpu else slow


def _ask_one(
    model: ScoredModel, question: Question, ours: socket.socket, memory: int, answer: Logits
) -> None:
    """Put a question into the memory, give the turn, and read the answer."""
    os.pwrite(memory, _encoded(question), 4 * model.rows * model.context * model.vocab)
    _give_turn(question, ours, model)
    if os.preadv(memory, [answer.data], 0) != answer.nbytes:
        raise InvalidError("its model truncated the memory that answers are read from")


@contextmanager
def _their_hand() -> Iterator[None]:
    """Blame the candidate for errors of the talk: it has hold of the other ends."""
    try:
        yield
    except OSError as error:
        if error.errno in _MACHINE:
            raise
        raise InvalidError("its model broke what answers are read from") from error


def _encoded(question: Question) -> bytes:
    """Return the bytes of a question, as they are written after the space for the answer."""
    at = question.at
    return question.tokens.tobytes() + (b"" if at is None else at.tobytes())


def _give_turn(question: Question, ours: socket.socket, model: ScoredModel) -> None:
    """Give the sandbox its turn. Raises InvalidError if it does not answer."""
    length = question.tokens.shape[1]
    with suppress(ConnectionError):  # it died; _wait raises the error
        ours.sendall(struct.pack("<i?", length, question.at is not None))
    reason = (
        f"its model failed on rows of {length} tokens: forward must take int64 tokens [B, T], any "
        f"T <= {model.context}, and return logits [B, T, {model.vocab}]"
    )
    _wait(ours, InvalidError, reason)


def _wait(ours: socket.socket, fault: type[Exception], reason: str) -> None:
    """Wait for the sandbox's byte that says a step is done; raise `fault` if it is dead."""
    try:
        byte = ours.recv(1)
    except ConnectionResetError:
        byte = b""
    if not byte:
        raise fault(reason)


@contextmanager
def _memory(model: ScoredModel) -> Iterator[int]:
    """Yield a descriptor of shared memory, of fixed size, for one question and its answer."""
    size = 4 * model.rows * (model.context * (model.vocab + 1) + 1)
    if sys.platform == "linux":
        memory = os.memfd_create("answers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        memory = _unlinked_file()
    try:
        os.truncate(memory, size)
        if sys.platform == "linux":
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
        yield memory
    finally:
        os.close(memory)


def _unlinked_file() -> int:
    memory, name = tempfile.mkstemp()
    Path(name).unlink()
    return memory
