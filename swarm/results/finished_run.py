"""A finished run, opened once: its folder, the fold of its ledger, and git on its repository."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.ledger import Ledger, read_events
from harness.contract import SetupError
from islands import events as ev
from islands.git.branches import Branches
from islands.git.plumbing import Plumbing
from islands.state.run_state import State
from swarm.project.runs import RunFolder, fold
from swarm.results.selection import MergePlan


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """State and git of a finished run, for selecting, preparing, merging and describing."""

    folder: RunFolder
    state: State
    git: Plumbing
    """Git in the user's working tree."""
    branches: Branches
    """The run's branches, by the same git."""
    merges: frozenset[str]
    """Merge commits that the ledger knew when it was folded."""

    @classmethod
    def open(cls, folder: RunFolder) -> FinishedRun:
        """Fold the ledger and open git, each once. Raises SetupError where the run is empty."""
        merges = set[str]()

        def events() -> Iterator[ev.Event]:
            for _, event in read_events(folder.ledger):
                if isinstance(event, ev.Merged):
                    merges.add(event.commit)
                yield event

        state = fold(events())
        if state.opened is None:
            raise SetupError(f"run {folder.name} has not started: `swarm launch` starts it")
        git = Plumbing(folder.repo, worktree=True)
        branches = Branches(git, folder.name, state.opened.genome)
        return cls(folder, state, git, branches, frozenset(merges))

    def lines(self, plan: MergePlan) -> tuple[int, int]:
        """Return how many lines of the genome `plan` adds and removes."""
        return self.branches.numstat(plan.base, plan.head)

    def record(self, ledger: Ledger, event: ev.Event) -> None:
        """Append `event` to the ledger and take it into the state."""
        self.state.apply(ledger.append(event))

    def require_current(self, ledger: Ledger) -> None:
        """Raise SetupError where another process has written to the ledger since it was folded."""
        if int(ledger.link.partition(":")[0]) != self.state.events:
            raise SetupError(f"run {self.folder.name} was resumed meanwhile: repeat the command")
