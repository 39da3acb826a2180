"""The ledger: append, read, torn and broken lines, locks, kills, a full disk."""

import json
import os
import resource
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.ledger import Ledger, read_events, writer
from harness.contract import SetupError
from islands import events as ev
from islands.records import Gain
from tests.support.chain import chained
from tests.support.histories import clock, events
from tests.support.record import child, events_in, write

FUZZ = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(batch=st.lists(events(), max_size=4))
def test_every_event_reads_back_as_itself(tmp_path_factory, batch):
    """Events with any text and numbers are read back equal, stamped, and in order."""
    folder = tmp_path_factory.mktemp("run")
    with Ledger.open(folder, clock()) as ledger:
        stamped = ledger.extend(batch)
        assert list(ledger.events()) == stamped
    assert events_in(folder) == stamped
    assert [event.recorded for event in stamped] == sorted({e.recorded for e in stamped})


@pytest.mark.parametrize(
    "event",
    [
        ev.VerdictReached(1, "a", "c", "base", "keep", "", Gain(float("nan"), 1.0, 3)),
        ev.VerdictReached(1, "a", "c", "base", "keep", "", Gain(1.0, float("inf"), 3)),
        ev.ProposalReceived(1, "a", "m", "base", "half a pair \ud800"),
    ],
)
def test_an_event_that_would_not_read_back_is_rejected(tmp_path, event):
    """A NaN, an infinity or half a surrogate pair raises and leaves the ledger as it was."""
    with Ledger.open(tmp_path, clock()) as ledger:
        ledger.append(ev.RunResumed())
        before = (tmp_path / "ledger.jsonl").read_bytes()
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
            ledger.extend([ev.RunResumed(), event])
        assert (tmp_path / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize(("version", "age"), [(None, "an older"), (1, "an older"), (99, "a newer")])
def test_a_ledger_of_another_format_is_refused_in_one_line(tmp_path, history, version, age):
    """Readers and writers name the file and both formats; nothing is changed."""
    opened = json.loads(ev.encode(history[0][0]))
    assert opened["format"] == ev.FORMAT
    del opened["format"]
    if version is not None:
        opened["format"] = version
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(chained([json.dumps(opened).encode()]))
    before = path.read_bytes()
    with pytest.raises(SetupError, match=f"{path}:1: {age} swarm") as read:
        list(read_events(path))
    with pytest.raises(SetupError, match=f"{path}:1: {age} swarm"), Ledger.open(tmp_path, clock()):
        pass
    assert f"format {version or 1}; this one reads format {ev.FORMAT}" in str(read.value)
    assert "\n" not in str(read.value)
    assert path.read_bytes() == before


def test_reading_resumes_at_any_offset(tmp_path, history):
    """The offset of each event is where the next one begins."""
    write(tmp_path, history[0])
    read = list(read_events(tmp_path / "ledger.jsonl"))
    assert len(read) == len(history[0])
    for n in range(0, len(read), 7):
        rest = read_events(tmp_path / "ledger.jsonl", read[n][0])
        assert list(rest) == read[n + 1 :]


@FUZZ
@given(cut=st.integers(0, 3_000))
def test_a_torn_line_is_left_out_and_cut_off_but_never_a_whole_one(tmp_path_factory, history, cut):
    """Cut at any byte, a ledger keeps the events whose lines are whole, and can be appended to."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, history[0][:12])
    path = folder / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    assert len(events_in(folder)) == sum(at < cut for at in ends)
    with Ledger.open(folder, clock()) as ledger:
        ledger.append(ev.RunResumed())
    # where only the newline was missing, the event is whole and stays
    assert events_in(folder)[:-1] == history[0][: sum(at <= cut for at in ends)]
    assert path.read_bytes().startswith(whole[:cut].rpartition(b"\n")[0])


def test_a_torn_tail_longer_than_a_block_is_cut_off(tmp_path):
    """All of the torn line is removed, and nothing before it."""
    write(tmp_path, [ev.RunResumed()])
    path = tmp_path / "ledger.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + b'{"kind":"' + bytes(200_000))
    with Ledger.open(tmp_path, clock()):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"", b"{}", b'{"kind":"moved"}', b'{"kind":"run_res'])
def test_a_broken_line_in_the_middle_is_named(tmp_path, line):
    """An invalid line stops every reader with an error that names file and line."""
    write(tmp_path, [ev.RunResumed(), ev.RunResumed()])
    path = tmp_path / "ledger.jsonl"
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, line, second, b""]))
    offset = len(first) + 1
    for start in (0, offset):
        with pytest.raises(SetupError, match=r"ledger\.jsonl:2: carries no link"):
            list(read_events(path, start))
    with Ledger.open(tmp_path, clock()) as ledger, pytest.raises(SetupError, match=":2:"):
        list(ledger.events())


def test_a_reader_whose_place_is_no_lines_end_any_more_says_so(tmp_path):
    """A ledger that was changed under a reader stops it, also where an empty line is next."""
    write(tmp_path, [ev.RunResumed(), ev.RunResumed()])
    path = tmp_path / "ledger.jsonl"
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, b"", b"", second, b""]))
    with pytest.raises(SetupError, match="its lines changed during the read"):
        list(read_events(path, len(first) + 2))


def test_a_second_coordinator_is_refused_with_the_first_ones_pid(tmp_path):
    """Two processes cannot write one ledger; the lock ends with its holder, killed or not."""
    code = (
        "import sys, time; from pathlib import Path; from analysis.ledger import Ledger\n"
        "with Ledger.open(Path(sys.argv[1]), time.time):\n"
        "    print('open', flush=True); sys.stdin.read()\n"
    )
    with child(code, tmp_path) as holder:
        assert holder.stdout.readline() == "open\n"
        assert writer(tmp_path) == holder.pid
        with pytest.raises(SetupError, match=f"pid {holder.pid}"), Ledger.open(tmp_path, clock()):
            pass
        holder.send_signal(signal.SIGKILL)
    assert writer(tmp_path) is None
    with Ledger.open(tmp_path, clock()):
        assert writer(tmp_path) == os.getpid()
    assert writer(tmp_path) is None


def test_a_killed_writer_loses_no_acknowledged_event(tmp_path):
    """After kill -9 at any moment every acknowledged event is in the ledger, once and in order."""
    code = (
        "import sys; from pathlib import Path; from analysis.ledger import Ledger\n"
        "from tests.support.histories import clock; from islands import events as ev\n"
        "with Ledger.open(Path(sys.argv[1]), clock()) as ledger:\n"
        "    for number in range(int(sys.argv[2]), 10**9):\n"
        "        ledger.append(ev.ProposalRefused(number, 'a', 'rule', 'x' * 5000))\n"
        "        print(number, flush=True)\n"
    )
    acked = -1
    for last in (3, 17):
        with child(code, tmp_path, acked + 1) as victim:
            while int(victim.stdout.readline()) < acked + last:
                pass
            victim.send_signal(signal.SIGKILL)
            acknowledged = [int(line) for line in victim.stdout]
        acked = max(acknowledged, default=acked + last)
        with Ledger.open(tmp_path, clock()) as ledger:
            numbers = [event.experiment for event in ledger.events()]
        assert numbers == list(range(len(numbers)))
        assert numbers[-1] >= acked
        acked = numbers[-1]


def test_a_full_disk_is_reported_and_nothing_is_lost(tmp_path):
    """A line that did not fit is removed; once there is space, appending works again."""
    path = tmp_path / "ledger.jsonl"
    big = ev.ProposalRefused(1, "a", "rule", "x" * 5_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Ledger.open(tmp_path, clock()) as ledger:
        first = ledger.append(ev.RunResumed())
        before = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1_000, limits[1]))
        try:
            with pytest.raises(SetupError, match="free some space"):
                ledger.append(big)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        assert events_in(tmp_path) == [first]
        assert [*events_in(tmp_path), ledger.append(big)] == events_in(tmp_path)
