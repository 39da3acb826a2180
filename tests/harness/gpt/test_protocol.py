"""Sandboxes that break the protocol of questions and answers."""

import errno
import fcntl
import math
import os
import select
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.contract import DisturbedError, HarnessError, Slice
from harness.sandbox import run
from harness.tasks import gpt
from harness.tasks.base import InvalidError
from tests.support.gpt import CONTEXT, VOCAB, beginning, honest_model, sandbox

F_SEAL_FUTURE_WRITE = 0x10


def _ends_after(steps):
    def behave(side):
        for _ in range(steps):
            side.say()

    return behave


def _dies_unasked(side):
    """Answer before it is asked, and end once it is: what it was told is never read."""
    side.ready()
    side.say()
    select.select([side.channel], [], [])


def _answers_once(side):
    side.ready()
    next(side.asked())
    side.say()


def _fills(value):
    return lambda: lambda tokens: np.full((*tokens.shape, VOCAB), value)


def _descriptors():
    names = [*Path("/proc/self/fd").iterdir()]
    return {path for path in names if path.is_symlink()}  # not the listed folder's own


ENDINGS = {
    "not imported": (_ends_after(1), "entry file could not be imported"),
    "not built": (_ends_after(2), "build[(][)] failed"),
    "not loaded": (_ends_after(3), "do not fit what build"),
    "failed at once": (_ends_after(4), "forward must take int64 tokens"),
    "failed later": (_answers_once, "forward must take int64 tokens"),
    "failed unasked": (_dies_unasked, "forward must take int64 tokens"),
    "hung": (lambda side: side.say() or "deadline", "took more than 9 s"),
    "too large": (lambda side: side.say() or "memory", "held more than 4096 MiB"),
    "trains": (lambda side: side.say() or "cpu", "took more time than building it and answering"),
    "nan": (lambda side: side.serve(_fills(np.nan)()), "not finite"),
    "infinity": (lambda side: side.serve(_fills(np.inf)()), "not finite"),
}


