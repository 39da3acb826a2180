"""The capped log: what it keeps of a long output, and what may be read of it as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.problem.numbers import read_numbers
from harness.sandbox.monitor import capped_log
from harness.sandbox.monitor.capped_log import CappedLog, whole_lines
from harness.trial import claims


def kept(folder, output, chunk=65_536):
    """Return the log of a program that wrote `output`."""
    with CappedLog.at(folder / "log") as log:
        for at in range(0, len(output), chunk):
            log.write(output[at : at + chunk])
    return (folder / "log").read_bytes()


@pytest.mark.parametrize("padding", range(17))
def test_a_long_honest_log_gives_the_metric_wherever_it_is_cut(tmp_path, padding):
    """The end of `train_loss: 0.5`, where the kept tail begins, is no `loss: 0.5`."""
    lines = b"train_loss: 0.5\n" * 100_000 + b"loss: 0.42\n"
    log = kept(tmp_path, b"x" * padding + b"\n" + lines)
    numbers = read_numbers(log, "loss")
    assert (numbers.metric, numbers.problem) == (0.42, "")
    assert numbers.claims == {"train_loss": 0.5}
    assert b" bytes left out]\n" in log


def test_a_claim_at_the_cut_is_read_whole_or_not_at_all(tmp_path):
    """`claim steps 12` may be the beginning of `claim steps 1234`."""
    head = b"#" * (capped_log.HEAD_BYTES - 16) + b"\n"
    log = kept(tmp_path, head + b"claim steps 1234\n" + b"#\n" * (1 << 20))
    assert b"claim steps 123\n" in log
    assert claims(log.decode()) == {}


@given(
    lines=st.lists(st.sampled_from(["loss: 1", "train_loss: 2", "", "x"]), max_size=40),
    ends=st.sampled_from(["\n", "\r", "\r\n"]),
    chunk=st.integers(1, 30),
)
def test_whole_lines_are_lines_that_were_written(tmp_path_factory, lines, ends, chunk):
    """Whatever was cut, in pieces of any size, with any ends of lines; uncut, it is all there."""
    output = "".join(line + ends for line in lines).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capped_log, "TAIL_BYTES", 60)
        path = tmp_path_factory.mktemp("log") / "log"
        with CappedLog.at(path) as log:
            log._head = 40
            for at in range(0, len(output), chunk):
                log.write(output[at : at + chunk])
        raw = path.read_bytes()
    seen = whole_lines(raw).decode().replace("\r", "\n").split("\n")
    assert set(seen) <= {*lines, ""}
    if b"left out" not in raw:
        assert whole_lines(raw) == output


def test_a_whole_line_at_the_cut_is_kept(tmp_path):
    """Where what was left out ends with a line, the first line of the tail is whole."""
    log = kept(tmp_path, b"loss: 1\n" * (1 << 18))
    assert b"left out" in log
    assert whole_lines(log).count(b"loss: 1\n") == log.count(b"loss: 1\n")


def test_marks_that_a_program_prints_itself_hide_its_own_lines_alone(tmp_path):
    """A forged mark costs the lines beside it."""
    forged = b"a: 1\nb: 2\n[5 bytes left out]\nc: 3\nd: 4\n"
    assert whole_lines(forged) == b"a: 1\n\nd: 4\n"
