"""The harness around a trial: outputs copied, harness fingerprint, a slice's worker process."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness import fingerprint as identity
from harness import tasks
from harness.artifacts import collect, digests
from harness.contract import (
    FULL_AUDIT,
    Outcome,
    Rung,
    SetupError,
    Slice,
    Trial,
    decode_outcome,
    decode_trial,
    encode,
)
from harness.sandbox import Exit
from harness.sandbox.kinds.base import opened
from harness.sandbox.outputs import copy_files
from harness.sandbox.policy import SENT_BY_OTHERS
from harness.tasks.base import InvalidError
from harness.trial import MAX_CLAIMS, claims, measure, printable
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.local import LocalExecutor
from tests.support.children import serving

CORE = min(os.sched_getaffinity(0))
WHERE = Slice("cpu0", "cpu", (CORE,))


@pytest.fixture
def outputs(tmp_path):
    """Make the folder that a genome filled, and a way to copy its `x` of at most 10 bytes."""
    folder = tmp_path / "out"
    folder.mkdir()

    return folder, lambda: copy_x(folder, tmp_path / "copies")


def copy_x(folder, to):
    """Copy `x`, 10 bytes at most, as a sandbox's outputs are copied; return the copies by name."""
    to.mkdir()
    with opened(folder) as outputs:
        refused = copy_files(outputs, {"x": 10}, to)
    return collect(to, ["x"], refused)


def test_an_output_is_a_read_only_copy(outputs):
    """What happens to the original afterwards does not matter."""
    folder, take = outputs
    (folder / "x").write_bytes(b"0123456789")
    copy = take()["x"]
    (folder / "x").write_bytes(b"else")
    assert copy.read_bytes() == b"0123456789"
    assert copy.stat().st_mode & 0o777 == 0o444


def test_an_output_is_known_by_its_digest(outputs):
    """The sha256 of the copy, by name: that of the bytes which were scored."""
    folder, take = outputs
    (folder / "x").write_bytes(b"0123456789")
    assert digests(take()) == {"x": hashlib.sha256(b"0123456789").hexdigest()}


def test_a_missing_file_is_left_out(outputs):
    """It is the task that says whether that is invalid."""
    assert outputs[1]() == {}


def _link(folder):
    (folder / "x").symlink_to("/etc/passwd")


def _hard(folder):
    (folder / "y").write_bytes(b"1")
    os.link(folder / "y", folder / "x")


def _fifo(folder):
    os.mkfifo(folder / "x")


def _folder(folder):
    (folder / "x").mkdir()


def _large(folder):
    (folder / "x").write_bytes(b"01234567890")


def _sparse(folder):
    with (folder / "x").open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("attack", [_link, _hard, _fifo, _folder, _large, _sparse])
def test_anything_but_a_small_regular_file_of_one_link_is_invalid(outputs, attack):
    """Links, FIFOs, folders and giants are named and neither followed nor waited for."""
    folder, take = outputs
    attack(folder)
    with pytest.raises(InvalidError, match=r"^x "):
        take()


def _file(size):
    return lambda path: path.write_bytes(bytes(size))


def _hole(size):
    return lambda path: path.touch() or os.truncate(path, size)


def _link_to(target):
    return lambda path: path.symlink_to(target)


def _second_name(path):
    path.with_name("other").write_bytes(b"1")
    os.link(path.with_name("other"), path)


def _closed(path):
    path.touch()
    path.chmod(0)


