"""Merges a commit into the branch that the user has checked out, atomically.

All refusals come first, from git's objects alone (`merge-tree` computes the merged tree and its
conflicts without touching a file). Then three steps, in this order:

1. write the merge commit; only a note in git's directory points to it, which names the commit and
   the tree that the working tree is about to move between;
2. `git read-tree -m -u` moves index and working tree from the old commit to the merge. It checks
   before it writes, and never overwrites what the user has changed;
3. `git update-ref` moves the branch from the old commit to the merge, by compare-and-swap.

The branch moves last. A `kill -9` in between leaves the merge's changes uncommitted in the working
tree, where `git commit -a` would keep them; with the branch moved first it would silently revert
the merge. The next merge finds the note, verifies that every difference is that merge's own (each
file is as before, as after, missing, or a prefix of either, so git has all of it), undoes them and
starts over. Ctrl-C and SIGTERM wait until steps 2 and 3 are done (some
10 ms); a failure in them is undone before it is reported.

Hooks, fsmonitor, filters and merge drivers do not run (islands/git/plumbing.py). A merged file that
would pass through a filter of the user's configuration (git-lfs, say) is refused: without the
filter the working tree would be wrong.

Not covered: the merge is not signed; a `kill -9` while git holds a lock leaves the lock, which the
next merge names, with the fix; a file that the user emptied or deleted between a killed merge and
the next one is restored.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.contract import SetupError
from islands.genome.admission import REGULAR_FILE_MODE, is_inside
from islands.git.commit_stream import REGULAR_MODES
from islands.git.plumbing import IDENTITY, GitError, Plumbing, message_bytes

NOTE = "swarm-merge"
"""The file in git's directory that exists while a merge is in progress."""

IN_PROGRESS = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
}
"""Files in git's directory that show an unfinished operation of the user's, and its name."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file that the merge changes: its mode and object before and after ("" where absent)."""

    path: str
    old_mode: str
    new_mode: str
    old: str
    new: str


def check_mergeable(git: Plumbing, target: str, head: str, genome: tuple[str, ...]) -> None:
    """Raise SetupError where `merge_commit` would; change nothing.

    What a killed merge left behind does not raise, since `merge_commit` undoes it.
    """
    old = _target_commit(git, target)
    _, files = _merged_tree(git, old, head, target)
    _check_files(git, files, genome)
    _check_worktree(git, old, files)


def merge_commit(  # noqa: PLR0913  # what is merged, where to, and how
    git: Plumbing,
    target: str,
    head: str,
    message: str,
    genome: tuple[str, ...],
    *,
    squash: bool = False,
) -> str:
    """Merge commit `head` into the checked-out branch `target`; return the merge commit.

    The merge commit is the user's own (user.name and user.email; "swarm <swarm@localhost>" where
    they are not set), and has two parents even where a fast-forward is possible. With `squash` it
    has one, and the changes' own commits are not part of the branch's history.
    Raises SetupError, changing nothing, where `target` is not checked out or has changes, where
    git is in the middle of something, where there is nothing to merge or a conflict, and where a
    file outside the genome would change.
    """
    old = _target_commit(git, target)
    tree, files = _merged_tree(git, old, head, target)
    _check_files(git, files, genome)
    _check_clean(git, old, files)
    parents = ("-p", old) if squash else ("-p", old, "-p", head)
    commit = git.run_line(
        "commit-tree", tree, *parents, stdin=message_bytes(message), env=_author_variables(git)
    )
    _apply(git, target, commit, old, files)
    return commit


def _target_commit(git: Plumbing, target: str) -> str:
    """Return the commit that `target` is at; raise SetupError if nothing can be merged into it."""
    for name, operation in IN_PROGRESS.items():
        if (git.git_dir / name).exists():
            raise SetupError(f"a {operation} is in progress in {git.top}: finish or abort it first")
    branch = git.common_dir / "refs/heads" / f"{target}.lock"
    for lock in (git.git_dir / "index.lock", git.git_dir / "HEAD.lock", branch):
        if lock.exists():
            raise SetupError(f"{lock} exists: wait for the other git, or delete it if none runs")
    on = git.try_run("symbolic-ref", "--quiet", "HEAD").out.decode().strip()
    if on != f"refs/heads/{target}":
        where = on.removeprefix("refs/heads/") or "a detached HEAD"
        raise SetupError(f"{git.top} is on {where}: `git switch {target}` first")
    old = git.commit_id(on)
    if old is None:
        raise SetupError(f"branch {target} has no commits: make one first")
    return old


def _merged_tree(git: Plumbing, old: str, head: str, target: str) -> tuple[str, tuple[_File, ...]]:
    """Return the merged tree and the files that it changes."""
    if git.commit_id(head) != head:
        raise SetupError(f"{head!r} is no commit of {git.top}: nothing to merge")
    if git.try_run("merge-base", "--is-ancestor", head, old).code == 0:
        raise SetupError(f"{target} has {head[:12]} already: nothing to merge")
    if git.try_run("merge-base", old, head).code != 0:
        raise SetupError(f"{target} and {head[:12]} have no common commit: they cannot be merged")
    tree, conflicts = git.merge_tree(old, head)
    if conflicts:
        raise SetupError(
            f"conflict in {', '.join(conflicts)}: {target} has changed there too; "
            f"merge by hand (`git merge --no-ff {head[:12]}`)"
        )
    files = _changed_files(git, old, tree)
    if not files:
        raise SetupError(f"{target} has all changes of {head[:12]} already: nothing to merge")
    return tree, files


