"""The protocol that every agent implements, and the error it raises."""

from __future__ import annotations

from typing import Final, Literal, Protocol, runtime_checkable

from harness.contract import one_line
from islands.records import Attempt, Brief, Proposal, Usage

ErrorKind = Literal[
    "rate",
    "server",
    "timeout",
    "refusal",
    "malformed",
    "unapplied",
    "network",
    "exhausted",
    "too_long",
    "rejected",
    "unavailable",
]

MAX_ERROR_CHARS: Final = 4_000
"""Characters of an agent's error; what quotes an answer is cut shorter where it is made."""


class AgentError(Exception):
    """An agent failed to propose this time; the island continues.

    `error_kind`: what failed; the message is one printable line, whatever `reason` quotes. After
    "exhausted" the agent is not asked again until something has changed; after "unavailable" (no
    credit, no such model, key withdrawn) only a person can help, so it rests. "too_long" and
    "rejected" concern one prompt.
    `usage`: what the attempt cost nevertheless.
    `retry_after`: seconds the provider asked to wait (0: none named).
    """

    def __init__(
        self,
        error_kind: ErrorKind,
        reason: str,
        usage: Usage | None = None,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(one_line(reason, MAX_ERROR_CHARS))
        self.error_kind: ErrorKind = error_kind
        self.usage = usage or Usage()
        self.retry_after = retry_after


class Agent(Protocol):
    """Proposes changes for one island."""

    name: str

    async def propose(self, brief: Brief) -> Proposal:
        """Return a proposal for `brief`. Raises AgentError if there is no usable answer."""

    def learn(self, attempt: Attempt) -> None:
        """Learn how an experiment of this island ended; called once each, in ledger order.

        A kept change that is later quarantined (islands/quarantine.py) comes again, as failed.
        """


@runtime_checkable
class Probed(Protocol):
    """An agent that can tell before a launch whether it can be reached."""

    async def probe(self) -> None:
        """Raise SetupError, with the fix, if only the user can make it answer."""


class Summariser(Protocol):
    """A model that can be asked what a run has taught so far."""

    name: str

    async def summarise(self, brief: Brief, known: str) -> tuple[str, Usage]:
        """Return its text on what is `known`, and its cost. Raises AgentError, BudgetError."""


@runtime_checkable
class Writing(Protocol):
    """An agent with a model that can be asked for more than proposals."""

    @property
    def writer(self) -> Summariser | None:
        """The model, None where the agent has none that is metered."""


@runtime_checkable
class Priced(Protocol):
    """An agent that calls a model which may cost something."""

    def price_line(self) -> str:
        """Return a line that tells a person what its model costs, and who says so."""
