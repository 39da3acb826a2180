"""The git side of a run: island branches, and a ref for every candidate that was ever tried.

An island is the branch `swarm/<run>/<island>`. A candidate is a commit under
`refs/swarm/<run>/tried/<experiment>`, so that `git gc` keeps it whether it was kept or not; made
anew on a head that has moved, it is under `refs/swarm/<run>/rebased/<experiment>/<head>`. The
ratchet is `git update-ref REF NEW OLD`: git itself refuses where the ref is not at OLD.

A candidate is written by one `git fast-import` fed with one stream: blobs, trees, commit and ref
in 12 ms, against 24 ms for hash-object, update-index, write-tree, commit-tree and update-ref
(medians of 40 on 2 cores). There is no index and no working tree, hence nothing that two threads
could meet on. A stream that breaks off (it ends in `done`) changes no ref.

Not covered: a branch that the user has checked out is moved on a keep all the same, and their
working tree then looks changed (one who only looks must not stop a swarm; `git switch --detach`
looks without that); two paths that a case-insensitive file system takes for one; a `kill -9`
within `forget` can leave git's packed-refs.lock, which git asks the user to remove.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from harness.contract import SetupError
from islands.genome.admission import is_inside
from islands.git.plumbing import IDENTITY, GitError, Plumbing, message_bytes
from islands.records import Conflict, Entry

ABSENT = ""
"""What `update-ref` takes, as an old value, for "there is no such ref"."""

REGULAR = ("100644", "100755")

SUBMODULE = "160000"

STALE_LOCK_S = 1.0
"""A ref's lock is held for microseconds; one of ours that outlives this was left by a kill."""

CACHED_COMMITS = 64
"""Commits whose genomes are held in memory."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


class HeadMovedError(Exception):
    """An island's branch is not where the ledger has its head: somebody else moved it."""


