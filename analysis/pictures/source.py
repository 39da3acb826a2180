"""Source of a picture's numbers: the run's tables and, for ablations, its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from analysis.untrusted_text import cut, first_line

if TYPE_CHECKING:  # numpy takes a fifth of a second
    from analysis.questions.ablation import Ablation

MAX_LABEL = 34
"""Characters of a change's name on a picture."""


@dataclass(frozen=True, slots=True)
class RunSource:
    """Where a picture's numbers come from.

    con: a read-only connection to the run's tables
    ablation: returns the ablation of the consensus, or of the best head; raises SetupError
    """

    con: DuckDBPyConnection
    ablation: Callable[[], Ablation]

    def rows(
        self, sql: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        return answer(self.con, sql, values=values).named()

    def run(self) -> dict[str, Any]:
        """Return the row of the run: name, task, metric, direction."""
        return self.rows("SELECT run, task, metric, direction FROM run")[0]

    def islands(self) -> list[str]:
        """Return the islands' names in the order in which they started."""
        return [row["island"] for row in self.rows("FROM islands ORDER BY recorded, island")]


def short(text: str) -> str:
    """Return the first words of an agent's text that fit a label: printable, one line."""
    clean = first_line(text).partition(" (")[0].replace("$", r"\$")
    return cut(clean, MAX_LABEL)
