"""Health of the agents: who is asked, who rests, when a launch must stop. No I/O, no clock.

An agent is known by its name in program.md: the islands that it works for share its health.

| it | and | so |
| --- | --- | --- |
| has never proposed | fails again and again | the launch stops within minutes, with the fix |
| has proposed before | fails again and again | it rests, then is asked once; each rest is longer |
| is unavailable | (no credit, no such model, key withdrawn) | it rests at once |
| rests | so do all others, for long or for good | the run stops: nothing can happen any more |

Not covered: an agent that answers now and then is asked at the pace of its failures' pauses and
never rests, however rare its answers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from swarm.agents.base import AgentError, ErrorKind

REPLY_ERRORS: frozenset[ErrorKind] = frozenset({"malformed", "unapplied", "refusal"})
"""Errors in what a model replied: its provider can be reached."""

MIN_FAILURES = 3
"""Failures in a row below which an agent is only asked later."""

MAX_REPLY_FAILURES = 8
"""Unusable proposals in a row after which it does not matter how fast they came."""

OUTAGE_S, REPLY_OUTAGE_S = 120.0, 600.0
"""Seconds of failures that count as an outage: of a provider, and of unusable replies."""

UNREACHABLE: frozenset[ErrorKind] = frozenset({"server", "network"})
RETRIED_S = 240.0
"""Seconds between two failures to reach a provider that are an outage: each was tried for minutes.

An overloaded server (HTTP 503) is asked for five minutes before a call fails: three such calls took
a launch 12 minutes.
"""

FIRST_REST_S, LONGEST_REST_S = 60.0, 600.0

GIVE_UP_S = 1800.0
"""Seconds without an answer after which a resting agent no longer keeps a run alive."""


@dataclass(slots=True)
class _Health:
    """One agent's failures since its last proposal; times are the event loop's."""

    proposed: bool = False
    failures: int = 0
    since: float = 0.0
    reason: str = ""
    last: float = 0.0
    hopeless: bool = False
    promised: bool = False
    """Whether the provider has named the time at which it answers again."""

    rests: int = 0
    until: float = 0.0
    asked: bool = False
    """Whether a request that ends the rest or prolongs it is under way."""

    def fail(self, error: AgentError, now: float) -> None:
        """Count a failure; begin a rest, or a longer one, where it is due."""
        self.since, self.last = self.since if self.failures else now, now
        self.failures += 1
        self.reason, self.hopeless = str(error), error.error_kind == "unavailable"
        self.promised = error.retry_after > 0
        due = self.rests == 0 or self.asked  # of those under way as it goes to rest, none counts
        self.asked = False
        if due and (self.hopeless or self.is_out(error.error_kind, now)):
            rest = min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(self.rests, 10))
            self.until = now + max(rest, error.retry_after)
            self.rests += 1

    def is_out(self, kind: ErrorKind, now: float) -> bool:
        """Return whether its failures amount to an outage."""
        reply, lasted = kind in REPLY_ERRORS, now - self.since
        if reply and self.failures >= MAX_REPLY_FAILURES:
            return True
        if kind in UNREACHABLE and self.failures > 1 and lasted >= RETRIED_S:
            return True
        return self.failures >= MIN_FAILURES and lasted >= (REPLY_OUTAGE_S if reply else OUTAGE_S)

    @property
    def given_up(self) -> bool:
        """Whether no answer is to be expected."""
        long = self.last - self.since >= GIVE_UP_S and not self.promised
        return self.rests > 0 and not self.asked and (self.hopeless or long)


@dataclass(slots=True)
class AgentHealth:
    """The health of a launch's agents, by their names."""

    _by_name: dict[str, _Health] = field(default_factory=dict)

    def proposed(self, agent: str) -> bool:
        """Note a proposal of `agent`; return whether that ends a rest."""
        rested = self._of(agent).rests > 0
        self._by_name[agent] = _Health(proposed=True)
        return rested

    def failed(self, agent: str, error: AgentError, now: float) -> str:
        """Note a failure of `agent`; return why the launch must stop, "" if it goes on."""
        if error.error_kind == "exhausted":
            self.proposed(agent)
            return ""
        health = self._of(agent)
        health.fail(error, now)
        if health.proposed or health.hopeless or not health.is_out(error.error_kind, now):
            return ""
        fix = "choose another model for it, then " if error.error_kind in REPLY_ERRORS else ""
        return (
            f"agent {agent!r} has not made one proposal in {health.failures} tries: {error};"
            f" {fix}`swarm launch` resumes the run"
        )

    def released(self, agent: str) -> None:
        """Note that a request ended without telling anything about the agent."""
        self._of(agent).asked = False

    def rest_s(self, agent: str, now: float) -> float:
        """Return the seconds for which `agent` is not asked; infinite while another request tries.

        0 lets the caller ask, by `ask`.
        """
        health = self._of(agent)
        if health.rests == 0:
            return 0.0
        return float("inf") if health.asked else max(health.until - now, 0.0)

    def ask(self, agent: str) -> None:
        """Note that a request of `agent` begins; while it rests, it is the only one."""
        health = self._of(agent)
        health.asked = health.rests > 0

    def given_up(self, agents: Iterable[str]) -> Mapping[str, str]:
        """Return those of `agents` from which nothing is to be expected, with the reason."""
        found = {name: self._of(name) for name in agents}
        return {name: one.reason for name, one in found.items() if one.given_up}

    def _of(self, agent: str) -> _Health:
        return self._by_name.setdefault(agent, _Health())
