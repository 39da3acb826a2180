"""Sandboxes from a zygote and prewarmed ones: as tight as cold ones, without traces of others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.contract import HarnessError, Slice
from harness.sandbox import SandboxPolicy, Zygote, python_argv, run
from harness.sandbox.backends.uids import sandbox_uid
from harness.sandbox.boot.pool import MAX_WAITING
from tests.support.sandboxes import (
    CORE,
    SLICE,
    STARTS,
    outliving,
    prewarm,
)


@pytest.mark.parametrize("start", STARTS[1:], indirect=True)
def test_every_process_of_a_sandbox_is_under_the_filter(run_sandboxed):
    """Neither the process that keeps it alive nor bubblewrap's own can make refused calls."""
    code = """
import os, re
for pid in filter(str.isdigit, os.listdir("/proc")):
    text = open(f"/proc/{pid}/status").read()
    fields = [re.search(rf"^{name}:\\s*(\\w+)", text, re.M)[1] for name in ("Seccomp", "CapEff")]
    print(pid, *fields)
"""
    rows = [line.split() for line in run_sandboxed(code)[1].splitlines()]
    assert len(rows) == 3  # the namespace's first, the one that holds it, the program
    assert {(mode, int(capabilities, 16)) for _, mode, capabilities in rows} == {("2", 0)}


@pytest.mark.sandbox
def test_unneeded_prewarmed_sandboxes_are_ended(pool, tmp_path):
    """Closing the pool, or another shape in their place, leaves no process and no file of them."""
    before = {*psutil.Process().children(recursive=True)}
    for n in range(MAX_WAITING + 3):
        policy = SandboxPolicy(SLICE, 5, 64, tmp_mib=n + 1)
        made = prewarm(pool, policy, python_argv(tmp_path / "x"), tmp_path)
        assert made in pool.waiting
        assert len(pool.waiting) <= MAX_WAITING
    pool.close()
    assert pool.waiting == []
    left = {*psutil.Process().children(recursive=True)} - before
    assert not outliving(left)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.sandbox
def test_late_files_are_there_and_cannot_be_changed(pool, tmp_path):
    """A prewarmed sandbox shows the late folder and file, read-only."""
    tmp_path.chmod(0o755)
    program = tmp_path / "program.py"
    program.write_text("""
import os
print(open("/late/a/b").read(), open("/one").read(), sorted(os.listdir("/late")))
def attempt(call, *args):
    try: call(*args)
    except OSError: return
    print("done", call, args)
for path in ("/late/a/b", "/one"):
    attempt(open, path, "a"), attempt(open, path, "r+"), attempt(os.chmod, path, 0o777)
    attempt(os.unlink, path), attempt(os.rename, path, path + "x"), attempt(os.utime, path)
    attempt(os.truncate, path, 0), attempt(os.link, path, "/tmp/x")
attempt(open, "/late/new", "w"), attempt(os.mkdir, "/late/a/new")
""")
    argv, logs = python_argv(program), []
    for name in ("first", "second"):
        late = tmp_path / name
        (late / "folder/a").mkdir(parents=True)
        policy = SandboxPolicy(
            SLICE,
            20,
            512,
            read={"/late": late / "folder", "/one": late / "one"},
            late=("/late", "/one"),
        )
        (late / "one").write_text("")  # not what is there when the sandbox is made
        prewarmed = prewarm(pool, policy, argv, tmp_path)
        (late / "folder/a/b").write_text(name)
        (late / f"folder/{name}").touch()
        (late / "one").write_text(f"{name} file")
        run(policy, argv, tmp_path / "log", pool)
        assert prewarmed not in pool.waiting
        logs.append((tmp_path / "log").read_text())
    assert logs == [f"{name} {name} file ['a', '{name}']\n" for name in ("first", "second")]


@pytest.mark.sandbox
def test_a_prewarmed_sandbox_that_died_is_replaced(pool, tmp_path):
    """A prewarmed sandbox that dies fails no program: another is made."""
    tmp_path.chmod(0o755)
    program = tmp_path / "program.py"
    program.write_text("print('ran')")
    policy, argv = SandboxPolicy(SLICE, 20, 512), python_argv(program)
    for kill in (lambda family: family[0].kill(), lambda family: family[-1].kill()):
        prewarmed = prewarm(pool, policy, argv, tmp_path)
        kill([prewarmed.process, *psutil.Process(prewarmed.process.pid).children(recursive=True)])
        assert run(policy, argv, tmp_path / "log", pool).code == 0
        assert (tmp_path / "log").read_text() == "ran\n"


@pytest.mark.sandbox
def test_a_prewarmed_sandbox_serves_its_shape_only(pool, tmp_path):
    """A sandbox of other folders, sizes or programs does not fit."""
    tmp_path.chmod(0o755)
    (tmp_path / "x").mkdir()
    policy, argv = SandboxPolicy(SLICE, 20, 512), python_argv(tmp_path / "a.py")
    prewarm(pool, policy, argv, tmp_path)
    for other in (
        {"tmp_mib": 1},
        {"file_mib": 1},
        {"read": {"/x": tmp_path / "x"}},
        {"write": {"/x": tmp_path / "x"}},
        {"slice": Slice("other", "cpu", (CORE,))},
    ):
        assert pool.take(replace(policy, **other), argv) is None
    assert pool.take(policy, python_argv(tmp_path / "b.py")) is None
    fitting = pool.take(replace(policy, seconds=1, memory_mib=64, fds=(7,), env={"A": "b"}), argv)
    assert fitting is not None
    fitting.close()


