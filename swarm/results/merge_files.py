"""The files that a merge changes, as index and working tree hold them, and how they are restored.

A merge that is under way leaves a note in git's directory. The next one finds it, verifies that
every difference is that merge's own (each file is as before, as after, missing, or a prefix of
either, so git has all of it), and undoes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.contract import SetupError
from islands.git.plumbing import Plumbing

NOTE = "swarm-merge"
"""The file in git's directory that exists while a merge is in progress."""


@dataclass(frozen=True, slots=True)
class MergedFile:
    """A file that the merge changes: its mode and object before and after ("" where absent)."""

    path: str
    old_mode: str
    new_mode: str
    old: str
    new: str


def changed_files(git: Plumbing, old: str, tree: str) -> tuple[MergedFile, ...]:
    """Return the files that differ between a commit and a tree."""
    diff = git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, tree)
    fields = os.fsdecode(diff).split("\0")
    return tuple(map(_parse_row, fields[0:-1:2], fields[1::2]))


def _parse_row(facts: str, path: str) -> MergedFile:
    old_mode, new_mode, old, new, _ = facts.removeprefix(":").split(" ")
    return MergedFile(path, old_mode, new_mode, old.strip("0") and old, new.strip("0") and new)


def check_clean(git: Plumbing, old: str, files: Sequence[MergedFile]) -> None:
    """Raise if the user's own changes are in the way; undo what a killed merge left."""
    leftover = check_worktree(git, old, files)
    if leftover:
        restore(git, leftover)
    (git.git_dir / NOTE).unlink(missing_ok=True)


def check_worktree(git: Plumbing, old: str, files: Sequence[MergedFile]) -> Sequence[MergedFile]:
    """Return the files that a killed merge left changed; raise if anything else differs."""
    options = ("--porcelain", "-z", "--untracked-files=no", "--no-renames")
    status = os.fsdecode(git.run("status", *options, "--ignore-submodules=dirty"))
    dirty = {line[3:] for line in status.split("\0") if line}
    unfinished = _unfinished_files(git, old)
    explained = {file.path for file in unfinished}
    if dirty <= explained and _is_cut_off(git, unfinished):
        dirty = set()
    else:  # something differs that the note does not explain, so it excuses nothing
        unfinished, explained = (), set()
    obstacles = [path for path in _untracked_obstacles(git, files) if path not in explained]
    # without a note: the same merge may have been killed, if every difference is its own
    if (dirty or obstacles) and _is_left_over(git, dirty, files):
        return files
    if dirty:
        names = ", ".join(sorted(dirty)[:3])
        raise SetupError(f"{git.top} has uncommitted changes ({names}): commit or stash them first")
    if obstacles:
        raise SetupError(f"the merge would overwrite {git.top / obstacles[0]}: move it away first")
    return unfinished


def _untracked_obstacles(git: Plumbing, files: Sequence[MergedFile]) -> list[str]:
    return [file.path for file in files if not file.old and _is_taken(git.top, file.path)]


