"""Traps that proposals plant in a repository for git to run.

Usage: `python tests/attacks/repository_traps.py`.

A file of tests/attacks/proposals states what it proposes (FILES; FIRED stands for the file that its
program touches), the user's git configuration (`settings(trap)`, with a program that touches that
file), and the command by which careless git runs the trap (`careless(git)`, which may return what
it found instead). Each is proposed to a swarm, and also lies in the commits that a swarm works on,
as if it had been admitted.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from harness.contract import SetupError
from islands.genome.admission import AdmissionLimits, Refused, admit
from islands.genome.paths import is_inside
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.records import Entry, Proposal
from swarm.results.git_merge import merge_commit

HERE = Path(__file__).parent
PROPOSALS = sorted(path.stem for path in (HERE / "proposals").glob("*.py"))
GENOME = ("gen/",)
HEAD = {
    "gen/train.py": "a = 1\n\nb = '$Format:%H$'\n",
    "gen/data.txt": "one\n",
    "gen/hooks/post-checkout": "#!/bin/sh\n",
    "gen/hooks/watch": "#!/bin/sh\n",
}
EXECUTABLE = ("gen/hooks/post-checkout", "gen/hooks/watch")
EDIT = "a = 2\n\nb = '$Format:%H$'\n"


class TrappedRepository:
    """A repository with a proposal lying in its head, main; `clash` and main change one line."""

    def __init__(self, name: str, folder: Path) -> None:
        sys.path.append(str(HERE / "proposals"))
        self.proposal = importlib.import_module(name)
        self.repo, self.fired, trap = folder / "repo", folder / "fired", folder / "trap"
        self.repo.mkdir()
        trap.write_text(f'#!/bin/sh\ntouch "{self.fired}"\ncat\n')
        trap.chmod(0o755)
        self.files = {
            path: text.replace("FIRED", str(self.fired))
            for path, text in self.proposal.FILES.items()
        }
        self.git("init", "-q", "-b", "main")
        self._commit(HEAD)
        self.git("switch", "-qc", "clash")
        self._commit({"gen/train.py": "a = 3\n"})
        self.git("switch", "-q", "main")
        self._commit({**self.files, "gen/train.py": "a = 4\n"})
        for key, value in self.proposal.settings(trap).items():
            self.git("config", key, str(value))

    def _commit(self, files: dict[str, str]) -> None:
        for path, text in files.items():
            (self.repo / path).parent.mkdir(parents=True, exist_ok=True)
            (self.repo / path).write_text(text)
            (self.repo / path).chmod(0o755 if path in EXECUTABLE else 0o644)
        self.git("add", "-A")
        self.git("commit", "-qm", "files")

    def git(self, *words: str) -> bytes:
        """Run git as a user does and return what it says."""
        known = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
        env = known | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ["-c", "user.name=U", "-c", "user.email=u@example.org"]
        command = ["git", *who, *words]
        done = subprocess.run(command, cwd=self.repo, env=env, capture_output=True, check=False)
        return done.stdout

    def careless(self) -> str:
        """Say what git comes to where it is used without care."""
        found = self.proposal.careless(self.git)
        return "it runs" if self.fired.exists() else "the export is another" if found else ""

    def refused(self) -> str:
        """Say by which rule a swarm refuses the proposal, "" where it lets it in."""
        head = {path: Entry(text.encode(), mode(path)) for path, text in HEAD.items()}
        change = {path: Entry(text.encode()) for path, text in self.files.items()}
        answer = admit(Proposal("plant", change), head, GENOME, AdmissionLimits(), "gen/train.py")
        return answer.rule if isinstance(answer, Refused) else ""

    def swarm(self) -> str:
        """Say what comes of all that a swarm does with git where the files have got in."""
        branches, out = Branches(self.repo, "r", GENOME), self.repo.parent / "out"
        base = branches.base("main")
        made = branches.commit(base, {"gen/train.py": Entry(EDIT.encode())}, "edit", 1, 0)
        branches.sync_branches({"a": base})
        branches.advance("a", made, base)
        branches.export(made, out)
        branches.diff(base, made)
        branches.numstat(base, made)
        branches.apply_change(branches.base("main~"), branches.base("clash"), made)
        with suppress(SetupError):  # a merge through a filter is left to the user
            merge_commit(Plumbing(self.repo, worktree=True), "main", made, "merge", GENOME)
        files = branches.files(made).items()
        held = {path: entry.data for path, entry in files if is_inside(path, GENOME)}
        there = {str(at.relative_to(out)): at.read_bytes() for at in out.rglob("*") if at.is_file()}
        if held != there:
            return "the export is another"
        return "it runs" * self.fired.exists()


def mode(path: str) -> str:
    """Return the mode of a file of the head."""
    return "100755" if path in EXECUTABLE else "100644"


@cache
def results(name: str) -> tuple[str, str, str]:
    """Return what a careless git comes to, what admission says, and what the swarm comes to."""
    found = []
    for look in (
        TrappedRepository.careless,
        TrappedRepository.refused,
        TrappedRepository.swarm,
    ):
        with tempfile.TemporaryDirectory(prefix="swarm-traps-") as folder:
            found.append(look(TrappedRepository(name, Path(folder))))
    return found[0], found[1], found[2]


def main() -> None:
    """Print what every proposal comes to."""
    print(f"{'trap':22}{'git without care':24}{'admission':20}swarm's git")
    for name in PROPOSALS:
        careless, refused, swarm = results(name)
        said = f"refuses: {refused}" if refused else "lets it in"
        print(f"{name:22}{careless or 'nothing':24}{said:20}{swarm or 'nothing runs'}")


if __name__ == "__main__":
    main()
