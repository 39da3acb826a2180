"""The record: ledger, lineage graph, queries, questions and pictures. Imported by swarm.

`from analysis import open_run` is the door for notebooks (analysis/run.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.run import RecordedRun, open_run

__all__ = ["RecordedRun", "open_run"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever analysis.run exports
    """Import the door when it is asked for: the coordinator needs neither matplotlib nor DuckDB."""
    if name not in __all__:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    from analysis import run  # noqa: PLC0415 - see above

    return getattr(run, name)
