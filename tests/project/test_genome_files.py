"""A genome that agents could not change is refused at launch, before a run is made."""

import pytest

from harness.contract import SetupError
from swarm.coordinator.launch_options import LaunchOptions, select_run
from tests.support.repository import git, make

PROGRAM = "---\ntask: packing\ngenome: [genome]\n---\nPack.\n"


def refused(tmp_path, files, link=""):
    """Return the line that refuses a launch on a genome of these files (bytes by name)."""
    repo = make(tmp_path / "r", {"program.md": PROGRAM, "genome/pack.py": "A = 1\n"})
    for name, data in files.items():
        (repo / "genome" / name).write_bytes(data)
    if link:
        (repo / "genome" / link).symlink_to("pack.py")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "two")
    with pytest.raises(SetupError) as caught:
        select_run(repo, LaunchOptions())
    assert not (repo / ".swarm").exists()
    assert "swarm" not in git(repo, "for-each-ref")
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("pack.py", "A = 'é'\n".encode("latin-1"), "genome/pack.py: line 1 is not UTF-8"),
        ("a.txt", b"a\nb\xff\n", "genome/a.txt: line 2 is not UTF-8"),
        ("a.bin", b"\0\1", "genome/a.bin: is binary"),
        ("b.py", b"# coding: latin-1\n", "declares the encoding iso-8859-1"),
        ("pack.py", b"def (:\n", "genome/pack.py: does not parse as Python (line 1:"),
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS file"),
    ],
)
def test_what_is_no_text_is_refused_in_a_line(tmp_path, name, data, expected):
    """It names the file and the fix, and leaves no folder and no ref."""
    line = refused(tmp_path, {name: data})
    assert expected in line
    assert line.endswith("or leave it out of `genome:` in program.md")


def test_a_link_is_refused(tmp_path):
    """A candidate could not change it."""
    assert "genome/l.py: is a symbolic link" in refused(tmp_path, {}, link="l.py")


def test_a_byte_order_mark_is_text(tmp_path):
    """Such a genome is launched."""
    repo = make(tmp_path / "r", {"program.md": PROGRAM, "genome/pack.py": "\ufeffA = 1\n"})
    assert select_run(repo, LaunchOptions()).name == "run1"