def _unfinished_files(git: Plumbing, old: str) -> Sequence[MergedFile]:
    """Return the files of a merge from `old` that left its note."""
    try:
        note = json.loads((git.git_dir / NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return ()
    if not isinstance(note, dict) or note.get("old") != old:
        return ()
    tree = str(note.get("tree"))
    exists = git.try_run("cat-file", "-e", f"{tree}^{{tree}}").code == 0
    return changed_files(git, old, tree) if exists else ()


def _is_cut_off(git: Plumbing, files: Sequence[MergedFile]) -> bool:
    """Return whether index and files are as a merge that was killed at any point leaves them."""
    paths = [file.path for file in files]
    staged, present = _index_objects(git, paths), _worktree_objects(git, paths)
    return all(
        staged[file.path] in {file.old, file.new}
        and (
            present[file.path] in {"", file.old, file.new}
            or (present[file.path] != "?" and _is_prefix(git, file))
        )
        for file in files
    )


def _is_prefix(git: Plumbing, file: MergedFile) -> bool:
    """Return whether the file is a prefix of what the merge, or its undoing, writes."""
    content = (git.top / file.path).read_bytes().replace(b"\r\n", b"\n")
    return any(
        git.run("cat-file", "blob", name).replace(b"\r\n", b"\n").startswith(content)
        for name in (file.new, file.old)
        if name
    )


def _is_taken(top: Path, path: str) -> bool:
    """Return whether `path` is occupied, or a folder above it is a file or a link."""
    folders = (top / path).relative_to(top).parents
    if any((top / at).is_symlink() or (top / at).is_file() for at in folders):
        return True
    return (top / path).exists() or (top / path).is_symlink()


def _is_left_over(git: Plumbing, dirty: set[str], files: Sequence[MergedFile]) -> bool:
    """Return whether all differences are what this same merge writes: nothing can be lost."""
    paths = [file.path for file in files]
    if not dirty <= set(paths):
        return False
    staged = _index_objects(git, paths)
    present = _worktree_objects(git, paths)
    return all(
        staged[file.path] in {file.old, file.new} and present[file.path] in {file.old, file.new}
        for file in files
    )


def _index_objects(git: Plumbing, paths: Sequence[str]) -> dict[str, str]:
    """Return the object of each path in the index, "" where it has none."""
    rows = os.fsdecode(git.run("ls-files", "-s", "-z", "--", *paths)).split("\0")
    entries = (row.split("\t") for row in rows if row)
    objects = {path: facts.split(" ")[1] for facts, path in entries}
    return {path: objects.get(path, "") for path in paths}


def _worktree_objects(git: Plumbing, paths: Sequence[str]) -> dict[str, str]:
    """Return the object of each path in the working tree.

    It is "" where there is nothing, and "?" where there is something other than a regular file.
    """
    regular = [path for path in paths if _is_regular(git.top, path)]
    lines = "".join(f"{path}\n" for path in regular).encode()
    hashes = git.run("hash-object", "--stdin-paths", stdin=lines).decode().split()
    objects = dict(zip(regular, hashes, strict=True))
    return {path: objects.get(path, "?" if _is_taken(git.top, path) else "") for path in paths}


def _is_regular(top: Path, path: str) -> bool:
    at = top / path
    return (
        at.is_file()
        and not at.is_symlink()
        and at.parent.resolve() == (top.resolve() / path).parent
    )


def write_note(git: Plumbing, old: str, tree: str) -> None:
    """Note in git's directory that a merge moves index and working tree from `old` to `tree`."""
    partial = git.git_dir / f"{NOTE}.new"
    partial.write_text(json.dumps({"old": old, "tree": tree}))
    partial.replace(git.git_dir / NOTE)


def restore(git: Plumbing, files: Sequence[MergedFile]) -> None:
    """Restore the merge's files, and no others, in index and working tree.

    The index is written only if it differs: a git that was killed while it wrote files leaves its
    lock and the old index, and the files are restored all the same.
    """
    paths = [file.path for file in files]
    staged, present = _index_objects(git, paths), _worktree_objects(git, paths)
    absent = "0" * len(git.run_line("rev-parse", "HEAD"))
    rows = (f"{file.old_mode} {file.old or absent}\t{file.path}\0" for file in files)
    if any(staged[file.path] != file.old for file in files):
        git.run("update-index", "-z", "--index-info", stdin="".join(rows).encode())
    kept = "".join(f"{file.path}\0" for file in files if file.old)
    git.run("checkout-index", "-f", "-z", "--stdin", stdin=kept.encode())
    for file in files:
        if not file.old and _is_written(git, file, present[file.path]):
            _remove(git.top, git.top / file.path)
    git.try_run("update-index", "-q", "--refresh")


def _is_written(git: Plumbing, file: MergedFile, present: str) -> bool:
    """Return whether an existing new file is the merge's: all of it, or a prefix."""
    if present in {"", "?", file.new}:
        return present == file.new
    return git.run("cat-file", "blob", file.new).startswith((git.top / file.path).read_bytes())


def _remove(top: Path, at: Path) -> None:
    """Delete a file, and the folders above it that become empty."""
    at.unlink()
    for folder in at.parents:
        if folder == top or any(folder.iterdir()):
            return
        folder.rmdir()
