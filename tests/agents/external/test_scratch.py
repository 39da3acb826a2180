"""What is read of the scratch copy that a coding agent leaves, whatever lies there."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from islands.genome.admission import AdmissionLimits, Refused, admit
from islands.records import Entry, Proposal
from swarm.agents.external.scratch import ScratchError, changes, read_tree

GENOME = {"gen/train.py": "LR = 0.1\n", "gen/deep/more.py": "N = 2\n"}
PARTS = ("gen",)


@pytest.fixture
def left(tmp_path):
    """A scratch copy as the agent was given it."""
    for path, text in GENOME.items():
        file = tmp_path / "genome" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "genome"


@pytest.fixture(autouse=True)
def modes_hold(monkeypatch):
    """Let modes hold for this process as for one that is not root's."""
    opened, looked = os.open, os.stat

    def open_(path, flags, mode=0o777, *, dir_fd=None):
        if not looked(path, dir_fd=dir_fd, follow_symlinks=False).st_mode & 0o400:
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, mode, dir_fd=dir_fd)

    def stat(path, *, dir_fd=None, follow_symlinks=True):
        if dir_fd is not None and not looked(dir_fd).st_mode & 0o100:
            raise PermissionError(13, "Permission denied", path)
        return looked(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "stat", stat)


@contextmanager
def closed(path: Path, mode: int):
    """Give `path` a mode inside the block: the folder of a test must be removable after it."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


def read(genome):
    """Return what is read back of a scratch copy."""
    folder = os.open(genome.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return read_tree(folder, genome.name, PARTS).files
    finally:
        os.close(folder)


def test_a_file_that_may_not_be_read_is_refused_by_admission(left):
    """With a line that names it and its mode; the agent is shown that."""
    with closed(left / "gen/train.py", 0):
        files = changes(GENOME, read(left))
    assert files == {"gen/train.py": Entry(b"", "100000")}
    head = {path: Entry(text.encode()) for path, text in GENOME.items()}
    answer = admit(Proposal("h", files), head, PARTS, AdmissionLimits(), "")
    assert isinstance(answer, Refused)
    assert answer.reason == "gen/train.py has mode 100000; propose mode 100644 only"


@pytest.mark.parametrize(
    ("folder", "mode", "told"),
    [
        ("gen/deep", 0o000, "it took away the right to read the folder gen/deep"),
        ("gen/deep", 0o600, "it took away the right to read the folder of gen/deep/more.py"),
        ("", 0o000, "it took away the right to read its working folder"),
    ],
)
def test_a_folder_that_may_not_be_read_is_an_error_in_a_line(left, folder, mode, told):
    """What it holds is not known, so nothing is proposed."""
    with closed(left / folder, mode), pytest.raises(ScratchError) as caught:
        read(left)
    assert str(caught.value) == told


def test_the_name_of_a_folder_cannot_forge_a_line(left):
    """The agent has chosen it."""
    odd = left / "gen/a\n\x1b[31mb"
    odd.mkdir()
    with closed(odd, 0), pytest.raises(ScratchError) as caught:
        read(left)
    assert str(caught.value).endswith(r"the folder gen/a\n\x1b[31mb")
