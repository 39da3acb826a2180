"""The one protocol behind which every agent stands."""

from __future__ import annotations

from typing import Literal, Protocol

from islands.records import Attempt, Brief, Proposal, Usage

ErrorKind = Literal["rate", "server", "timeout", "refusal", "malformed", "unapplied", "network"]


class AgentError(Exception):
    """An agent gave no proposal this time; the island goes on.

    `error_kind` is the kind, the message one line for people, `usage` what it cost all the same,
    `retry_after` the seconds that the provider asked for (0: it did not).
    """

    def __init__(
        self,
        error_kind: ErrorKind,
        reason: str,
        usage: Usage | None = None,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.error_kind: ErrorKind = error_kind
        self.usage = usage or Usage()
        self.retry_after = retry_after


class Agent(Protocol):
    """Proposes changes for one island."""

    name: str

    async def propose(self, brief: Brief) -> Proposal:
        """Answer `brief`. Raises AgentError where there is no usable answer."""

    def learn(self, attempt: Attempt) -> None:
        """Take in how an experiment of this island ended; called once each, in ledger order.

        What was kept and then set apart (see islands/quarantine.py) comes a second time, as failed.
        """