def _listening(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


_LEFT = st.one_of(
    st.integers(0, 12).map(_file),
    st.integers(0, 1 << 42).map(_hole),
    st.sampled_from(["/etc/passwd", "/dev/zero", ".", "x", "other", "/nowhere"]).map(_link_to),
    st.sampled_from([_second_name, _closed, _listening, os.mkfifo, Path.mkdir]),
)


@given(_LEFT)
def test_whatever_was_left_is_a_small_copy_or_invalid(tmp_path_factory, leave):
    """Of any kind of node under the name that is taken: no other error, nothing waited for."""
    folder = tmp_path_factory.mktemp("left")
    (folder / "out").mkdir()
    leave(folder / "out" / "x")
    try:
        copy = copy_x(folder / "out", folder / "copies")["x"]
    except InvalidError as error:
        reason = str(error)
    else:
        reason = "x "
        assert copy.read_bytes() == (folder / "out" / "x").read_bytes()
        assert copy.stat().st_size <= 10
    shutil.rmtree(folder)
    assert reason.startswith("x ")
    assert reason.isprintable()


def test_the_tree_id_is_gits_own(tmp_path):
    """An installed wheel and a checkout of the same commit have one harness."""
    copy = tmp_path / "repo" / "harness"
    shutil.copytree(identity.HARNESS_DIR, copy, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(copy.parent)]
    for call in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *call], check=True)
    tree = subprocess.run([*git, "rev-parse", "HEAD:harness"], capture_output=True, check=True)
    assert identity.tree_id(copy) == tree.stdout.decode().strip() == identity.tree_id()


def test_an_export_is_named_by_its_tree_and_byte_code_is_no_part_of_it(tmp_path):
    """A second export finds the first; an edit of the source would get a name of its own."""
    home = identity.export(tmp_path)
    assert identity.export(tmp_path) == home
    assert identity.tree_id(home / "harness") == identity.tree_id() == home.name
    (home / "harness" / "x.py").write_text("edited")
    assert identity.tree_id(home / "harness") != home.name


@given(st.binary(max_size=400))
def test_a_cleaned_log_holds_nothing_that_steers_a_terminal(raw):
    """No escape, no control character, whatever a candidate prints."""
    assert all(char in "\n\t" or char.isprintable() for char in printable(raw))


@given(
    st.text(st.sampled_from("ab\u202e\u2066\u200b\u2028\u00ad\ufeff\ue000\x1b\x9b\0\r\n\U000e0041"))
)
def test_a_cleaned_log_hides_nothing(text):
    """What shows nothing, turns text around or ends a line unseen is left out; text is not."""
    kept = [char for char in text.replace("\r", "\n") if char in "ab\n"]
    assert list(printable(text.encode())) == kept


def test_claims_are_finite_capped_numbers():
    """What does not look like a claim is no claim, and a thousand are a few."""
    text = "claim steps 12\nclaim x nan\nclaim y 1e999\nclaim Z 1\n claim w 1\nclaim v -1.5e3\n"
    assert claims(text) == {"steps": 12.0, "v": -1500.0}
    assert len(claims("\n".join(f"claim a{n} {n}" for n in range(999)))) == MAX_CLAIMS


_CLAIM = st.from_regex(r"\A(claim [a-z_0-9]{0,33} [-+0-9.eEinfa_]{0,26}\n?){0,20}\Z")


@given(_CLAIM | st.text(max_size=200))
def test_any_log_is_a_few_finite_claims(text):
    """They go into an outcome, and that into a ledger, as they are."""
    parsed = claims(text)
    assert len(parsed) <= MAX_CLAIMS
    assert all(re.fullmatch("[a-z][a-z0-9_]{0,31}", name) for name in parsed)
    outcome = Outcome("t", "h", "namespaces", score=0.0, claims=parsed, tail=text)
    assert decode_outcome(encode(outcome)) == outcome


OWN = set(range(-64, 256)) - {0, *(-number for number in SENT_BY_OTHERS)}


@given(log=st.binary(max_size=400), code=st.integers(-64, 255).filter(OWN.__contains__))
def test_any_log_of_a_crash_is_a_reason_of_one_line(tmp_path_factory, log, code):
    """Cleaned, capped, and an outcome that survives the trip."""
    scratch = tmp_path_factory.getbasetemp()

    def crashes(policy, argv, path):
        path.write_bytes(log)
        return Exit(code, "", seconds=0.1, start=0.0, peak_mib=1.0)

    outcome = measure(replace(TRIAL, scratch=str(scratch)), crashes, "h")
    assert outcome.failure.kind == "crash"
    assert outcome.failure.reason.isprintable()
    assert len(outcome.failure.reason) < 330
    assert decode_outcome(encode(outcome)) == outcome


