"""Diffs of commits, and changes applied to other commits, on real git."""

import pytest

from islands.git.branches import Branches
from islands.records import Conflict, Entry
from tests.islands.git.genome import GENOME, T, edit
from tests.support.repository import git, write


def test_diff_and_numstat_cover_the_genome_only(repo, run):
    """Changes outside the genome are not in a diff."""
    base = run.base("main")
    write(repo, {"harness.py": "moved\n", "gen/train.py": "a = 1\nb = 5\nc = 3\nd = 4\n"})
    git(repo, "commit", "-qam", "two")
    two = run.base("main")
    assert run.numstat(base, two) == (2, 1)
    text = run.diff(base, two)
    assert "-b = 2\n+b = 5\n" in text
    assert "harness.py" not in text
    assert run.numstat(base, base) == (0, 0)
    assert run.diff(base, base) == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ("9 2 3 4", "1 2 7 4", "9 2 7 4"),
        ("9 2 3 4", "1 7 3 4", None),  # adjacent lines
        ("9 2 3 4", "7 2 3 4", None),  # the same line
        ("9 2 3 4", "9 2 3 4", ""),  # the same change
        ("1 2 3 4 5", "1 2 3 4 6", None),  # two additions at one place
        ("2 3 4", "1 2 3", "2 3"),
    ],
)
def test_a_change_applies_to_another_commit_or_conflicts(run, ours, theirs, merged):
    """Separate lines merge; the same line, adjacent lines and two additions at one place do not."""
    lines = [
        edit(side.replace(" ", "\n") + "\n") for side in ("1 2 3 4", ours, theirs, merged or "")
    ]
    parent = run.commit(run.base("main"), lines[0], "m", 1, T)
    onto = run.commit(parent, lines[1], "m", 2, T)
    change = run.commit(parent, lines[2], "m", 3, T)
    result = run.apply_change(parent, change, onto)
    if merged is None:
        assert result == Conflict(("gen/train.py",))
    else:
        assert result == (lines[3] if merged else {})


def test_a_change_applies_between_unrelated_histories(run):
    """Only three contents count, not ancestry: one commit of a chain applies alone."""
    base = run.base("main")
    first = run.commit(base, edit("a = 9\nb = 2\nc = 3\n"), "m", 1, T)
    second = run.commit(first, edit("a = 9\nb = 2\nc = 7\n"), "m", 2, T)
    assert run.apply_change(first, second, base) == edit("a = 1\nb = 2\nc = 7\n")
    assert run.apply_change(second, first, second) == edit("a = 9\nb = 2\nc = 3\n")
    assert run.apply_change(first, second, first) == edit("a = 9\nb = 2\nc = 7\n")


def test_a_renamed_file_takes_edits_along_and_a_deleted_one_conflicts(run):
    """A rename keeps the other side's edit; a deletion of an edited file is a conflict."""
    text = "".join(f"v{n} = {n}\n" for n in range(20))
    parent = run.commit(run.base("main"), {"gen/model.py": Entry(text.encode())}, "m", 1, T)
    new = text.replace("v9 = 9\n", "v9 = 99\n").encode()
    edited = run.commit(parent, {"gen/model.py": Entry(new)}, "m", 2, T)
    moved = {"gen/model.py": None, "gen/net.py": Entry(text.encode())}
    renamed = run.commit(parent, moved, "m", 3, T)
    deleted = run.commit(parent, {"gen/model.py": None}, "m", 4, T)
    assert run.apply_change(parent, edited, renamed) == {"gen/net.py": Entry(new)}
    expected = {"gen/model.py": None, "gen/net.py": Entry(new)}
    assert run.apply_change(parent, renamed, edited) == expected
    assert run.apply_change(parent, deleted, edited) == Conflict(("gen/model.py",))
    assert run.apply_change(parent, edited, deleted) == Conflict(("gen/model.py",))
    assert run.apply_change(parent, deleted, deleted) == {}


def test_a_file_stays_where_it_was_put_when_its_folder_is_renamed(run):
    """Git would move it along with its neighbours; here it stays at a path that a side has."""
    neighbours = {f"gen/old/{n}.py": Entry(b"x = 1\n" * (n + 5)) for n in range(3)}
    parent = run.commit(run.base("main"), neighbours, "m", 1, T)
    moved = dict.fromkeys(neighbours)
    moved |= {path.replace("old", "new"): entry for path, entry in neighbours.items()}
    onto = run.commit(parent, moved, "m", 2, T)
    added = run.commit(parent, {"gen/old/extra.py": Entry(b"y = 2\n")}, "m", 3, T)
    assert run.apply_change(parent, added, onto) == {"gen/old/extra.py": Entry(b"y = 2\n")}


def test_an_executable_stays_one_when_a_change_is_applied(repo):
    """The mode of the merged file is that of the two sides."""
    (repo / "gen" / "tool.sh").write_text("one\n\nthree\n")
    (repo / "gen" / "tool.sh").chmod(0o755)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "tool")
    run = Branches(repo, "r1", GENOME)
    base, tool = run.base("main"), "gen/tool.sh"
    onto = run.commit(base, {tool: Entry(b"one\n\n3\n", "100755")}, "m", 1, T)
    change = run.commit(base, {tool: Entry(b"1\n\nthree\n", "100755")}, "m", 2, T)
    assert run.apply_change(base, change, onto) == {tool: Entry(b"1\n\n3\n", "100755")}
