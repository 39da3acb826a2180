"""The redaction of a sandbox's output: which values become ***, wherever a stream is cut."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import HarnessError, Slice
from harness.sandbox.kinds import base
from harness.sandbox.monitor import capped_log
from harness.sandbox.monitor.capped_log import CappedLog
from harness.sandbox.monitor.redaction import Redaction, redacted
from harness.sandbox.policy import SandboxPolicy

KEY = "sk-0123456789"


def streamed(pieces, *values):
    """Return what a stream that comes in `pieces` becomes."""
    redaction = Redaction(values)
    return b"".join([*map(redaction.feed, pieces), redaction.rest()])


@given(
    parts=st.lists(st.sampled_from([KEY, f"{KEY}-long", "abcdabcda", KEY[:8], "ab", "x", "\n"])),
    chunk=st.integers(1, 40),
)
def test_pieces_of_any_size_become_what_the_whole_does(parts, chunk):
    """The longest value that begins at a place is replaced, as where all of it is there at once."""
    text = "".join(parts)
    values = (KEY, f"{KEY}-long", "abcdabcda")
    pieces = [text.encode()[at : at + chunk] for at in range(0, len(text), chunk)]
    assert streamed(pieces, *values).decode() == streamed([text.encode()], *values).decode()
    assert not any(value in streamed(pieces, *values).decode() for value in values)


def test_a_value_is_found_in_the_forms_in_which_programs_print_it():
    """Stripped, a line of it, as JSON writes it, in a URL."""
    pem = "-----BEGIN KEY-----\nabcdefghijkl\n-----END KEY-----\n"
    for printed, value in (
        (f"Bearer {KEY}!", f" {KEY}\n"),
        ("abcdefghijkl", pem),
        (r'{"p": "pass\"wordé"}'.replace("é", r"\u00e9"), 'pass"wordé'),
        ("?key=a%2Fb%2Bc%3D%3Dxyz", "a/b+c==xyz"),
    ):
        assert b"***" in streamed([printed.encode()], value)
        assert value.strip() not in streamed([printed.encode()], value).decode()


def test_a_short_value_stays_since_numbers_hold_it():
    """With `DEBUG=1` a `score: 1.5` is what it was; so it is with an empty variable."""
    printed = b"score: 1.5 dev\n"
    assert streamed([printed], "1", "", "dev", " " * 20) == printed


def test_other_forms_stay():
    """The list of what is not covered: base64, a value over two lines, a part of it."""
    for printed in (base64.b64encode(KEY.encode()), b"sk-0123\n456789", b"sk-...6789"):
        assert streamed([printed], KEY) == printed


def test_no_half_of_a_value_is_left_where_a_log_is_cut(tmp_path):
    """The value begins before the end of the head, and before the beginning of the tail."""
    lines = (b"." * 61 + KEY.encode() + b"\n") * 20_000
    for padding in range(13):
        output = b"." * (capped_log.HEAD_BYTES - padding) + KEY.encode() + lines
        with CappedLog.at(tmp_path / "log", (KEY,)) as log:
            for at in range(0, len(output), 65_536):
                log.write(output[at : at + 65_536])
        kept = (tmp_path / "log").read_bytes()
        assert b"left out" in kept
        assert not any(half.encode() in kept for half in (KEY[:4], KEY[-4:]))


def test_a_name_is_redacted_too():
    """What is no output: a file's name."""
    assert redacted(f"get?key={KEY}.json", (KEY,)) == "get?key=***.json"
    assert redacted("plain.json", (KEY,)) == "plain.json"


def test_a_sandbox_that_does_not_start_is_told_of_without_the_value(tmp_path, monkeypatch):
    """Its output is read from the pipe then, and becomes the reason why a trial is void."""

    def launch(spec, output):
        os.write(output, f"init: {KEY}\n".encode())
        raise HarnessError("it did not start")

    monkeypatch.setattr(base, "launch", launch)
    policy = SandboxPolicy(Slice("cpu0", "cpu"), 1, 64, secrets=(KEY,))
    with base.Observer(tmp_path / "log", policy) as observer, pytest.raises(HarnessError) as raised:
        observer.start({})
    assert str(raised.value) == "it did not start (init: ***)"