def _changed_files(git: Plumbing, old: str, tree: str) -> tuple[_File, ...]:
    diff = git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, tree)
    fields = os.fsdecode(diff).split("\0")
    return tuple(map(_parse_row, fields[0:-1:2], fields[1::2]))


def _parse_row(facts: str, path: str) -> _File:
    old_mode, new_mode, old, new, _ = facts.removeprefix(":").split(" ")
    return _File(path, old_mode, new_mode, old.strip("0") and old, new.strip("0") and new)


def _check_files(git: Plumbing, files: Sequence[_File], genome: tuple[str, ...]) -> None:
    """Raise for a change that admission refuses: a head that was moved by hand may hold one."""
    for file in files:
        if not is_inside(file.path, genome):
            raise SetupError(f"the merge would change {file.path!r}, outside the genome: refused")
        if not _is_plain(file):
            raise SetupError(f"the merge would give {file.path!r} mode {file.new_mode}: refused")
    paths = "".join(f"{file.path}\0" for file in files).encode()
    rows = os.fsdecode(git.run("check-attr", "-z", "--stdin", "filter", stdin=paths)).split("\0")
    for path, name in zip(rows[0::3], rows[2::3], strict=False):
        if any(setting.startswith(f"filter.{name}.") for setting in git.disabled_settings):
            raise SetupError(f"{path!r} passes through the git filter {name}: merge by hand")


def _is_plain(file: _File) -> bool:
    if file.old and file.old_mode not in REGULAR_MODES:
        return False
    return not file.new or file.new_mode in {REGULAR_FILE_MODE, file.old_mode}


def _check_clean(git: Plumbing, old: str, files: Sequence[_File]) -> None:
    """Raise if the user's own changes are in the way; undo what a killed merge left."""
    leftover = _check_worktree(git, old, files)
    if leftover:
        _restore(git, leftover)
    (git.git_dir / NOTE).unlink(missing_ok=True)


def _check_worktree(git: Plumbing, old: str, files: Sequence[_File]) -> Sequence[_File]:
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


def _untracked_obstacles(git: Plumbing, files: Sequence[_File]) -> list[str]:
    return [file.path for file in files if not file.old and _is_taken(git.top, file.path)]


def _unfinished_files(git: Plumbing, old: str) -> Sequence[_File]:
    """Return the files of a merge from `old` that left its note."""
    try:
        note = json.loads((git.git_dir / NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return ()
    if not isinstance(note, dict) or note.get("old") != old:
        return ()
    tree = str(note.get("tree"))
    exists = git.try_run("cat-file", "-e", f"{tree}^{{tree}}").code == 0
    return _changed_files(git, old, tree) if exists else ()


def _is_cut_off(git: Plumbing, files: Sequence[_File]) -> bool:
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


def _is_prefix(git: Plumbing, file: _File) -> bool:
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


def _is_left_over(git: Plumbing, dirty: set[str], files: Sequence[_File]) -> bool:
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


def _apply(git: Plumbing, target: str, commit: str, old: str, files: Sequence[_File]) -> None:
    """Move working tree, index and branch from `old` to `commit`, or leave all unchanged."""
    try:
        with _uninterrupted(), _undone_on_failure(git, files):
            _write_note(git, old, commit)
            git.try_run("update-index", "-q", "--refresh")
            git.run("read-tree", "-m", "-u", old, commit)
            git.run("update-ref", "-m", "swarm merge", f"refs/heads/{target}", commit, old)
            (git.git_dir / NOTE).unlink(missing_ok=True)
    except GitError as error:
        raise SetupError(
            f"{target} is unchanged, since git could not merge: {_first_line(error)}"
        ) from error


def _write_note(git: Plumbing, old: str, commit: str) -> None:
    tree = git.run_line("rev-parse", f"{commit}^{{tree}}")
    partial = git.git_dir / f"{NOTE}.new"
    partial.write_text(json.dumps({"old": old, "tree": tree}))
    partial.replace(git.git_dir / NOTE)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM; git processes started inside inherit the mask.

    The mask covers this thread and its children. Another thread of ours could still take the signal
    and run Python's handler, so the handlers are deferred, too.
    """
    caught: list[int] = []
    deferred = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda n, _: caught.append(n)) for number in deferred}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deferred)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    for caught_number in caught:
        signal.raise_signal(caught_number)


@contextmanager
def _undone_on_failure(git: Plumbing, files: Sequence[_File]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        try:
            _restore(git, files)
            (git.git_dir / NOTE).unlink(missing_ok=True)
        except GitError as second:
            fix = f"`git reset --hard` in {git.top} undoes it"
            reason = f"{_first_line(error)}; {_first_line(second)}"
            raise SetupError(f"the merge failed halfway: {fix} ({reason})") from second
        raise


def _restore(git: Plumbing, files: Sequence[_File]) -> None:
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


def _is_written(git: Plumbing, file: _File, present: str) -> bool:
    """Return whether an existing new file is the merge's: all of it, or a prefix."""
    if present in {"", "?", file.new}:
        return present == file.new
    return git.run("cat-file", "blob", file.new).startswith((git.top / file.path).read_bytes())


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _remove(top: Path, at: Path) -> None:
    """Delete a file, and the folders above it that become empty."""
    at.unlink()
    for folder in at.parents:
        if folder == top or any(folder.iterdir()):
            return
        folder.rmdir()


def _author_variables(git: Plumbing) -> Mapping[str, str]:
    """Return variables that name the author: none where git's configuration names the user."""
    has_user = all(
        git.try_run("-c", "user.useConfigOnly=true", "var", name).code == 0
        for name in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
    )
    return {} if has_user else IDENTITY
