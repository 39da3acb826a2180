"""The relay of the function task against processes that send anything at all."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.problem import wire
from harness.sandbox import Exit
from harness.tasks.base import InvalidError
from harness.tasks.function.relay import EndedError, Genome, GenomeError, Peer, converse


class Dead:
    """Stands in for a sandbox whose process has sent what it had to say and ended."""

    def ended(self, wait):
        return True

    def end(self):
        return Exit(0, "", 0.0, 0.0, 0.0)

    def cpu_seconds(self):
        return 0.0

    def lost_seconds(self):
        return 0.0


def sending(data):
    """Return a peer whose process sends `data` and ends."""

    @contextmanager
    def start(channel):
        os.write(channel, data)
        yield Dead()

    return Peer(start)


def frame(op, head=b"1", nonce=0):
    """Return the bytes of a frame."""
    return wire.HEADER.pack(nonce, op, 0, 0.0, len(head), 0) + head


STARTED, READY, VALUE = frame(wire.STARTED), frame(wire.READY), frame(wire.VALUE)
PIECES = st.sampled_from([STARTED, READY, VALUE, frame(wire.RAISED, b"\xff"), frame(255)])
SENT = st.lists(PIECES | st.binary(max_size=60), max_size=5).map(b"".join)


def import_and_call(genome):
    """Wait for a genome's import, then call it."""
    genome.await_import()
    genome.answer(wire.Frame.of(wire.CALL, None))


@given(SENT)
@example(STARTED + READY + VALUE)
@example(STARTED + frame(wire.RAISED, b"[" * 9000))
@example(STARTED + b"\xff" * wire.HEADER.size)
def test_what_a_genome_sends_unasked_is_its_failure(data):
    """It is never taken for an answer, and never raises anything else."""
    with sending(data) as peer:
        genome = Genome(peer, wire.CANDIDATE, 5.0, 64, 4.0)
        with pytest.raises((GenomeError, EndedError, wire.WireError)) as raised:
            import_and_call(genome)
    assert "\n" not in str(raised.value)


@given(SENT)
@example(frame(wire.CALL))
@example(frame(wire.RESULT))
def test_what_evaluate_sends_is_a_result_or_no_call(data):
    """A frame that is neither a result nor a call to a genome that exists ends the trial."""
    with sending(data) as peer:
        try:
            assert converse(peer, {}).op in {wire.RESULT, wire.FAULT}
        except (EndedError, InvalidError):
            return


@pytest.mark.parametrize("op", [wire.READY, wire.VALUE])
def test_the_first_frame_is_that_our_own_code_has_started(op):
    """A genome's code runs after that, so nothing else can come first."""
    with sending(frame(op)) as peer, pytest.raises(GenomeError, match="something other"):
        Genome(peer, wire.CANDIDATE, 5.0, 64, 4.0).await_import()
