"""Asks a genome's model, in a box of its own, for logits: rows of tokens go in, logits come out.

Nothing of the candidate runs here. The box (harness/runners/gpt_logits.py) and we share one piece
of
memory whose size is sealed, and take turns over a socket. We read the memory by `preadv`, which
copies and cannot fault, and never look at it twice. The box's death is the only deadline: our end
of the socket then tells that the other is closed.

Not covered: outside Linux the memory is an unlinked file without seals; a box that cuts it is
caught by its short answer, one that makes it larger is held by the box's limit on file sizes.
"""

from __future__ import annotations

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
from harness.sandbox.policy import Exit, SandboxPolicy
from harness.tasks.base import RUNNERS, Confine, InvalidError

Tokens = NDArray[np.int32]
Logits = NDArray[np.float32]

Take = Callable[[int, Logits], None]
"""`take(i, logits)` is lent the answer to the i-th question."""

BATCH = 1 << 22
"""Bytes of answers at once, where a row is not more: on one core of a CPU with 1 MiB of cache the
seed answers 41,000 tokens in 1.1 s in batches of 2 to 4 MiB, and in 1.8 s in batches of 32."""

_STEPS = (
    (HarnessError, "a box for scoring ended before it could import torch"),
    (InvalidError, "its entry file could not be imported for scoring"),
    (InvalidError, "build() failed when called for scoring"),
    (InvalidError, "the weights it left do not fit what build() returns"),
)
"""What it means that a box does not take each of its steps of getting ready."""


@dataclass(frozen=True, slots=True)
class ScoredModel:
    """A genome's model as a box can rebuild it: source, sealed weights and the three numbers."""

    trial: Trial
    weights: Path
    vocab: int
    context: int

    @property
    def rows(self) -> int:
        """Return how many rows a question has; each is answered by context x vocab float32."""
        return max(1, BATCH // (4 * self.context * self.vocab))


@dataclass(frozen=True, slots=True)
class Question:
    """Rows of tokens [model.rows, length <= context].

    They are answered with logits [rows, length, vocab]; where `at`, int32 [rows], names a position
    of each row, with those of that position alone, [rows, vocab].
    """

    tokens: Tokens
    at: Tokens | None = None

    def shape(self, vocab: int) -> tuple[int, ...]:
        """Return the shape of the answer."""
        return (*(self.tokens if self.at is None else self.at).shape, vocab)


def ask(
    model: ScoredModel, questions: Sequence[Question], confine: Confine, seconds: float, take: Take
) -> float:
    """Put `questions` to the model in a fresh box.

    Lends each answer to `take` and returns the seconds that passed until the first question was
    put. Raises InvalidError where the box gives no full answer within `seconds` from its start,
    HarnessError where it ended before it came to anything of the candidate's.
    """
    called = time.monotonic()
    ours, theirs = socket.socketpair()
    with ours, theirs, _memory(model) as memory, ThreadPoolExecutor(1) as pool:
        talk = pool.submit(_talk, model, questions, ours, memory, take)
        try:
            ended = confine(*_box(model, seconds, theirs.fileno(), memory))
        finally:
            theirs.close()  # whoever still listens hears the end
        if not isinstance(talk.exception(), HarnessError):
            _check(ended, seconds, model.trial.rung.memory_mib)
        return talk.result() - called


def _box(
    model: ScoredModel, seconds: float, channel: int, memory: int
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
    words = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    places = ["--entry", f"/genome/{trial.entry}", "--weights", "/weights"]
    program = python_argv(RUNNERS / "gpt_logits.py", *places, "--device", trial.slice.kind, *words)
    return policy, program, Path(trial.scratch) / trial.id / "score.log"


def _check(ended: Exit, seconds: float, memory_mib: int) -> None:
    if ended.killed == "deadline":
        raise InvalidError(f"scoring its model took more than {seconds:g} s")
    if ended.killed == "memory":
        raise InvalidError(f"its model held more than {memory_mib} MiB when it was scored")
    if ended.killed == "disk":
        raise InvalidError("its model wrote more files than a box may hold when it was scored")


def _talk(
    model: ScoredModel, questions: Sequence[Question], ours: socket.socket, memory: int, take: Take
) -> float:
    """Take turns with the box until all is answered; return when the first question was put."""
    room = np.empty(model.rows * model.context * model.vocab, np.float32)
    with ours:  # closing our end is what tells the box to end
        for fault, reason in _STEPS:
            _wait(ours, fault, reason)
        began = time.monotonic()
        for i, question in enumerate(questions):
            os.pwrite(memory, _said(question), 4 * model.rows * model.context * model.vocab)
            _give_turn(question, ours, model)
            shape = question.shape(model.vocab)
            answer = room[: math.prod(shape)]
            if os.preadv(memory, [answer.data], 0) != answer.nbytes:
                raise InvalidError("its model cut the memory that answers are read from")
            take(i, answer.reshape(shape))
    return began


def _said(question: Question) -> bytes:
    """Return a question as it is put behind the answers' place."""
    at = question.at
    return question.tokens.tobytes() + (b"" if at is None else at.tobytes())


def _give_turn(question: Question, ours: socket.socket, model: ScoredModel) -> None:
    """Give the box its turn; a box that is dead has had it."""
    length = question.tokens.shape[1]
    with suppress(ConnectionError):  # broken, or reset where it dies at this very moment
        ours.sendall(struct.pack("<i?", length, question.at is not None))
    reason = (
        f"its model failed on rows of {length} tokens: forward must take int64 tokens [B, T], any "
        f"T <= {model.context}, and return logits [B, T, {model.vocab}]"
    )
    _wait(ours, InvalidError, reason)


def _wait(ours: socket.socket, fault: type[Exception], reason: str) -> None:
    """Wait for the box to say that it is one step further; raise `fault` where it is dead."""
    try:
        said = ours.recv(1)
    except ConnectionResetError:
        said = b""
    if not said:
        raise fault(reason)


@contextmanager
def _memory(model: ScoredModel) -> Iterator[int]:
    """Yield a descriptor of memory for one question and its answer, of sealed size."""
    size = 4 * model.rows * (model.context * (model.vocab + 1) + 1)
    if sys.platform == "linux":
        memory = os.memfd_create("answers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        memory = _unlinked()
    try:
        os.truncate(memory, size)
        if sys.platform == "linux":
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        yield memory
    finally:
        os.close(memory)


def _unlinked() -> int:
    memory, name = tempfile.mkstemp()
    Path(name).unlink()
    return memory