class Branches:
    """One run's branches and candidates in `repo`; its methods may be called from any thread.

    `genome` are the files and folders that candidates may change, as paths of the repository.
    Commits are given and returned as full ids. Methods raise GitError where git fails for no
    reason named here. Raises SetupError where `repo` is no repository or a name cannot be a
    branch's.
    """

    def __init__(self, repo: Path, run: str, genome: tuple[str, ...]) -> None:
        self._git = Plumbing(repo)
        self._run = _named("run", run)
        self._genome = genome
        # a head is what each proposal on it is held against: two processes of git less for each
        self._known = lru_cache(CACHED_COMMITS)(self._files)

    def base(self, rev: str) -> str:
        """Return the id of the commit that `rev` names. Raises SetupError where it names none."""
        found = self._git.commit_id(rev)
        if found is None:
            raise SetupError(f"{rev!r} names no commit: name a branch, a tag or a commit id")
        return found

    def branch(self, island: str) -> str:
        """Return the name of the island's branch, as `git log` takes it."""
        return f"swarm/{self._run}/{_named('island', island)}"

    def head(self, island: str) -> str:
        """Return the commit that the island's branch is at. Raises HeadMovedError without one."""
        found = self._git.commit_id(self._ref(island))
        if found is None:
            raise HeadMovedError(f"branch {self.branch(island)} is gone")
        return found

    def tried(self, experiment: int) -> str | None:
        """Return the experiment's candidate, None where it never became one."""
        return self._git.commit_id(self._tried(experiment))

    def contains(self, commit: str, ancestor: str) -> bool:
        """Return whether `ancestor` is in the history of `commit`."""
        return self._git.try_run("merge-base", "--is-ancestor", ancestor, commit).code == 0

    def files(self, commit: str) -> dict[str, Entry]:
        """Return the genome of a commit (or tree) by path.

        A symbolic link is an entry of mode 120000 that holds its target, a submodule one of mode
        160000 that holds nothing.
        """
        return dict(self._known(commit))

    def _files(self, commit: str) -> dict[str, Entry]:
        paths = [path.rstrip("/") for path in self._genome]
        listed = self._git.run("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths)
        rows = [_row(line) for line in listed.split(b"\0") if line]
        blobs = self._blobs({name for mode, name, _ in rows if mode != SUBMODULE})
        return {path: Entry(blobs.get(name, b""), mode) for mode, name, path in rows}

    def export(self, commit: str, into: Path) -> None:
        """Write the genome's regular files below `into`, at their paths in the repository.

        No attribute, filter or line-ending rule has a say. `into` appears whole or not at all;
        where it is there already it is left alone, since a commit's export never differs.
        """
        if into.is_dir():
            return
        into.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".export-", dir=into.parent))
        try:
            for path, entry in self.files(commit).items():
                if entry.mode in REGULAR and is_inside(path, self._genome):
                    _write(partial / path, entry)
            _open_folders(partial)
            _appear(partial, into)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def commit(
        self,
        parent: str,
        files: Mapping[str, Entry | None],
        message: str,
        experiment: int,
        when: int,
    ) -> str:
        """Commit `files` (None deletes) on top of `parent` as the experiment's candidate.

        Author and committer are "swarm <swarm@localhost>" whatever the user's configuration
        says, `when` is their time (seconds since the epoch): equal arguments give an equal id
        on every machine. Raises SetupError where the experiment has another candidate already,
        ValueError where a file is not a regular one inside the genome.
        """
        ref = self._tried(experiment)
        try:
            return self._commit(ref, parent, files, message, when)
        except GitError:
            if self._git.commit_id(ref) is None:
                raise
        raise SetupError(
            f"run {self._run} has another candidate of experiment {experiment}, from a ledger that "
            f"is gone: launch under another run name, or delete {self._kept}"
        )

    def commit_under_ref(
        self, name: str, parent: str, files: Mapping[str, Entry | None], message: str, when: int
    ) -> str:
        """Commit `files` on `parent` as `commit` does, held by the run's ref `name`.

        Asked again with equal arguments it finds the very same commit there. Raises GitError where
        the ref holds another one.
        """
        return self._commit(f"{self._kept}{name}", parent, files, message, when)

    def _commit(
        self, ref: str, parent: str, files: Mapping[str, Entry | None], message: str, when: int
    ) -> str:
        order = sorted(files, key=lambda path: (files[path] is not None, path))  # deletes first
        changes = b"".join(self._change(path, files[path]) for path in order)
        swarm = f"{IDENTITY['GIT_COMMITTER_NAME']} <{IDENTITY['GIT_COMMITTER_EMAIL']}>"
        stream = (
            f"feature done\ncommit {ref}\nmark :1\ncommitter {swarm} {when} +0000\n".encode()
            + _data(message_bytes(message))
            + f"from {parent}\n".encode()
            + changes
            + b"get-mark :1\ndone\n"
        )
        answer = self._git.try_run("fast-import", "--quiet", stdin=stream)
        if answer.code != 0:
            raise GitError(f"git fast-import: {answer.err.strip()}")
        return answer.out.decode().strip()

    def create(self, island: str, commit: str) -> None:
        """Create the island's branch at `commit`, or find it there. Raises HeadMovedError."""
        if self._git.commit_id(self._ref(island)) != commit:
            self.advance(island, commit, ABSENT)

    def advance(self, island: str, new: str, old: str) -> None:
        """Move the island's branch from `old` to `new`, in one step that holds or does nothing.

        Raises HeadMovedError where the branch is not at `old`.
        """
        ref = self._ref(island)
        answer = self._git.try_run("update-ref", "--no-deref", "-m", "swarm: keep", ref, new, old)
        if answer.code == 0:
            return
        found = self._git.commit_id(ref) or ABSENT
        if found != old:
            where = f"at {found}, not at {old or 'nothing'}" if found else "gone"
            raise HeadMovedError(f"branch {self.branch(island)} is {where}")
        raise GitError(f"git update-ref {ref}: {answer.err.strip()}")

    def sync_branches(self, heads: Mapping[str, str]) -> None:
        """Make the islands' branches agree with the ledger: all of them, or none.

        A branch is moved only where nothing of the user's can be lost. Raises SetupError where
        it is checked out, or holds commits that the swarm did not make.
        """
        self._remove_stale_locks()
        moves = []
        found = self._branches()
        self._check_room(found)
        for island, head in sorted(heads.items()):
            ref = self._ref(island)
            old, worktree = found.get(ref, (ABSENT, ""))
            if old != head:
                self._check_movable(self.branch(island), old, head, worktree)
                moves.append(f"update {ref} {head} {old}\n")
        self._update(moves)

    def diff(self, old: str, new: str) -> str:
        """Return the unified diff of the genome between two commits."""
        return self._diff("-p", "-U3", "--no-color", old, new).decode(errors="replace")

    def numstat(self, old: str, new: str) -> tuple[int, int]:
        """Return how many lines of the genome were added and removed between two commits."""
        rows = self._diff("--numstat", "-z", old, new).split(b"\0")
        counts = [row.split(b"\t")[:2] for row in rows if row]
        return sum(int(added) for added, _ in counts), sum(int(removed) for _, removed in counts)

    def apply_change(
        self, parent: str, commit: str, onto: str
    ) -> dict[str, Entry | None] | Conflict:
        """Return what must differ on `onto` for it to hold what `commit` changed since `parent`.

        A three-way merge without index or working tree, nothing is committed and no ref moves.
        The answer fits `commit` with `onto` as its parent (None deletes); it is empty where
        `onto` holds the change already. Edits of adjacent lines conflict, a renamed file takes
        along what was changed in it elsewhere.
        """
        if onto == parent:
            merged: Mapping[str, Entry] | Conflict = self.files(commit)
        else:
            merged = self._merged(parent, onto, commit)
        return merged if isinstance(merged, Conflict) else _difference(self.files(onto), merged)

    def forget(self) -> None:
        """Delete all refs of the run; its commits go with git's next collection.

        Raises SetupError where one of its branches is checked out.
        """
        self._remove_stale_locks()
        for ref, (_, worktree) in self._branches().items():
            if worktree and ref.startswith(self._heads):
                raise SetupError(_checked_out(ref, worktree))
        asked = ("for-each-ref", "--format=delete %(refname)", self._heads, self._kept)
        lines = self._git.run(*asked).decode().splitlines()
        self._update([f"{line}\n" for line in lines])

    @property
    def _heads(self) -> str:
        return f"refs/heads/swarm/{self._run}/"

    @property
    def _kept(self) -> str:
        return f"refs/swarm/{self._run}/"

    def _ref(self, island: str) -> str:
        return f"refs/heads/{self.branch(island)}"

    def _tried(self, experiment: int) -> str:
        return f"{self._kept}tried/{experiment}"

    def _blobs(self, names: Iterable[str]) -> dict[str, bytes]:
        asked = "".join(f"{name}\n" for name in names).encode()
        rest = memoryview(self._git.run("cat-file", "--batch", stdin=asked)) if asked else b""
        blobs = {}
        while rest:
            header = bytes(rest[:200]).partition(b"\n")[0]
            name, *facts = header.decode().split(" ")
            if facts[0] != "blob":
                raise GitError(f"object {name} of the genome is {facts[0]}")
            start, end = len(header) + 1, len(header) + 1 + int(facts[1])
            blobs[name] = bytes(rest[start:end])
            rest = rest[end + 1 :]
        return blobs

    def _change(self, path: str, entry: Entry | None) -> bytes:
        if not is_inside(path, self._genome):
            raise ValueError(f"{path!r} is outside the genome")
        quoted = b'"' + path.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        if entry is None:
            return b"D " + quoted + b"\n"
        if entry.mode not in REGULAR:
            raise ValueError(f"{path!r} has mode {entry.mode}: not a regular file")
        return f"M {entry.mode} inline ".encode() + quoted + b"\n" + _data(entry.data)

    def _branches(self) -> dict[str, tuple[str, str]]:
        """Return every branch of every run: the ref, its commit, the worktree it stands in."""
        form = "%(refname)%00%(objectname)%00%(worktreepath)"
        listed = os.fsdecode(self._git.run("for-each-ref", f"--format={form}", "refs/heads/swarm"))
        rows = [line.split("\0") for line in listed.splitlines()]
        return {ref: (commit, worktree) for ref, commit, worktree in rows}

    def _check_room(self, found: Iterable[str]) -> None:
        for taken in ("swarm", f"swarm/{self._run}"):
            if f"refs/heads/{taken}" in found:
                raise SetupError(
                    f"branch {taken} stands where the run's branches go: rename it "
                    f"(git branch -m {taken} OTHER)"
                )

    def _check_movable(self, branch: str, old: str, head: str, worktree: str) -> None:
        if self._git.commit_id(head) != head:
            raise SetupError(f"commit {head} of the ledger is not in the repository: fetch it back")
        if worktree:
            raise SetupError(_checked_out(branch, worktree))
        if old != ABSENT and not self._ours(old, head):
            raise SetupError(
                f"branch {branch} holds commits that the swarm did not make: rename it "
                f"(git branch -m {branch} OTHER) and launch again"
            )

    def _ours(self, old: str, head: str) -> bool:
        if self._git.try_run("merge-base", "--is-ancestor", old, head).code == 0:
            return True
        return bool(self._git.run("for-each-ref", f"--points-at={old}", self._kept))

    def _update(self, commands: list[str]) -> None:
        if commands:
            stream = "".join(commands).encode()
            self._git.run("update-ref", "--no-deref", "-m", "swarm", "--stdin", stdin=stream)

    def _remove_stale_locks(self) -> None:
        """Remove what a `kill -9` of git left in the run's own folders of refs."""
        folders = [self._git.common_dir / self._heads, self._git.common_dir / self._kept]
        locks = {lock: _inode(lock) for at in folders for lock in at.rglob("*.lock")}
        if locks:
            time.sleep(STALE_LOCK_S)
        for lock, inode in locks.items():
            if inode is not None and _inode(lock) == inode:
                lock.unlink(missing_ok=True)

    def _merged(self, base: str, ours: str, theirs: str) -> dict[str, Entry] | Conflict:
        """Merge from `base`, whatever history says: git before 2.40 takes no other base.

        Hence both sides are committed anew on `base` first: three processes, no ref.
        """
        sides = [self._on(base, commit) for commit in (ours, theirs)]
        tree, conflicts = self._git.merge_tree(*sides)
        return Conflict(conflicts) if conflicts else self.files(tree)

    def _diff(self, *args: str) -> bytes:
        plain = ("--no-ext-diff", "--no-textconv", "--text", "--no-renames")
        paths = [path.rstrip("/") for path in self._genome]
        return self._git.run("diff-tree", "-r", *plain, *args, "--", *paths)

    def _on(self, base: str, commit: str) -> str:
        when = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
        asked = ("commit-tree", commit + "^{tree}", "-p", base, "-m", "side")
        return self._git.run_line(*asked, env=IDENTITY | when)


