"""What calls that are in the air may cost: each at its worst, until the proposal settles it.

A coordinator that is killed in mid-call leaves the worst case in the ledger, and the next one
counts it as spent: the provider may have billed it.
"""

from __future__ import annotations

from functools import singledispatchmethod

from islands import events as ev


class PendingCalls:
    """The fold. `open` has, by experiment, the latest word on what its proposal may cost."""

    def __init__(self) -> None:
        self.open: dict[int, ev.AgentCallStarted] = {}

    @property
    def usd(self) -> float:
        """Return the dollars that proposals under way may cost."""
        return sum(call.usage.usd for call in self.open.values())

    @property
    def tokens(self) -> int:
        """Return the tokens that proposals under way may take."""
        return sum(call.usage.tokens for call in self.open.values())

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Take in the next event of the run; most are no concern of calls."""

    @apply.register
    def _agent_call_started(self, event: ev.AgentCallStarted) -> None:
        self.open[event.experiment] = event

    @apply.register
    def _call_settled(self, event: ev.ProposalReceived | ev.AgentFailed) -> None:
        self.open.pop(event.experiment, None)