@pytest.mark.parametrize(("behave", "reason"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_sandbox_that_does_not_answer_is_invalid_and_the_reason_is_one_line(
    model, text, behave, reason
):
    """The reason says how far it came, and quotes nothing that the sandbox printed."""
    descriptors = _descriptors()
    with pytest.raises(InvalidError, match=reason) as caught:
        gpt.bits.score(model, text, sandbox(behave), 9)
    assert "\n" not in str(caught.value)
    assert _descriptors() <= descriptors  # others may be collected meanwhile


def _limits(model, text):
    """Return the CPU and wall time allowed to the first answer, and to all others."""
    seen = []

    def behave(side):
        side.ready()
        answer = honest_model()
        for tokens, _ in side.asked():
            seen.append((side.policy.cpu.limit, side.policy.cpu.until))
            os.pwrite(side.memory, answer(tokens).tobytes(), 0)
            side.say()

    gpt.bits.score(model, text, sandbox(behave), 9)
    assert len(set(seen[1:])) == 1
    return seen[:2]


def test_what_may_be_computed_before_the_first_answer_is_a_small_share_of_the_budget(model, text):
    """On a CPU by its CPU time, of 60 s; on a GPU, which computes alone, by wall time too."""
    on_cpu, _ = _limits(model, text)
    assert on_cpu == (pytest.approx(1.1), math.inf)
    on_gpu = replace(model, trial=replace(model.trial, slice=Slice("gpu0", "cuda")))
    first, others = _limits(on_gpu, text)
    assert first == (pytest.approx(6.2), pytest.approx(6.2))
    assert others[1] == math.inf


def test_a_harness_that_fails_is_not_the_candidates_fault(model, text):
    """What confine raises comes through."""

    def confine(policy, argv, log):
        raise HarnessError("no processes left")

    with pytest.raises(HarnessError, match="no processes left"):
        gpt.bits.score(model, text, confine, 9)


@pytest.mark.parametrize("killed", ["", "deadline", "memory"])
def test_a_sandbox_that_ends_before_the_genome_is_not_the_candidates_fault(model, text, killed):
    """Whatever it died of: nothing of the candidate had run."""
    with pytest.raises(HarnessError, match="ended before it could import torch"):
        gpt.bits.score(model, text, sandbox(lambda side: killed), 9)


def test_the_size_of_the_shared_memory_is_sealed(model, text):
    """A sandbox can neither shrink nor grow the memory that answers are read from."""
    refused = []

    def behave(side):
        size = os.fstat(side.memory).st_size
        for size_bytes in (0, size - 1, size + 1):
            with pytest.raises(PermissionError):
                os.truncate(side.memory, size_bytes)
            refused.append(size_bytes)
        side.serve(honest_model())

    gpt.bits.score(model, text, sandbox(behave), 9)
    assert len(refused) == 3


def test_no_sandbox_can_make_our_writes_fail(model, text):
    """Neither a seal of its own nor a flag on its descriptor reaches what questions are written to.

    A failed write was void once, and a candidate could choose which of its scores counted.
    """
    refused = []

    def behave(side):
        for seal in (fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK, F_SEAL_FUTURE_WRITE):
            with pytest.raises(PermissionError):
                fcntl.fcntl(side.memory, fcntl.F_ADD_SEALS, seal)
            refused.append(seal)
        side.ready()
        model = honest_model()
        for tokens, _ in side.asked():
            fcntl.fcntl(side.memory, fcntl.F_SETFL, 0)
            os.pwrite(side.memory, model(tokens).tobytes(), 0)
            fcntl.fcntl(side.memory, fcntl.F_SETFL, os.O_APPEND)
            side.say()

    gpt.bits.score(model, text, sandbox(behave), 9)
    assert len(refused) == 3


@pytest.mark.parametrize(
    ("number", "blamed"), [(errno.EPERM, InvalidError), (errno.ENOMEM, OSError)]
)
def test_an_error_of_the_talk_is_the_candidates_unless_it_is_the_machines(
    model, text, monkeypatch, number, blamed
):
    """The candidate has hold of the other ends; the machine's memory it has not."""
    error = OSError(number, "")

    def fail(*_):
        raise error

    monkeypatch.setattr(gpt.logits.os, "pwrite", fail)
    with pytest.raises(blamed):
        gpt.bits.score(model, text, sandbox(lambda side: side.serve(honest_model())), 9)


def test_cpu_time_is_metered_from_the_candidates_first_line(model, text):
    """Before it nothing is counted: to import torch is not the candidate's doing."""
    limits = []

    def behave(side):
        limits.append(side.policy.cpu.limit)
        side.policy.cpu.used = 7.0
        side.serve(honest_model())
        limits.append(side.policy.cpu.limit)

    gpt.bits.score(model, text, sandbox(behave), 9)
    assert limits[0] == math.inf
    assert 7 < limits[1] < 7 + 5 + model.trial.rung.seconds


def test_a_file_in_the_place_of_sealed_memory_may_be_cut_without_harm(model, text, monkeypatch):
    """Where memory cannot be sealed a short answer is invalid, and reading it never faults."""
    monkeypatch.setattr(gpt.logits.sys, "platform", "darwin")

    def behave(side):
        side.ready()
        next(side.asked())
        os.truncate(side.memory, 5)
        side.say()

    with pytest.raises(InvalidError, match="truncated the memory"):
        gpt.bits.score(model, text, sandbox(behave), 9)


HOSTILE = {
    "hangs": (
        "import time; os.write(int(argv['--channel']), b'.'); time.sleep(60)",
        "took more than 1 s",
    ),
    "closes the channel, then hangs": (
        "import time; c = int(argv['--channel']); os.write(c, b'.'); os.close(c); time.sleep(60)",
        "took more than 1 s",
    ),
}


@pytest.mark.sandbox
@pytest.mark.parametrize(("program", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_sandbox_is_ended_and_invalid(model, text, program, reason):
    """In the real sandbox: killed at its deadline, with a reason of one line."""
    with pytest.raises(InvalidError, match=reason):
        gpt.bits.score(model, text, _runs(program), 1)


@pytest.mark.sandbox
def test_a_model_that_is_killed_while_it_is_scored_is_void(model, text):
    """By itself or by the kernel's OOM killer: how often it may be is counted elsewhere."""
    program = "os.write(int(argv['--channel']), b'.'); os.kill(os.getpid(), 9)"
    with pytest.raises(DisturbedError, match="SIGKILL ended it"):
        gpt.bits.score(model, text, _runs(program), 1)


def _runs(program):
    """A confine whose sandbox runs `program`, which knows the true command line as `argv`."""

    def confine(policy, argv, log):
        options = dict(pairwise(argv))
        line = [sys.executable, "-I", "-S", "-c", f"import os\nargv = {options}\n{program}"]
        return run(replace(policy, seconds=1.0), line, log)

    return confine


_DEED = (
    st.tuples(st.just("say"), st.integers(1, 70).map(lambda n: b"." * n) | st.binary(max_size=9))
    | st.tuples(st.just("listen"), st.integers(1, 40))
    | st.tuples(st.just("write"), st.binary(max_size=64), st.integers(0, 7 * CONTEXT * VOCAB * 4))
    | st.tuples(st.just("cut"), st.integers(0, 1 << 20))
    | st.tuples(st.just("fill"), st.integers(0, 2**32 - 1))
)


def _does(deeds):
    """A sandbox that takes the given actions and ends; it ignores what is refused."""

    def behave(side):
        side.say()  # the runner's own report, before any code of the candidate runs
        os.set_blocking(side.channel, False)
        whole = side.rows * side.context * side.vocab
        for deed, *arguments in deeds:
            with suppress(OSError):
                if deed == "say":
                    os.write(side.channel, arguments[0])
                elif deed == "listen":
                    os.read(side.channel, arguments[0])
                elif deed == "write":
                    os.pwrite(side.memory, *arguments)
                elif deed == "cut":
                    os.truncate(side.memory, arguments[0])
                else:
                    os.pwrite(side.memory, np.full(whole, arguments[0], np.uint32).tobytes(), 0)

    return behave


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_DEED, max_size=12))
def test_whatever_a_sandbox_does_its_model_has_finite_costs_or_is_invalid(model, text, deeds):
    """Any bytes on the channel and in the memory: no other error, and one line."""
    try:
        cost, _ = gpt.bits.score(model, beginning(text, 30), sandbox(_does(deeds)), 9)
    except InvalidError as error:
        cost, reason = np.zeros(1), str(error)
    else:
        reason = ""
    assert np.isfinite(cost).all() and (cost >= 0).all()
    assert "\n" not in reason


@given(st.binary(min_size=4 * VOCAB, max_size=4 * VOCAB), st.integers(0, VOCAB - 1))
def test_any_bytes_are_logits_that_cost_something_or_invalid(raw, target):
    """Not a number, infinity and what overflows are refused or count as what they say."""
    logits = np.frombuffer(raw, np.float32)[None]
    try:
        cost = gpt.bits.bits(logits, np.array([target], np.int32))
    except InvalidError:
        assert not np.isfinite(logits).all()
    else:
        assert np.isfinite(logits).all()
        assert np.isfinite(cost).all() and (cost >= 0).all()


@pytest.mark.sandbox
def test_a_sandbox_that_says_yes_to_everything_gains_nothing(model, text):
    """It is taken at its word: what stood in the memory, all zeros, forecasts nothing."""
    flood = "while True: os.write(int(argv['--channel']), b'.' * 65536)"
    cost, _ = gpt.bits.score(model, text, _runs(flood), 1)
    assert (cost == math.log2(VOCAB)).all()
