"""Replies of harness processes that cannot be read void their trial, and end no launch."""

import asyncio
import json

import pytest

from harness.contract import HarnessError, Outcome, Rung, Slice, Trial, encode
from harness.problem.numbers import MAX_NAME_CHARS, MAX_NAMES
from harness.sandbox.outputs import MAX_FILES
from harness.trial import MAX_CLAIMS, MAX_TAIL_CHARS
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.harness_process import MAX_REPLY_BYTES
from swarm.executors.local import LocalExecutor
from swarm.executors.preflight import PreflightPool, PreflightSlices

WORKER = """
import json, os, sys

def main(setup):
    print(json.dumps({"ready": "h"}), flush=True)
    with open(os.environ["HOME"] + "/starts", "a") as file:
        file.write("x")
    for line in sys.stdin:
        request = json.loads(line)
        trial = request.get("check") or request.get("preflight") or request
        sys.stdout.buffer.write(bytes.fromhex(trial["token"]) + b"\\n")
        sys.stdout.flush()
"""
"""Replies with the bytes that the trial's token says."""

OUTCOME = Outcome("t1", "h", "none", score=1.0, claims={"name": 1.0})
GOOD = b'{"outcome": %s}' % encode(OUTCOME).encode()

UNREADABLE = {
    "a surrogate": GOOD.replace(b"name", rb"a\ud800"),
    "too long": GOOD.replace(b"name", b"n" * MAX_REPLY_BYTES),
    "no JSON": b"Traceback (most recent call last):",
    "no UTF-8": GOOD.replace(b"name", b"\xff"),
    "no object": b"[1]",
    "no record": b"{}",
    "deep": b"[" * 100_000,
    "neither score nor failure": GOOD.replace(b'"score":1.0', b'"score":null'),
}


def trial_of(reply):
    """Return a trial that a process answers by `reply`."""
    slice_ = Slice("cpu0", "cpu")
    return Trial(
        "t1", "packing", "none", "c", 7, Rung(1, 1.0), slice_, "", "", "", token=reply.hex()
    )


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A harness whose process replies what it is told."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").touch()
    (tmp_path / "harness" / "worker.py").write_text(WORKER)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("reply", UNREADABLE)
def test_a_reply_that_cannot_be_read_voids_its_trial_and_the_process_starts_again(home, reply):
    """The next trial has an outcome, from a process that never saw the one before."""

    async def main():
        slices = (Slice("cpu0", "cpu"),)
        async with LocalExecutor(home, ExecutorConfig("packing", "none", "none"), slices) as local:
            for call in (local.run, local.check):
                with pytest.raises(VoidError, match=r"^slice cpu0: .* cannot be read") as caught:
                    await call(trial_of(UNREADABLE[reply]))
                assert caught.value.cause == "lost"
                assert str(caught.value).isprintable() and len(str(caught.value)) < 400
            return await local.run(trial_of(GOOD))

    assert asyncio.run(main()) == OUTCOME
    assert (home / "starts").read_text() == "xxx"


def test_a_process_that_does_not_start_is_told_in_its_last_words(home):
    """Not by a traceback: the machine or what is installed on it is to blame."""
    (home / "harness" / "worker.py").write_text(
        "def main(setup):\n    raise OSError('no memory')\n"
    )

    async def main():
        slices = (Slice("cpu0", "cpu"), Slice("cpu1", "cpu"))
        async with LocalExecutor(home, ExecutorConfig("packing", "none", "none"), slices):
            pass

    with pytest.raises(
        HarnessError, match=r"^slice cpu\d: .*did not start \(OSError: no memory\)$"
    ):
        asyncio.run(main())


def test_a_preflight_that_cannot_be_read_passes(home):
    """The candidate's trial will tell."""

    async def main():
        places = PreflightSlices((Slice("preflight0", "cpu"),))
        async with PreflightPool(home, "packing", "none", places, "none") as pool:
            found = [await pool.check(trial_of(reply)) for reply in UNREADABLE.values()]
            good = b'{"preflight": {"ok": false, "reason": "r"}}'
            return found, await pool.check(trial_of(good))

    found, good = asyncio.run(main())
    assert all(each.ok and "no preflight: its reply cannot be read" in each.tail for each in found)
    assert (good.ok, good.reason) == (False, "r")


def test_why_a_trial_is_void_is_one_printable_line(home):
    """It goes into the record, whatever an error quotes."""

    async def main():
        slices = (Slice("cpu0", "cpu"),)
        async with LocalExecutor(home, ExecutorConfig("packing", "none", "none"), slices) as local:
            with pytest.raises(VoidError) as caught:
                await local.run(trial_of(rb'{"void": "no\nfile a\ud800", "cause": "still"}'))
            return caught.value

    error = asyncio.run(main())
    assert (str(error), error.cause) == ("no file a", "still")


def test_the_largest_outcome_fits_a_reply():
    """Names, digests and the tail are bounded, so no candidate makes one that is too long."""
    widest = "\U00010348"  # printable, and twelve characters of JSON
    numbers = {widest * (MAX_NAME_CHARS - 4) + f"{n:04}": -1e-300 / 3 for n in range(MAX_NAMES)}
    few = {f"{'a' * 31}{n}": -1e-300 / 3 for n in range(MAX_CLAIMS)}
    files = {widest * 62 + f"{n:04}": "f" * 64 for n in range(MAX_FILES)}
    outcome = Outcome(
        "t1",
        "h",
        "none",
        score=1.0,
        facts=numbers,
        claims={**numbers, **few},
        digests=files,
        tail=widest * MAX_TAIL_CHARS,
    )
    assert len(json.dumps({"outcome": json.loads(encode(outcome))})) < MAX_REPLY_BYTES // 2