TRIAL = Trial(
    "t1", "packing", "none", "c", 7, Rung(1, 2.0, 1024), WHERE, "/g", "genome/pack.py", "/s"
)


def test_records_survive_the_trip_through_json():
    """Trial and outcome are the same on the other side."""
    sealed = replace(TRIAL, split="sealed", audit=FULL_AUDIT)
    assert decode_trial(encode(TRIAL)) == TRIAL != decode_trial(encode(sealed)) == sealed
    outcome = Outcome("t1", "h", "namespaces", score=1.5, seconds={"budget": 2.0}, facts={"n": 1.0})
    assert decode_outcome(encode(outcome)) == outcome
    with pytest.raises(ValueError, match="a score or a failure"):
        Outcome("t1", "h", "namespaces")


def test_records_of_before_parts_are_read_as_of_the_dev_part():
    """An old ledger's trials and outcomes have neither split nor audit."""
    old = {k: v for k, v in json.loads(encode(TRIAL)).items() if k not in ("split", "audit")}
    assert decode_trial(json.dumps(old)) == TRIAL
    outcome = Outcome("t1", "h", "namespaces", score=1.5)
    old = {k: v for k, v in json.loads(encode(outcome)).items() if k != "split"}
    assert decode_outcome(json.dumps(old)).split == "dev"


@pytest.mark.parametrize("wrong", [{"split": "train"}, {"split": ""}, {"audit": 1}, {"audit": 2.5}])
def test_a_trial_asks_for_held_out_text_and_an_audit(wrong):
    """The training text is no split to be scored on, and no audit is none at all."""
    with pytest.raises(ValidationError):
        decode_trial(json.dumps(json.loads(encode(TRIAL)) | wrong))


def test_a_part_that_a_task_has_not_is_the_users_to_mend():
    """Nothing is run for it."""
    with pytest.raises(SetupError, match="task packing has no hidden split: choose one of dev"):
        measure(replace(TRIAL, split="hidden"), None, "h")
    assert [tasks.load(name).splits for name in ("gpt", "packing")] == [
        ("dev", "hidden", "sealed"),
        ("dev",),
    ]


def test_an_unknown_task_is_said_with_the_ones_there_are():
    """The message says what to do."""
    with pytest.raises(SetupError, match=r"choose one of .*gpt, packing"):
        tasks.load("chess")


@pytest.fixture
def genome(sandbox, tmp_path):
    """Make the export of a packing genome whose pack.py is given; return a trial of it."""

    def make(source, name="t1"):
        folder = tmp_path / name
        (folder / "genome").mkdir(parents=True)
        (folder / "genome" / "pack.py").write_text(source)
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        for path in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            path.chmod(0o755)
        return Trial(
            name,
            "packing",
            "none",
            "c",
            7,
            Rung(1, 2.0, 1024),
            WHERE,
            str(folder),
            "genome/pack.py",
            str(scratch),
        )

    return make


GRID = """
def pack(seed, deadline):
    return [((i % 6 + .5) / 6, (i // 6 + .5) / 6, 1 / 12) for i in range(26)]
"""


def executor(tmp_path):
    """Return an executor of one slice that runs the harness from an export."""
    return LocalExecutor(identity.export(tmp_path), ExecutorConfig("packing", "none"), (WHERE,))


