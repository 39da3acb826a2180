"""Pending agent calls, each counted at its highest possible cost until its answer is recorded.

A coordinator that is killed during a call leaves that cost in the ledger, and the next one counts
it as spent: the provider may have billed it.
"""

from __future__ import annotations

from functools import singledispatchmethod

from islands import events as ev


class PendingCalls:
    """The fold. `open` has the latest call by experiment."""

    def __init__(self) -> None:
        self.open: dict[int, ev.AgentCallStarted] = {}

    @property
    def usd(self) -> float:
        """The US dollars that pending calls may cost at most."""
        return sum(call.usage.usd for call in self.open.values())

    @property
    def tokens(self) -> int:
        """The tokens that pending calls may take at most."""
        return sum(call.usage.tokens for call in self.open.values())

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Take in the next event of the run; most do not concern calls."""

    @apply.register
    def _agent_call_started(self, event: ev.AgentCallStarted) -> None:
        self.open[event.experiment] = event

    @apply.register
    def _call_settled(
        self, event: ev.ProposalReceived | ev.AgentFailed | ev.SummaryWritten
    ) -> None:
        self.open.pop(event.experiment, None)
