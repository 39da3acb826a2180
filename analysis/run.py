"""The door for notebooks: one run, opened read-only, with every question as a method.

    from analysis import open_run

    with open_run("path/to/repo") as run:
        run.sql("FROM standings")            # a DuckDB relation; .df() where pandas is installed
        run.graph                            # networkx.MultiDiGraph (analysis/lineage.py)
        run.ablation().parts
        run.plot("progress", "progress.svg")

A run shows one moment: open it again to see what was recorded since.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import duckdb
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from analysis.database.queries import Answer, answer, reading_only
from analysis.database.refresh import reading
from analysis.ledger import NAME, RUNS_HOME, run_folders
from analysis.pictures.source import RunSource
from analysis.questions.calls import ModelCalls, calls_by_model
from analysis.questions.comparison import RunComparison, RunFigures, compare_runs, figures_of
from analysis.questions.cost import AgentCost, cost_by_agent
from analysis.questions.evidence import ChangeEvidence, evidence_on
from analysis.questions.migrations import MigrationRecord, migrations_of
from analysis.questions.rung_transfer import TransferRecord, transfer_of
from analysis.questions.tried import PastAttempt, by_likeness, by_words, compile_pattern
from analysis.untrusted_text import first_line
from harness.contract import SetupError
from islands.git.branches import Branches
from islands.git.plumbing import GitError

if TYPE_CHECKING:  # networkx and numpy take a quarter of a second each
    from analysis.lineage import Graph
    from analysis.questions.ablation import Ablation, AblationFold
    from analysis.questions.arms import ArmsReturn


def open_run(path: str | Path = ".", name: str = "") -> RecordedRun:
    """Return the run `name` (default: the one active last) of the repository at `path`.

    `path` may also be a run's own folder. Raises SetupError where there is no such run.
    """
    folder = Path(path).resolve()
    if (folder / NAME).exists():
        return RecordedRun(folder)
    chosen = [one for one in run_folders(folder) if name in {"", one.name}]
    if not chosen:
        missing = f"no run {name}" if name else "no run"
        raise SetupError(f"{folder}: {missing} in {RUNS_HOME}/; `swarm launch` starts one")
    return RecordedRun(chosen[0])


def no_diff(error: GitError) -> str:
    """Return why there is no diff: a record outlives the repository's objects."""
    return f"git has no diff of it: {first_line(str(error))}"


