"""Control groups: which are ours to use, and what a sandbox has in its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.sandbox import Running, SandboxPolicy, python_argv, run
from harness.sandbox.monitor import control_group
from harness.sandbox.monitor.control_group import ControlGroup, delegated
from tests.support.sandboxes import SLICE, prewarm


def hierarchy(folder, own, given):
    """Make files as of a hierarchy; return those that say where it is and which group is ours."""
    for path, controllers in given.items():
        group = folder / path
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").touch()
        (group / "cgroup.subtree_control").write_text(f"{controllers}\n")
    (folder / "own").write_text(f"4:memory:/elsewhere\n0::{own}\n")
    (folder / "mounts").write_text(
        f"30 20 0:25 / /sys rw - sysfs sysfs rw\n"
        f"33 30 0:30 /part /other rw - cgroup2 cgroup2 rw\n"
        f"34 30 0:30 / {folder} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    )
    return folder / "own", folder / "mounts"


@pytest.mark.parametrize(
    ("own", "given", "found"),
    [
        # a terminal of a systemd user session: its own group has processes, the one above has not
        ("/user/app/term", {"user/app": "cpu memory pids", "user/app/term": ""}, "user/app"),
        ("/", {".": "cpu memory pids"}, "."),  # root in a container of its own
        ("/user/session", {"user": "cpu memory", "user/session": ""}, None),
        ("/user/session", {"user/session": ""}, None),
    ],
)
def test_the_nearest_group_that_gives_its_children_both_controllers_is_used(
    tmp_path, own, given, found
):
    """One that does not, or does not exist, is passed over."""
    files = hierarchy(tmp_path, own, given)
    assert delegated(*files) == (None if found is None else tmp_path / found)


def test_without_version_2_there_is_none(tmp_path):
    """Neither where it is not mounted nor where /proc tells nothing."""
    (tmp_path / "mounts").write_text("34 30 0:30 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n")
    assert delegated(tmp_path / "own", tmp_path / "mounts") is None
    assert delegated(tmp_path / "own", tmp_path / "nothing") is None


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A folder in which sandboxes make their groups, of files."""
    folder = tmp_path / "groups"
    folder.mkdir()
    monkeypatch.setattr(control_group, "parent_group", lambda: folder)
    return folder


def program(tmp_path, code):
    """Return the arguments of a program."""
    tmp_path.chmod(0o755)
    (tmp_path / "program.py").write_text(code)
    return python_argv(tmp_path / "program.py")


@pytest.mark.sandbox
def test_a_sandbox_is_limited_as_a_whole_before_its_program_runs(tmp_path, zygote, groups):
    """Memory with what the kernel needs, no swap, all die together, and so many processes."""
    argv = program(tmp_path, "")
    run(SandboxPolicy(SLICE, 60, 512, processes=10), argv, tmp_path / "log", zygote)
    (group,) = groups.iterdir()  # files that stand for the kernel's keep it from being removed
    said = {file.name: int(file.read_text()) for file in group.iterdir()}
    assert said.pop("cgroup.procs") > 0
    assert said == {
        "memory.max": (512 + 64) << 20,
        "memory.swap.max": 0,
        "memory.oom.group": 1,
        "pids.max": 10 + 4 + 4,
    }


@pytest.mark.sandbox
def test_what_the_kernel_ends_for_its_memory_has_exceeded_its_memory(tmp_path, pool, groups):
    """It is no void trial, though nobody of ours sent the signal."""
    argv, policy = (
        program(tmp_path, "import os; os.kill(os.getpid(), 9)"),
        SandboxPolicy(SLICE, 60, 512),
    )
    prewarm(pool, policy, argv, tmp_path)
    (group,) = groups.iterdir()
    (group / "memory.events").write_text("low 0\nmax 3\noom 1\noom_kill 2\n")
    assert run(policy, argv, tmp_path / "log", pool).killed == "memory"


def writable_root():
    """Return a real hierarchy in which groups can be made, None for none."""
    roots = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
    found = (each for each in roots if (each / "cgroup.subtree_control").exists())
    return next((each for each in found if os.access(each / "cgroup.procs", os.W_OK)), None)


@pytest.mark.sandbox
@pytest.mark.skipif(writable_root() is None, reason="no hierarchy of version 2 is ours to write")
@pytest.mark.parametrize("kept", [False, True], ids=["cold", "warm"])
def test_every_process_of_a_sandbox_is_in_its_group(tmp_path, monkeypatch, zygote, kept):
    """Two of bubblewrap's, the holder, the program and its child; afterwards the group is gone."""
    monkeypatch.setattr(control_group, "parent_group", writable_root)
    made, make = [], ControlGroup.make

    def remember():
        made.append(make())
        return made[-1]

    monkeypatch.setattr(ControlGroup, "make", remember)
    ours, theirs = os.pipe()
    back, forth = os.pipe()
    argv = program(tmp_path, f"import os; os.fork(); os.write({theirs}, b'+'); os.read({back}, 1)")
    policy = SandboxPolicy(SLICE, 60, 512, fds=(theirs, back))
    with Running(policy, argv, tmp_path / "log", zygote if kept else None) as running:
        assert os.read(ours, 1) + os.read(ours, 1) == b"++"
        (group,) = made
        names = [
            Path(f"/proc/{pid}/comm").read_text().strip()
            for pid in (group.folder / "cgroup.procs").read_text().split()
        ]
        os.write(forth, b"..")
        assert running.end().killed == ""
    assert (names.count("bwrap"), names.count("cat"), len(names)) == (2, 1, 5)
    assert not group.folder.exists()
    for number in (ours, theirs, back, forth):
        os.close(number)
