"""A run's refs: its branches, and one ref for every candidate.

An island is the branch `swarm/<run>/<island>`. A candidate is a commit under
`refs/swarm/<run>/tried/<experiment>`, so that `git gc` keeps it whether it was kept or not; a
candidate rebased onto a new head is under `refs/swarm/<run>/rebased/<experiment>/<head>`, and what
an agent had checked before it proposed under `refs/swarm/<run>/asked/<experiment>/<question>`. All
of these are packed at times (`islands.git.packs`) and are refs no longer. The
ratchet is the compare-and-swap `git update-ref REF NEW OLD`: git refuses if the ref is not at OLD.

Not covered: a branch that the user has checked out still moves on a keep, and their working tree
then looks changed (reading must not stop a swarm; `git switch --detach` avoids it).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Container, Mapping
from pathlib import Path

from harness.contract import SetupError
from islands.git.packs import CandidatePacks
from islands.git.plumbing import GitError, Plumbing

ABSENT = ""
"""The old value by which `update-ref` means "the ref does not exist"."""

STALE_LOCK_S = 1.0
"""Seconds after which a ref's lock was left by a killed process; git holds one for microseconds."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


class HeadMovedError(Exception):
    """An island's branch is not at the head that the ledger gives: something else moved it."""


class RunRefs:
    """The refs of run `run`. Raises SetupError where a name cannot be part of a branch name."""

    def __init__(self, git: Plumbing, run: str) -> None:
        self._git = git
        self.run = _checked_name("run", run)

    @property
    def folder(self) -> str:
        """The prefix of the run's refs other than branches."""
        return f"refs/swarm/{self.run}/"

    def branch(self, island: str) -> str:
        """Return the name of the island's branch, as `git log` takes it."""
        return f"swarm/{self.run}/{_checked_name('island', island)}"

    def branch_ref(self, island: str) -> str:
        """Return the full ref of the island's branch."""
        return f"refs/heads/{self.branch(island)}"

    def tried_ref(self, experiment: int) -> str:
        """Return the ref of the experiment's candidate."""
        return f"{self.folder}tried/{experiment}"

    def advance(self, island: str, new: str, old: str) -> None:
        """Move the island's branch from `old` to `new`; raise HeadMovedError if it is elsewhere.

        An `old` of ABSENT creates the branch.
        """
        ref = self.branch_ref(island)
        result = self._git.try_run("update-ref", "--no-deref", "-m", "swarm: keep", ref, new, old)
        if result.code == 0:
            return
        commit = self._git.commit_id(ref) or ABSENT
        if commit != old:
            place = f"at {commit}, not at {old or 'nothing'}" if commit else "gone"
            raise HeadMovedError(f"branch {self.branch(island)} is {place}")
        raise GitError(f"git update-ref {ref}: {result.err.strip()}")

    def sync(self, heads: Mapping[str, str]) -> None:
        """Move every island's branch to its head by the ledger: all of them, or none.

        A branch moves only where no commit of the user's can be lost. Raises SetupError where it is
        checked out, or holds commits that the swarm did not make.
        """
        self._remove_stale_locks()
        branches = self._branches()
        self._check_names_free(branches)
        updates = []
        for island, head in sorted(heads.items()):
            ref = self.branch_ref(island)
            old, worktree = branches.get(ref, (ABSENT, ""))
            if old != head:
                self._check_movable(self.branch(island), old, head, worktree)
                updates.append(f"update {ref} {head} {old}\n")
        if updates:
            stream = "".join(updates).encode()
            self._git.run("update-ref", "--no-deref", "-m", "swarm", "--stdin", stdin=stream)

    def _branches(self) -> dict[str, tuple[str, str]]:
        """Return every branch of every run by ref: its commit, and the worktree that has it out."""
        form = "%(refname)%00%(objectname)%00%(worktreepath)"
        listed = os.fsdecode(self._git.run("for-each-ref", f"--format={form}", "refs/heads/swarm"))
        rows = [line.split("\0") for line in listed.splitlines()]
        return {ref: (commit, worktree) for ref, commit, worktree in rows}

    def _check_names_free(self, branches: Container[str]) -> None:
        """Raise SetupError where a branch has the name of a folder of the run's branches."""
        for name in ("swarm", f"swarm/{self.run}"):
            if f"refs/heads/{name}" in branches:
                raise SetupError(
                    f"branch {name} blocks the run's branches (swarm/{self.run}/...): rename it "
                    f"(git branch -m {name} OTHER)"
                )

    def _check_movable(self, branch: str, old: str, head: str, worktree: str) -> None:
        if self._git.commit_id(head) != head:
            raise SetupError(f"commit {head} of the ledger is not in the repository: fetch it back")
        if worktree:
            raise SetupError(
                f"branch {branch} is checked out in {worktree}: switch to another there, then try "
                "again"
            )
        if old != ABSENT and not self._made_by_swarm(old, head):
            raise SetupError(
                f"branch {branch} holds commits that the swarm did not make: rename it "
                f"(git branch -m {branch} OTHER) and launch again"
            )

    def _made_by_swarm(self, commit: str, head: str) -> bool:
        """Return whether `commit` is an ancestor of `head`, or one of the run's candidates."""
        if self._git.try_run("merge-base", "--is-ancestor", commit, head).code == 0:
            return True
        if self._git.run("for-each-ref", f"--points-at={commit}", self.folder):
            return True
        return commit in CandidatePacks(self._git, self.run).refs().values()

    def _remove_stale_locks(self) -> None:
        """Remove the locks that a `kill -9` of git left in the run's own folders of refs."""
        common = self._git.common_dir
        folders = [common / f"refs/heads/swarm/{self.run}", common / self.folder]
        inodes = {lock: _inode(lock) for folder in folders for lock in folder.rglob("*.lock")}
        if inodes:
            time.sleep(STALE_LOCK_S)
        for lock, inode in inodes.items():
            if inode is not None and _inode(lock) == inode:
                lock.unlink(missing_ok=True)


def _checked_name(what: str, name: str) -> str:
    if not _NAME.fullmatch(name) or name.endswith(".lock"):
        raise SetupError(f"{what} {name!r} cannot name a branch: use letters, digits, - and _")
    return name


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
