"""Search of what a run tried: by words of hypothesis and diff, or by likeness to a change.

Two changes are alike if they are the same in their normal form (islands/genome/normal_change.py),
whatever their layout, comments and local names, or if they remove and add the same tokens on a line
with `#` for each number: another value of the same knob is alike.

Not covered: moved code, and renamed variables where more than the names differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection

from analysis.database.queries import answer
from analysis.questions.target import gain_of_row
from harness.contract import SetupError
from islands.records import Gain

MIN_LIKENESS = 0.5
"""Share of common lines from which two changes count as alike."""


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An experiment that fits a search.

    experiment, island, agent: which one, where, by whom
    commit: its commit, or `experiment/<number>` if it is none
    hypothesis: what the agent expected
    ending, reason: how it ended and why; `open` while it has not
    gain: what was measured, None if nothing was in pairs
    likeness: share of common lines, from 0 to 1, None in a search by words
    """

    experiment: int
    island: str
    agent: str
    commit: str
    hypothesis: str
    ending: str
    reason: str
    gain: Gain | None
    likeness: float | None = None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the regular expression `pattern`, without regard to case. Raises SetupError."""
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise SetupError(
            f"{pattern!r} is not a regular expression ({error}): put a backslash before"
            " ( [ * + ? . where they stand for themselves"
        ) from None


def by_words(
    con: DuckDBPyConnection, pattern: str, diffs: Mapping[str, str]
) -> tuple[PastAttempt, ...]:
    """Return the experiments whose hypothesis, or whose diff, `pattern` matches; oldest first.

    `diffs` holds the unified diff of each candidate by its commit. Only changed lines of a diff are
    searched. Raises SetupError where `pattern` is no regular expression.
    """
    wanted = compile_pattern(pattern)
    said = con.execute(f"SELECT node, hypothesis {_EXPERIMENTS}").fetchall()
    hits = {node for node, hypothesis in said if wanted.search(hypothesis or "")}
    hits |= {
        node
        for node, diff in diffs.items()
        if node not in hits and any(wanted.search(line[1:]) for line in changed_lines(diff))
    }
    rows = answer(con, f"{_WHAT} {_EXPERIMENTS} AND node IN (SELECT unnest(?))", values=[[*hits]])
    return tuple(map(_attempt, sorted(rows.named(), key=lambda row: int(row["experiment"]))))


def by_likeness(
    con: DuckDBPyConnection, diff: str, diffs: Mapping[str, str]
) -> tuple[PastAttempt, ...]:
    """Return the experiments whose change is like that of `diff`, the most alike first."""
    wanted, rows = normalised(diff), _experiments(con)
    same = {row["change"] for row in rows if diffs.get(row["node"]) == diff} - {None}
    alike = [
        (1.0 if r["change"] in same else likeness(wanted, normalised(diffs.get(r["node"], ""))), r)
        for r in rows
    ]
    found = [_attempt(row, share) for share, row in alike if share >= MIN_LIKENESS]
    return tuple(sorted(found, key=lambda one: (-(one.likeness or 0.0), one.experiment)))


def normalised(diff: str) -> frozenset[str]:
    """Return the changed lines of a unified diff as the tokens that count, with numbers as `#`."""
    # the parsers of all languages take a twentieth of a second
    from islands.genome.normal_change import normal_line  # noqa: PLC0415

    lines = ((line[0], normal_line(line[1:], path)) for path, line in _changed(diff))
    return frozenset(f"{sign} {text}" for sign, text in lines if text)


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of lines that both have (Jaccard), from 0 to 1; 0 if both are empty."""
    return len(one & other) / len(one | other) if one | other else 0.0


def changed_lines(diff: str) -> Iterator[str]:
    """Yield the added and removed lines of a unified diff, each with its sign."""
    return (line for _, line in _changed(diff))


def _changed(diff: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the line, with its sign, of each added or removed line."""
    in_hunk, path = False, ""
    for line in diff.split("\n"):  # a line of a candidate may hold other breaks
        if line.startswith("@@"):
            in_hunk = True
        elif line.startswith("diff "):
            in_hunk, path = False, line.rpartition(" b/")[2]
        elif in_hunk and line[:1] in {"+", "-"}:
            yield path, line


_EXPERIMENTS = "FROM nodes WHERE experiment IS NOT NULL AND agent <> 'null'"
_WHAT = """
SELECT experiment, island, agent, node, hypothesis, ending, reason, gain, noise, pairs, change
"""


def _experiments(con: DuckDBPyConnection) -> list[dict[str, Any]]:
    return answer(con, f"{_WHAT} {_EXPERIMENTS} ORDER BY experiment").named()


def _attempt(row: Mapping[str, Any], share: float | None = None) -> PastAttempt:
    return PastAttempt(
        experiment=row["experiment"],
        island=row["island"],
        agent=row["agent"],
        commit=row["node"],
        hypothesis=row["hypothesis"],
        ending=row["ending"] or "open",
        reason=row["reason"] or "",
        gain=gain_of_row(row),
        likeness=share,
    )
