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
the merge. The next merge finds the note, undoes what the killed one did (merge_files.py) and starts
over. Ctrl-C and SIGTERM wait until steps 2 and 3 are done (some 10 ms); a failure in them is undone
before it is reported.

Fsmonitor, filters and merge drivers do not run (islands/git/plumbing.py); hooks run where the
policy says so (commit_policy.py): then step 1 comes after step 2, since a hook sees the merged
files and may edit the message. A merged file that would pass through a filter of the user's
configuration (git-lfs, say) is refused: without the filter the working tree would be wrong.

Not covered: a `kill -9` while git holds a lock leaves the lock, which the next merge names, with
the fix; a file that the user emptied or deleted between a killed merge and the next one is
restored.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.contract import SetupError
from islands.genome.admission import REGULAR_FILE_MODE
from islands.genome.paths import is_inside
from islands.git.commit_stream import REGULAR_MODES
from islands.git.plumbing import IDENTITY, GitError, Plumbing, message_bytes
from swarm.results.commit_policy import CommitPolicy, run_hooks_after, run_hooks_before
from swarm.results.merge_files import (
    NOTE,
    MergedFile,
    changed_files,
    check_clean,
    check_worktree,
    restore,
    write_note,
)

IN_PROGRESS = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
}
"""Files in git's directory that show an unfinished operation of the user's, and its name."""


def check_mergeable(git: Plumbing, target: str, head: str, genome: tuple[str, ...]) -> None:
    """Raise SetupError where `merge_commit` would; change nothing.

    What a killed merge left behind does not raise, since `merge_commit` undoes it.
    """
    old = _target_commit(git, target)
    _, files = _merged_tree(git, old, head, target)
    _check_files(git, files, genome)
    check_worktree(git, old, files)


def check_conflicts(git: Plumbing, target: str, head: str, genome: tuple[str, ...]) -> None:
    """Raise SetupError where a merge into `target` would not go through, checked out or not."""
    old = git.commit_id(f"refs/heads/{target}")
    if old is None:
        raise SetupError(f"branch {target} is gone: make it again (`git branch {target} COMMIT`)")
    _, files = _merged_tree(git, old, head, target)
    _check_files(git, files, genome)


def merge_commit(  # noqa: PLR0913  # what is merged, where to, and how
    git: Plumbing,
    target: str,
    head: str,
    message: str,
    genome: tuple[str, ...],
    *,
    policy: CommitPolicy | None = None,
) -> str:
    """Merge commit `head` into the checked-out branch `target`; return the merge commit.

    The merge commit is the user's own (user.name and user.email; "swarm <swarm@localhost>" where
    they are not set), and has two parents even where a fast-forward is possible. With
    `policy.squash` it has one, and the changes' own commits are not part of the branch's history.
    Raises SetupError, changing nothing, where `target` is not checked out or has changes, where
    git is in the middle of something, where there is nothing to merge or a conflict, where a file
    outside the genome would change, where a hook refuses, and where git cannot sign.
    """
    old = _target_commit(git, target)
    tree, files = _merged_tree(git, old, head, target)
    _check_files(git, files, genome)
    check_clean(git, old, files)
    policy = policy or CommitPolicy()
    merge = _Merge(git, target, old, head, tree, files, policy)
    try:
        return merge.with_hooks(message) if policy.run_hooks else merge.at_once(message)
    except GitError as error:
        reason = _first_line(error)
        raise SetupError(f"{target} is unchanged, since git could not merge: {reason}") from error


@dataclass(frozen=True, slots=True)
class _Merge:
    """A merge that nothing speaks against: from commit `old` to `tree`, which has `head` in it."""

    git: Plumbing
    target: str
    old: str
    head: str
    tree: str
    files: Sequence[MergedFile]
    policy: CommitPolicy

    def at_once(self, message: str) -> str:
        """Move working tree, index and branch to a merge commit, or leave all unchanged."""
        commit = self._commit(message)
        with _uninterrupted(), _undone_on_failure(self.git, self.files):
            self._move_files()
            self._move_branch(commit)
        return commit

    def with_hooks(self, message: str) -> str:
        """Do the same, and let the repository's hooks see and refuse it; Ctrl-C undoes it."""
        with _undone_on_failure(self.git, self.files):
            with _uninterrupted():
                self._move_files()
            commit = self._commit(run_hooks_before(self.git, self.policy, message, self.tree))
            with _uninterrupted():
                self._move_branch(commit)
        run_hooks_after(self.git, self.policy)
        return commit

    def _commit(self, message: str) -> str:
        """Write the merge commit; return it."""
        signed = ("-S",) if self.policy.sign else ()
        parents = ("-p", self.old) if self.policy.squash else ("-p", self.old, "-p", self.head)
        text, author = message_bytes(message), _author_variables(self.git)
        words = ("commit-tree", *signed, self.tree, *parents)
        # a key's passphrase is asked for on the terminal, which the foreground may read
        made = self.git.try_run(*words, stdin=text, env=author, foreground=self.policy.sign)
        if made.code and self.policy.sign:
            raise SetupError(
                f"{self.target} is unchanged, since git could not sign the commit"
                f" ({_last_line(made.err)}): set user.signingKey to a key that works here, or add"
                " --no-sign"
            )
        if made.code:
            raise GitError(f"git commit-tree: exit {made.code}: {made.err.strip()}")
        return made.out.decode().strip()

    def _move_files(self) -> None:
        write_note(self.git, self.old, self.tree)
        self.git.try_run("update-index", "-q", "--refresh")
        self.git.run("read-tree", "-m", "-u", self.old, self.tree)

    def _move_branch(self, commit: str) -> None:
        branch = f"refs/heads/{self.target}"
        self.git.run("update-ref", "-m", "swarm merge", branch, commit, self.old)
        (self.git.git_dir / NOTE).unlink(missing_ok=True)


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


def _merged_tree(
    git: Plumbing, old: str, head: str, target: str
) -> tuple[str, tuple[MergedFile, ...]]:
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
    files = changed_files(git, old, tree)
    if not files:
        raise SetupError(f"{target} has all changes of {head[:12]} already: nothing to merge")
    return tree, files


def _check_files(git: Plumbing, files: Sequence[MergedFile], genome: tuple[str, ...]) -> None:
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


def _is_plain(file: MergedFile) -> bool:
    if file.old and file.old_mode not in REGULAR_MODES:
        return False
    return not file.new or file.new_mode in {REGULAR_FILE_MODE, file.old_mode}


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
def _undone_on_failure(git: Plumbing, files: Sequence[MergedFile]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        try:
            with _uninterrupted():
                restore(git, files)
                (git.git_dir / NOTE).unlink(missing_ok=True)
        except GitError as second:
            fix = f"`git reset --hard` in {git.top} undoes it"
            reason = f"{_first_line(error)}; {_first_line(second)}"
            raise SetupError(f"the merge failed halfway: {fix} ({reason})") from second
        raise


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _last_line(text: str) -> str:
    return next(iter(text.strip().splitlines()[-1:]), "git gives no reason")


def _author_variables(git: Plumbing) -> Mapping[str, str]:
    """Return variables that name the author: none where git's configuration names the user."""
    has_user = all(
        git.try_run("-c", "user.useConfigOnly=true", "var", name).code == 0
        for name in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
    )
    return {} if has_user else IDENTITY
