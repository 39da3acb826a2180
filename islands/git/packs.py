"""Packs of candidates: git keeps what is in them without a ref.

A night makes thousands of candidates. While a ref holds each, `git log --all` and graph tools show
them all, `git push --mirror` sends them, and each is three loose files or more. `CandidatePacks`
moves what the run's refs hold into a pack with a `.keep` file, which no garbage collection, repack
or prune takes away, notes the refs in `<git directory>/swarm/packs/<run>/`, and deletes them.
`git show COMMIT` still finds each. One ref stays, `refs/swarm/<run>/base`: the packs hold all that
the run made, and what it was made from is in the history of the base.

A ref goes only after pack and note are on disk, so a kill at any moment loses nothing.

Not covered: clones and pushes get no candidates (a copy of the repository's folder has them).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.durable_files import write_whole
from islands.git.plumbing import Plumbing

NOTES = Path("swarm", "packs")
"""The folder of notes in the git directory that all worktrees share: a folder a run."""


class CandidatePacks:
    """The packs of run `run`."""

    def __init__(self, git: Plumbing, run: str) -> None:
        self._git = git
        self._run = run
        self._notes = git.common_dir / NOTES / run
        self._prefix = f"refs/swarm/{run}/"
        self._read: dict[str, Mapping[str, str]] = {}

    def refs(self) -> dict[str, str]:
        """Return the commit of each ref that was packed."""
        found: dict[str, str] = {}
        for note in self._written():
            found |= note
        return found

    def commit_of(self, ref: str) -> str | None:
        """Return the commit of a ref that was packed, None if there is none of this name."""
        return next((note[ref] for note in self._written() if ref in note), None)

    def take_in(self, base: str) -> int:
        """Pack all that the run's refs hold beyond the commit `base`; return how many refs went."""
        refs = self._unpacked()
        if not refs:
            return 0
        self._git.run("update-ref", "--no-deref", f"{self._prefix}base", base)
        wanted = "".join(f"{commit}\n" for commit in {*refs.values()} | {f"^{base}"})
        made = self._git.run(
            *("pack-objects", "--quiet", "--revs", "--delta-base-offset", "--stdout"),
            stdin=wanted.encode(),
        )
        keep = f"--keep=candidates of {self._run}: swarm rm {self._run}"
        told = self._git.run("index-pack", "--stdin", keep, stdin=made).decode()
        self._note(told.split()[-1], refs)
        gone = "".join(f"delete {ref} {commit}\n" for ref, commit in refs.items())
        self._git.run("update-ref", "--no-deref", "--stdin", stdin=gone.encode())
        self._git.run("prune-packed", "--quiet")
        return len(refs)

    def release(self) -> None:
        """Let git's garbage collection have what no ref holds of the packs.

        The packs stay until then: a commit of them may have been merged.
        """
        for note in self._notes.glob("*"):
            pack = self._git.common_dir / "objects" / "pack" / f"pack-{note.name}.keep"
            pack.unlink(missing_ok=True)
            note.unlink()
        if self._notes.exists():
            self._notes.rmdir()

    def _written(self) -> Iterator[Mapping[str, str]]:
        """Yield the notes: the commits of refs. A note never changes, so each is read once."""
        for path in sorted(self._notes.glob("[!.]*")):
            if path.name not in self._read:
                lines = os.fsdecode(path.read_bytes()).splitlines()
                rows = (line.partition(" ") for line in lines)
                self._read[path.name] = {ref: commit for commit, _, ref in rows}
            yield self._read[path.name]

    def _unpacked(self) -> dict[str, str]:
        listed = self._git.run("for-each-ref", "--format=%(objectname) %(refname)", self._prefix)
        rows = (line.partition(" ") for line in os.fsdecode(listed).splitlines())
        return {ref: commit for commit, _, ref in rows if ref != f"{self._prefix}base"}

    def _note(self, pack: str, refs: Mapping[str, str]) -> None:
        """Write down, durably, which refs a pack stands for."""
        self._notes.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{commit} {ref}\n" for ref, commit in refs.items())
        write_whole(self._notes / pack, os.fsencode(lines))  # before the refs go


def packed_runs(common_dir: Path) -> Iterator[str]:
    """Yield the names of the runs that have packs in the git directory `common_dir`."""
    yield from (path.name for path in (common_dir / NOTES).glob("[!.]*"))
