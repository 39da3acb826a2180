"""Pending agent calls and the calls of trials, at their most until their answers are recorded.

A coordinator that is killed during a call leaves that cost in the ledger, and the next one counts
it as spent: the provider may have billed it.
"""

from __future__ import annotations

from functools import singledispatchmethod

from islands import events as ev
from islands.records import Usage


class PendingCalls:
    """The fold. `open` has the latest call by experiment, `charges` what each open trial cost."""

    def __init__(self) -> None:
        self.open: dict[int, ev.AgentCallStarted] = {}
        self.charges: dict[str, Usage] = {}
        self._trials = Usage()

    @property
    def usd(self) -> float:
        """The US dollars of pending calls, at most, and of trials."""
        return sum(call.usage.usd for call in self.open.values()) + self._trials.usd

    @property
    def tokens(self) -> int:
        """The tokens of pending calls, at most, and of trials."""
        return sum(call.usage.tokens for call in self.open.values()) + self._trials.tokens

    @singledispatchmethod
    def apply(self, event: ev.Event) -> None:
        """Take in the next event of the run; most do not concern calls."""

    @apply.register
    def _agent_call_started(self, event: ev.AgentCallStarted) -> None:
        self.open[event.experiment] = event

    @apply.register
    def _trial_charged(self, event: ev.TrialCharged) -> None:
        before, now = self.charges.get(event.trial, Usage()), event.usage
        self.charges[event.trial] = now
        self._trials = Usage(
            usd=self._trials.usd + now.usd - before.usd,
            tokens_untold=self._trials.tokens + now.tokens - before.tokens,
        )

    @apply.register
    def _trial_over(self, event: ev.TrialEnded | ev.TrialVoided) -> None:
        self.charges.pop(event.started.trial, None)

    @apply.register
    def _call_settled(
        self, event: ev.ProposalReceived | ev.AgentFailed | ev.SummaryWritten
    ) -> None:
        self.open.pop(event.experiment, None)