def _named(what: str, name: str) -> str:
    if not _NAME.fullmatch(name) or name.endswith(".lock"):
        raise SetupError(f"{what} {name!r} cannot name a branch: use letters, digits, - and _")
    return name


def _checked_out(branch: str, worktree: str) -> str:
    name = branch.removeprefix("refs/heads/")
    return f"branch {name} is checked out in {worktree}: switch to another there, then try again"


def _difference(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> dict[str, Entry | None]:
    paths = sorted(before.keys() | after.keys())
    return {path: after.get(path) for path in paths if before.get(path) != after.get(path)}


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _row(line: bytes) -> tuple[str, str, str]:
    facts, _, path = line.partition(b"\t")
    mode, _, name = facts.decode().split(" ")
    return mode, name, os.fsdecode(path)


def _data(content: bytes) -> bytes:
    return f"data {len(content)}\n".encode() + content + b"\n"


def _write(at: Path, entry: Entry) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    with at.open("xb") as file:
        file.write(entry.data)
    at.chmod(0o755 if entry.mode == "100755" else 0o644)


def _open_folders(top: Path) -> None:
    """Let every user in: a trial may run as another one, and umask may shut it out."""
    for folder in (top, *(at for at in top.rglob("*") if at.is_dir())):
        folder.chmod(0o755)


def _appear(partial: Path, into: Path) -> None:
    try:
        partial.rename(into)
    except OSError:
        if not into.is_dir():  # another thread was first with the same commit
            raise