def test_a_start_brings_nothing_of_the_host_along(run_sandboxed, start):
    """A copy is in the sandbox's namespaces, without handles on the host or its parent."""
    code = """
import json, os
kinds = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")
print(json.dumps(dict(
    spaces={kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds},
    links=[os.readlink(f"/proc/self/{name}") for name in ("cwd", "root")],
    alone=os.getpgrp() == os.getpid() == os.getsid(0),
    leader=os.getpid(),
    writable=os.access("/proc/self/exe", os.W_OK),
    exe=os.readlink("/proc/self/exe"),
    dumpable=os.stat("/proc/self/fd").st_uid == os.getuid(),
)))
"""
    seen = json.loads(run_sandboxed(code)[1])
    host = {kind: str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in seen["spaces"]}
    same = {kind for kind, name in seen["spaces"].items() if name == host[kind]}
    assert same == (
        {"user"} if sandbox_uid() else set()
    )  # root's sandboxes have a real uid instead
    assert seen["links"] == ["/home/sandbox", "/"]
    assert seen["dumpable"]
    if start == "zygote":
        assert seen["alone"]
        assert seen["exe"].startswith("/memfd:python")


BARE = """
import os, sys
seen = []
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if f"{folder}/{name}" not in ("//proc", "//dev")]
    seen += [f"{folder}/{name}" for name in files]
print(*sorted(path for path in seen if "/lib" not in path))
import statistics, sqlite3, xml.dom.minidom, numpy.polynomial, html.parser
print(statistics.mean([1, 3]), numpy.polynomial.Polynomial([1, 2])(3))
try: import torch
except ModuleNotFoundError as error: print(error)
for name in ("smaps", "smaps_rollup", "pagemap", "task/%d/smaps" % os.getpid(), "status"):
    try: print(name, os.close(os.open(f"/proc/self/{name}", os.O_RDONLY)))
    except PermissionError: pass
"""


@pytest.mark.parametrize("start", STARTS[1:], indirect=True)
def test_a_bare_sandbox_imports_from_memory_and_has_no_file_to_write_notes_with(
    run_sandboxed, tmp_path
):
    """It has its script and the program that holds it; what the zygote holds can be imported.

    Where two sandboxes can look up names in one folder of the host's, the first tells the second;
    and where they can read whether others have mapped a page of a file.
    """
    ended, log, _ = run_sandboxed(BARE, bare=True, write={})
    files, modules, missing, *readable = log.splitlines()
    assert readable == ["status None"]
    assert files.split() == sorted(["/bin/cat", str(tmp_path / "program.py")])
    assert modules.startswith("2 7.0")
    assert missing == "No module named 'torch'"  # the zygote here has imported numpy alone
    assert ended.code == 0


def test_the_interpreter_cannot_be_changed(run_sandboxed):
    """Neither the file nor the copy behind /proc/self/exe opens for writing."""
    code = """
import os, sys
for path in ("/proc/self/exe", sys.executable, os.path.realpath(sys.executable)):
    try: os.write(os.open(path, os.O_WRONLY), b"x"); print("written")
    except OSError as error: print("refused")
"""
    assert run_sandboxed(code)[1] == "refused\n" * 3


def test_a_sandbox_finds_no_trace_of_the_one_before(run_sandboxed):
    """The arguments of one program are nowhere in the memory of the next."""
    search = """
import re
found = False
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, mode, *rest = line.split()
        if mode.startswith("rw") and "[v" not in line:
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            held = memory.read(end - start)
            ends = [match.end() for match in re.finditer(b"secret", held)]
            found |= any(held[end : end + 4] == b"-one" for end in ends)
print(found)
"""
    assert run_sandboxed("import sys; print(sys.argv[2])", "secret-one")[1] == "secret-one\n"
    assert run_sandboxed(search, "nothing")[1] == "False\n"
    assert run_sandboxed(search, "secret-one")[1] == "True\n"  # the search itself works


def test_copies_draw_their_own_random_numbers(run_sandboxed):
    """Two sandboxes share no state of a random generator, though both are copies of one process."""
    code = """
import os, random, numpy, uuid
print(random.random(), numpy.random.random(), uuid.uuid4(), os.urandom(8))
"""
    one, other = (run_sandboxed(code)[1].split(maxsplit=3) for _ in range(2))
    assert all(a != b for a, b in zip(one, other, strict=True))


def test_a_zygote_serves_its_own_slice_only(zygote, tmp_path):
    """Its thread counts are fixed when it starts."""
    policy = SandboxPolicy(Slice("other", "cpu"), 5, 512)
    with pytest.raises(ValueError, match="cannot serve other"):
        run(policy, python_argv(tmp_path / "x"), tmp_path / "log", zygote)


@pytest.mark.sandbox
def test_a_zygote_that_cannot_import_is_our_fault(tmp_path):
    """A zygote whose import fails is a HarnessError."""
    (tmp_path / "x").touch()
    tmp_path.chmod(0o755)
    with Zygote(SLICE, ("no_such_module",)) as broken, pytest.raises(HarnessError, match="import"):
        run(SandboxPolicy(SLICE, 5, 512), python_argv(tmp_path / "x"), tmp_path / "log", broken)