@pytest.mark.sandbox
def test_a_slices_process_scores_fails_and_goes_on(tmp_path, genome):
    """Good, crashing, lying and hanging genomes in turn, in one process, nothing left behind."""

    async def main():
        async with executor(tmp_path) as slices:
            good = await slices.run(genome(GRID, "good"))
            crash = await slices.run(genome("1/0", "crash"))
            lying = await slices.run(genome(GRID.replace("1 / 12", "1 / 11"), "lying"))
            hang = await slices.run(genome("while True: pass", "hang"))
            again = await slices.run(genome(GRID, "again"))
            return slices.harness, good, crash, lying, hang, again

    harness, good, crash, lying, hang, again = asyncio.run(main())
    assert good.score == pytest.approx(26 / 12)
    assert again.score == good.score
    assert good.digests == again.digests != lying.digests
    assert crash.digests == hang.digests == {}
    assert good.harness == harness
    assert harness.startswith(identity.tree_id()[:12])
    assert crash.failure.kind == "crash"
    assert "ZeroDivisionError" in crash.failure.reason
    assert lying.failure.kind == "invalid"
    assert hang.failure.kind == "timeout"
    assert hang.seconds["budget"] >= 2.0
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.sandbox
def test_a_process_that_dies_voids_its_trial_and_is_started_again(tmp_path, genome):
    """The trial has no score; the next one runs."""

    async def main():
        async with executor(tmp_path) as slices:
            running = asyncio.create_task(slices.run(genome("while True: pass", "t1")))
            (await serving()).send_signal(signal.SIGKILL)
            with pytest.raises(VoidError, match="slice cpu0"):
                await running
            return await slices.run(genome(GRID, "t2"))

    assert asyncio.run(main()).score == pytest.approx(26 / 12)


async def spinning(server):
    """Return the process below `server` that used the most CPU time in a moment."""
    while True:
        used = {each: sum(each.cpu_times()[:2]) for each in server.children(recursive=True)}
        await asyncio.sleep(0.2)
        for each, before in used.items():
            with suppress(psutil.NoSuchProcess):
                if sum(each.cpu_times()[:2]) - before > 0.03:
                    return each


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, "SIGKILL ended it"), (signal.SIGSTOP, "a signal stopped it")],
)
def test_a_signal_from_outside_voids_a_trial(tmp_path, genome, number, reason):
    """The kernel's OOM killer, or a person: nothing is held against the candidate."""

    async def main():
        async with executor(tmp_path) as slices:
            hang = genome("while True: pass", "t1")
            running = asyncio.create_task(slices.run(replace(hang, rung=Rung(1, 60.0, 1024))))
            (await spinning(await serving())).send_signal(number)
            with pytest.raises(VoidError, match=reason) as void:
                await running
            assert void.value.cause == "signal"
            return await slices.run(genome(GRID, "t2"))

    assert asyncio.run(main()).score == pytest.approx(26 / 12)


@pytest.mark.sandbox
def test_a_part_that_is_not_there_ends_no_slices_process(tmp_path, genome):
    """The error says what to fix, and the next trial runs in the same process."""

    async def main():
        async with executor(tmp_path) as slices:
            with pytest.raises(SetupError, match="no sealed split"):
                await slices.run(replace(genome(GRID), split="sealed"))
            return await slices.run(genome(GRID, "next"))

    assert asyncio.run(main()).score == pytest.approx(26 / 12)


def test_what_a_slices_process_lacks_is_the_users_to_mend(tmp_path, monkeypatch):
    """A corpus that is not there is a SetupError here as there."""
    monkeypatch.setenv("SWARM_CACHE", str(tmp_path / "empty"))

    async def main():
        home = identity.export(tmp_path)
        async with LocalExecutor(home, ExecutorConfig("gpt", "climbmix"), (WHERE,)):
            pass

    with pytest.raises(SetupError, match="swarm prepare --data climbmix"):
        asyncio.run(main())


def test_the_harness_imports_nothing_of_the_swarms():
    """The export runs without the other houses: it is the measure alone."""
    sources = "\n".join(p.read_text() for p in Path(identity.HARNESS_DIR).rglob("*.py"))
    assert not [
        line
        for line in sources.splitlines()
        if line.startswith(("import ", "from "))
        and line.split()[1].split(".")[0] in ("swarm", "islands", "analysis")
    ]
