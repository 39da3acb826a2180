"""Questions that an agent may ask of its run while it works on a proposal.

Language models ask by tools (`llm/tools.py`), coding agents by commands in their sandbox
(`external/desk.py`). Answers come from the ledger and from admission alone: figures are rounded as
in every brief, and nothing is said of promotions, checks on other data or other seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from islands.records import Brief, Entry

MAX_TRIED: Final = 20
"""Questions of one proposal about what was tried."""

MAX_PREFLIGHTS: Final = 6
"""Preflights of one proposal; each may take a core for half a second, a hung one for 30 s."""

MAX_WORDS_CHARS: Final = 200
"""Characters of a search for what was tried."""

TRIED: Final = (
    "Ask the record of this run what was tried: the experiments whose hypothesis or changed lines"
    " hold all of the words, whatever their case; `|` separates alternatives, as in"
    " `learning rate | warmup`. No regular expressions."
)
PREFLIGHT: Final = (
    "Check the files as you have them now: whether they may be proposed, whether the same change"
    " was tried before, and, where there is room for it, whether they run. It measures nothing."
)


class RunQuestions(Protocol):
    """The run as agents may ask it."""

    async def tried(self, words: str) -> str:
        """Return the experiments that `words` describe, as text."""

    async def preflight(self, brief: Brief, files: Mapping[str, Entry | None]) -> str:
        """Return whether these changed files could be proposed and run, as text."""


@dataclass(slots=True)
class Asked:
    """The questions of one proposal, counted."""

    run: RunQuestions
    brief: Brief
    searches: int = 0
    preflights: int = 0

    async def tried(self, words: str) -> str:
        """Return what the run answers, or that there were questions enough."""
        self.searches += 1
        if self.searches > MAX_TRIED:
            return f"that was asked {MAX_TRIED} times for this proposal, which is the most"
        return await self.run.tried(words)

    async def preflight(self, files: Mapping[str, Entry | None]) -> str:
        """Return what the run answers, or that there were preflights enough."""
        self.preflights += 1
        if self.preflights > MAX_PREFLIGHTS:
            return f"there were {MAX_PREFLIGHTS} preflights for this proposal, which is the most"
        return await self.run.preflight(self.brief, files)