class RecordedRun:
    """A run's record. Use it as a context manager, or call `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._con = self._stack.enter_context(reading(folder))
        self._ablations: dict[str, Ablation] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the record."""
        self._stack.close()

    @property
    def repo(self) -> Path:
        """The repository that the run improves."""
        return self.folder.parent.parent

    @property
    def connection(self) -> DuckDBPyConnection:
        """The read-only connection to the record."""
        return self._con

    @cached_property
    def graph(self) -> Graph:
        """The lineage (analysis/lineage.py says what nodes and edges have)."""
        # networkx takes a quarter of a second
        from analysis.database.projection.graph_rows import load_graph  # noqa: PLC0415

        return load_graph(self._con)

    @cached_property
    def opened(self) -> Mapping[str, Any]:
        """The row of table `run`. Raises SetupError where the run has not started."""
        rows = answer(self._con, "FROM run").named()
        if not rows:
            raise SetupError(f"run {self.folder.name} has not started")
        return rows[0]

    @property
    def kept(self) -> Answer:
        """Each island's chain of kept changes, from the base on."""
        return answer(self._con, "FROM kept")

    def sql(self, query: str) -> DuckDBPyRelation:
        """Return the relation of a query that only reads.

        Raises SetupError, in one line, for any other and for one that DuckDB rejects.
        """
        try:
            reading_only(self._con, query)
            return self._con.sql(query)
        except duckdb.Error as error:
            raise SetupError(first_line(str(error))) from error

    def ablation(self, target: str = "") -> Ablation:
        """Return what each change of `target` is worth in place.

        target: `consensus`, a stack or head by the start of its commit id; default: the consensus,
          or the best head where there is none
        """
        fold = self._fold
        commit = fold.resolve(target or fold.consensus or self._best_head)
        if commit not in self._ablations:  # a report and its picture ask for the same one
            self._ablations[commit] = fold.ablation(commit)
        return self._ablations[commit]

    def parts(self, commit: str) -> tuple[int, ...]:
        """Return the experiments in a stack or a head, in the order in which they apply."""
        return self._fold.numbers(commit)

    def why(self, target: str) -> ChangeEvidence:
        """Return the whole evidence on the change `#N`, or on the commit that `target` begins."""
        return evidence_on(self._con, target)

    def tried(self, pattern: str) -> tuple[PastAttempt, ...]:
        """Return the experiments whose hypothesis or diff the regular expression matches."""
        compile_pattern(pattern)
        return by_words(self._con, pattern, self.diffs)

    def like(self, target: str) -> tuple[PastAttempt, ...]:
        """Return the experiments whose change is like that of `target`, other than itself."""
        node = self.why(target).node
        if node not in self.diffs:
            raise SetupError(f"{target}: it was never admitted, so there is no change to compare")
        alike = by_likeness(self._con, self.diffs[node], self.diffs)
        return tuple(one for one in alike if one.commit != node)

    def cost(self) -> tuple[AgentCost, ...]:
        """Return what each agent cost and earned."""
        return cost_by_agent(self._con)

    def migrations(self) -> MigrationRecord:
        """Return each change brought to another island, and what came of it."""
        return migrations_of(self._con)

    def transfer(self) -> TransferRecord:
        """Return which promotions and kinds of change hold at the next rung."""
        return transfer_of(self._con)

    def figures(self) -> RunFigures:
        """Return what the run found and cost, to compare it with another."""
        kept = "SELECT parent, node FROM nodes WHERE ending = 'kept'"
        return figures_of(self._con, self._branches.diffs(self._con.execute(kept).fetchall()))

    def compare(self, other: RecordedRun) -> RunComparison:
        """Return this run and `other` beside each other."""
        return compare_runs(self.figures(), other.figures())

    def calls(self) -> tuple[ModelCalls, ...]:
        """Return the calls to models, by agent and model."""
        return calls_by_model(self._con)

    def arms(self) -> ArmsReturn | None:
        """Return what each arm earned, None where the run has one only."""
        # numpy takes a fifth of a second
        from analysis.questions.arms import return_of_arms  # noqa: PLC0415

        return return_of_arms(self._con)

    def plot(self, kind: str, path: str | Path, *, dark: bool = False) -> None:
        """Draw a picture (analysis/pictures/kinds.py) into the file `path`."""
        from analysis.pictures import kinds  # noqa: PLC0415 - half a second of matplotlib

        if kind not in kinds.KINDS:
            raise SetupError(f"{kind}: no such picture; choose one of {', '.join(kinds.KINDS)}")
        kinds.save(kind, self.source, Path(path), dark=dark)

    def report(self, path: str | Path) -> None:
        """Write a report (analysis/report) into `path`, as HTML or Markdown by its suffix.

        Raises SetupError for another suffix, and where the file cannot be written.
        """
        # jinja takes a tenth of a second
        from analysis.report.facts import gather  # noqa: PLC0415
        from analysis.report.render import render, shown_pictures  # noqa: PLC0415

        file = Path(path)
        if file.suffix not in {".html", ".md"}:
            raise SetupError(f"--out {file}: end the name in .html or .md")
        fold = self._fold
        facts = gather(self.source, self._diff_or_why_not, fold.lfsrs, fold.simpler)
        if file.suffix == ".md":
            text = render(facts, {}, "md")
        else:
            from analysis.pictures import kinds  # noqa: PLC0415 - half a second of matplotlib

            shown = {kind: kinds.svg(kind, self.source) for kind in shown_pictures(facts)}
            text = render(facts, shown, "html")
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SetupError(f"--out {file}: {error.strerror}") from None

    @property
    def source(self) -> RunSource:
        """What pictures are drawn from."""
        return RunSource(self._con, self.ablation)

    def diff(self, node: str) -> str:
        """Return a candidate's unified diff against its parent, "" if it was never admitted."""
        rows = answer(self._con, "SELECT parent FROM nodes WHERE node = ?", values=[node]).rows
        parent = rows[0][0] if rows else None
        return self._branches.diff(parent, node) if parent and "/" not in node else ""

    @cached_property
    def diffs(self) -> Mapping[str, str]:
        """The unified diff of each candidate against its parent, by commit."""
        pairs = "SELECT parent, node FROM nodes WHERE kind = 'candidate' ORDER BY recorded, node"
        return self._branches.diffs(self._con.execute(pairs).fetchall())

    def _diff_or_why_not(self, old: str, new: str) -> str:
        """Return a diff, or a line that says why there is none: a record outlives git's objects."""
        try:
            return self._branches.diff(old, new)
        except GitError as error:
            return no_diff(error)

    @cached_property
    def _branches(self) -> Branches:
        genome = tuple(self.opened["genome"])
        return Branches(self.repo, self.folder.name, genome)

    @cached_property
    def _fold(self) -> AblationFold:
        """The fold of the run's stack events, which ablations and reports need."""
        # numpy takes a fifth of a second
        from analysis.database.projection.stack_events import stack_events  # noqa: PLC0415
        from analysis.questions.ablation import AblationFold  # noqa: PLC0415

        fold = AblationFold()
        for event in stack_events(self._con):
            fold.take(event)
        return fold

    @cached_property
    def _best_head(self) -> str:
        rows = answer(self._con, "SELECT head FROM standings WHERE kept > 0").rows
        if not rows:
            sql = "FROM nodes WHERE ending = 'kept' AND quarantined IS NOT NULL"
            lost = answer(self._con, sql, 1).rows
            what = "what was kept was dropped or quarantined" if lost else "nothing was kept yet"
            raise SetupError(f"{what}: there is nothing to ablate")
        head: str = rows[0][0]
        return head
