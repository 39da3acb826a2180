"""The git side of a run: reads genomes, commits candidates, moves island branches.

A candidate is written by one `git fast-import` that is fed blobs, trees, commit and ref as one
stream: 12 ms, against 24 ms for hash-object, update-index, write-tree, commit-tree and update-ref
(medians of 40 on 2 cores). There is no index and no working tree, so threads share no state.

Not covered: two paths that a case-insensitive file system takes for one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path

from harness.contract import SetupError
from islands.genome.paths import is_inside
from islands.git.commit_stream import commit_stream
from islands.git.export import export_files
from islands.git.packs import CandidatePacks
from islands.git.plumbing import IDENTITY, GitError, Plumbing
from islands.git.refs import HeadMovedError, RunRefs
from islands.records import Conflict, Entry

SUBMODULE = "160000"

CACHED_COMMITS = 64
"""Commits whose genomes are held in memory."""


class Branches:
    """One run's branches and candidates in `repo`; safe to call from any thread.

    `genome` lists the files and folders that candidates may change, as paths of the repository.
    Commits are given and returned as full ids. Methods raise GitError where git fails for a reason
    that they do not name. Raises SetupError if `repo` is no repository or `run` cannot be part of a
    branch name. A Plumbing as `repo` shares one that is open.
    """

    def __init__(self, repo: Path | Plumbing, run: str, genome: tuple[str, ...]) -> None:
        self._git = repo if isinstance(repo, Plumbing) else Plumbing(repo)
        self._refs = RunRefs(self._git, run)
        self._packs = CandidatePacks(self._git, run)
        self._genome = genome
        self._paths = [path.rstrip("/") for path in genome]
        # each proposal is compared with its head's files: the cache saves two git processes each
        self._cached_files = lru_cache(CACHED_COMMITS)(self._read_files)

    def base(self, rev: str) -> str:
        """Return the id of the commit that `rev` names. Raises SetupError where it names none."""
        commit = self._git.commit_id(rev)
        if commit is None:
            raise SetupError(f"{rev!r} names no commit: name a branch, a tag or a commit id")
        return commit

    def branch(self, island: str) -> str:
        """Return the name of the island's branch, as `git log` takes it."""
        return self._refs.branch(island)

    def head(self, island: str) -> str:
        """Return the commit at the island's branch. Raises HeadMovedError if there is no branch."""
        commit = self._git.commit_id(self._refs.branch_ref(island))
        if commit is None:
            raise HeadMovedError(f"branch {self.branch(island)} is gone")
        return commit

    def tried(self, experiment: int) -> str | None:
        """Return the experiment's candidate, None if it never became one."""
        ref = self._refs.tried_ref(experiment)
        return self._git.commit_id(ref) or self._packs.commit_of(ref)

    def contains(self, commit: str, ancestor: str) -> bool:
        """Return whether `ancestor` is in the history of `commit`."""
        return self._git.try_run("merge-base", "--is-ancestor", ancestor, commit).code == 0

    def files(self, commit: str) -> dict[str, Entry]:
        """Return the genome's files in a commit (or tree) by path.

        A symbolic link is an entry of mode 120000 whose data is its target, a submodule an empty
        entry of mode 160000.
        """
        return dict(self._cached_files(commit))

    def export(self, commit: str, into: Path) -> None:
        """Write the genome's regular files below `into`, at their paths in the repository.

        `into` appears whole or not at all. An existing one is left as it is: exports of a commit
        are equal.
        """
        if not into.is_dir():
            files = self.files(commit).items()
            export_files(
                {path: file for path, file in files if is_inside(path, self._genome)}, into
            )

    def commit(
        self,
        parent: str,
        files: Mapping[str, Entry | None],
        message: str,
        experiment: int,
        when: int,
    ) -> str:
        """Commit `files` (None deletes) on `parent` as the experiment's candidate; return its id.

        Author and committer are "swarm <swarm@localhost>", whatever the user's configuration says,
        and `when` is their time (seconds since the epoch), so equal arguments give an equal id on
        every machine. Raises SetupError if the experiment has another candidate already, ValueError
        if a file is not a regular one inside the genome.
        """
        ref = self._refs.tried_ref(experiment)
        commit = ""
        try:
            commit = self._commit(ref, parent, files, message, when)
        except GitError:
            if self._git.commit_id(ref) is None:
                raise
        if commit and self._packed_before.get(ref, commit) == commit:
            return commit
        raise SetupError(
            f"run {self._refs.run} has another candidate of experiment {experiment}, from a ledger "
            "that is gone: launch with --new"
        )

    def commit_under_ref(
        self, name: str, parent: str, files: Mapping[str, Entry | None], message: str, when: int
    ) -> str:
        """Commit `files` on `parent` as `commit` does, under the run's ref `name`; return its id.

        A repeated call with equal arguments returns the same commit. Raises GitError if the ref
        holds another one.
        """
        return self._commit(f"{self._refs.folder}{name}", parent, files, message, when)

    def pack_candidates(self, base: str) -> None:
        """Pack what the run's refs hold beyond its base, so that few refs are left.

        Where git or the disk refuses, the refs stay.
        """
        with suppress(GitError, OSError):
            self._packs.take_in(base)

    def advance(self, island: str, new: str, old: str) -> None:
        """Move the island's branch from `old` to `new`, atomically; `old` "" creates it.

        Raises HeadMovedError if the branch is not at `old`.
        """
        self._refs.advance(island, new, old)

    def sync_branches(self, heads: Mapping[str, str]) -> None:
        """Move every island's branch to its head by the ledger: all of them, or none.

        Raises SetupError where a commit of the user's could be lost (see `RunRefs.sync`).
        """
        self._refs.sync(heads)

    def diff(self, old: str, new: str) -> str:
        """Return the unified diff of the genome between two commits."""
        return self._diff("-p", "-U3", "--no-color", old, new).decode(errors="replace")

    def diffs(self, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return the unified diff from `old` to `new` for each pair, by `new`; one process for all.

        Pairs of which git lacks a commit are left out.
        """
        chosen = {new: old for old, new in pairs}
        parents = self._held({*chosen.values()})  # few; of a record without objects all are gone
        held = self._held({new for new, old in chosen.items() if old in parents})
        asked = [f"{new} {old}\n" for new, old in chosen.items() if new in held]
        out = self._diff("-p", "-U3", "--no-color", "--stdin", stdin="".join(asked).encode())
        found: dict[str, list[str]] = {}
        lines: list[str] = []
        text = out.decode(errors="replace").removesuffix("\n")
        for line in text.split("\n"):  # a line of a candidate may hold other breaks
            if line in chosen:  # lines of a diff begin otherwise than a commit id
                lines = found.setdefault(line, [])
            else:
                lines.append(f"{line}\n")
        return {new: "".join(lines) for new, lines in found.items()}

    def _held(self, names: Iterable[str]) -> set[str]:
        """Return which of these names are commits that git has."""
        asked = "".join(f"{name}\n" for name in names).encode()
        rows = self._git.run("cat-file", "--batch-check", "--buffer", stdin=asked).splitlines()
        return {row.split()[0].decode() for row in rows if row.split()[1:2] == [b"commit"]}

    def numstat(self, old: str, new: str) -> tuple[int, int]:
        """Return how many lines of the genome were added and removed between two commits."""
        rows = self._diff("--numstat", "-z", old, new).split(b"\0")
        counts = [row.split(b"\t")[:2] for row in rows if row]
        return sum(int(added) for added, _ in counts), sum(int(removed) for _, removed in counts)

    def apply_change(
        self, parent: str, commit: str, onto: str
    ) -> dict[str, Entry | None] | Conflict:
        """Return how `onto` must change to hold what `commit` changed since `parent`.

        A three-way merge without index, working tree, commit or ref. The result fits `commit` with
        `onto` as the parent (None deletes); it is empty if `onto` holds the change already. Edits
        of adjacent lines conflict. A renamed file takes along what was changed in it elsewhere.
        """
        if onto == parent:
            merged: Mapping[str, Entry] | Conflict = self.files(commit)
        else:
            merged = self._merge(parent, onto, commit)
        return merged if isinstance(merged, Conflict) else changed_files(self.files(onto), merged)

    @cached_property
    def _packed_before(self) -> Mapping[str, str]:
        """What was packed when the first candidate was committed here."""
        return self._packs.refs()

    def _commit(
        self, ref: str, parent: str, files: Mapping[str, Entry | None], message: str, when: int
    ) -> str:
        for path in files:
            if not is_inside(path, self._genome):
                raise ValueError(f"{path!r} is outside the genome")
        stream = commit_stream(ref, parent, files, message, when)
        result = self._git.try_run("fast-import", "--quiet", stdin=stream)
        if result.code != 0:
            raise GitError(f"git fast-import: {result.err.strip()}")
        return result.out.decode().strip()

    def _read_files(self, commit: str) -> dict[str, Entry]:
        listed = self._git.run("ls-tree", "-r", "-z", "--full-tree", commit, "--", *self._paths)
        rows = [_tree_row(line) for line in listed.split(b"\0") if line]
        blobs = self._read_blobs({blob for mode, blob, _ in rows if mode != SUBMODULE})
        return {path: Entry(blobs.get(blob, b""), mode) for mode, blob, path in rows}

    def _read_blobs(self, ids: Iterable[str]) -> dict[str, bytes]:
        names = "".join(f"{blob}\n" for blob in ids).encode()
        rest = memoryview(self._git.run("cat-file", "--batch", stdin=names)) if names else b""
        blobs = {}
        while rest:
            # a record is "<id> blob <size>\n<content>\n", or "<id> missing\n"
            header = bytes(rest[:200]).partition(b"\n")[0]
            blob, kind, *size = header.decode().split(" ")
            if kind != "blob":
                raise GitError(f"object {blob} of the genome is {kind}")
            start, end = len(header) + 1, len(header) + 1 + int(size[0])
            blobs[blob] = bytes(rest[start:end])
            rest = rest[end + 1 :]
        return blobs

    def _merge(self, base: str, ours: str, theirs: str) -> dict[str, Entry] | Conflict:
        """Merge two commits from `base`, whatever their history.

        Git before 2.40 takes no merge base, so both sides are first committed on `base`: three
        processes, no ref.
        """
        sides = [self._recommit(base, commit) for commit in (ours, theirs)]
        tree, conflicts = self._git.merge_tree(*sides)
        return Conflict(conflicts) if conflicts else self.files(tree)

    def _recommit(self, base: str, commit: str) -> str:
        """Return a commit with the tree of `commit` and the parent `base`."""
        dates = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
        args = ("commit-tree", commit + "^{tree}", "-p", base, "-m", "side")
        return self._git.run_line(*args, env=IDENTITY | dates)

    def _diff(self, *args: str, stdin: bytes = b"") -> bytes:
        plain = ("--no-ext-diff", "--no-textconv", "--text", "--no-renames")
        return self._git.run("diff-tree", "-r", *plain, *args, "--", *self._paths, stdin=stdin)


def changed_files(
    before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> dict[str, Entry | None]:
    """Return the files that differ between two trees, as in `after`; None for deleted ones."""
    paths = sorted(before.keys() | after.keys())
    return {path: after.get(path) for path in paths if before.get(path) != after.get(path)}


def _tree_row(line: bytes) -> tuple[str, str, str]:
    """Return mode, object id and path of a line of `ls-tree`."""
    facts, _, path = line.partition(b"\t")
    mode, _, blob = facts.decode().split(" ")
    return mode, blob, os.fsdecode(path)
