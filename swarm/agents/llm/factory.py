"""Factory of language-model agents: reads the key, picks the wire format, shares the limiters."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from harness.contract import SetupError
from islands.environment import secret
from swarm.agents.gateway.prices import known_price, priced
from swarm.agents.llm.agent import LanguageModel, UsageCallback, ignore_usage
from swarm.agents.llm.budget import Budget
from swarm.agents.llm.capabilities import Capabilities
from swarm.agents.llm.client import ModelClient
from swarm.agents.llm.login import read_login
from swarm.agents.llm.meter import CallRecorder, Meter, ignore_call
from swarm.agents.llm.provider import Provider
from swarm.agents.llm.rate_limiter import RateLimiter, RateLimits
from swarm.agents.llm.settings import DEFAULT_URLS, ModelSettings, check_settings, place_of
from swarm.agents.questions import RunQuestions


@dataclass(slots=True)
class RateLimiters:
    """What agents share: one rate limiter a provider and key, and what is known of each model."""

    seed: int = 0
    _capabilities: dict[tuple[str, str], Capabilities] = field(default_factory=dict, repr=False)
    _limiters: dict[tuple[str, str], RateLimiter] = field(default_factory=dict, repr=False)

    def shared(self, settings: ModelSettings, key: str) -> RateLimiter:
        """Return the limiter of this provider and key, at the lowest rate set for it so far."""
        rate = settings.requests_per_minute
        limiter = self._limiters.get((settings.url, key))
        if limiter is None:
            limiter = RateLimiter(RateLimits(rate), self.seed + len(self._limiters))
            self._limiters[settings.url, key] = limiter
        limiter.limit_rate(rate)
        return limiter

    def capabilities(self, settings: ModelSettings) -> Capabilities:
        """Return what is known of this model: all its agents learn together."""
        new = Capabilities(window=settings.context_tokens or None)
        return self._capabilities.setdefault((settings.url, settings.model), new)


def make_agent(  # noqa: PLR0913, PLR0917 - what all agents share, and what is told of them
    name: str,
    settings: ModelSettings,
    limiters: RateLimiters,
    budget: Budget,
    on_usage: UsageCallback = ignore_usage,
    record: CallRecorder = ignore_call,
    questions: RunQuestions | None = None,
) -> LanguageModel:
    """Return the agent `name`, which shares `limiters` and `budget` with the others.

    `questions`: who answers what it asks by tools; None: nobody.

    Raises SetupError, with the fix, if a setting is invalid, the key is missing, or a limit in
    dollars is set and the agent has no price.
    """
    check_settings(name, settings)
    check_price(name, settings, budget)
    settings = priced(settings)
    key = read_key(name, settings)
    limiter = limiters.shared(settings, key)
    known = limiters.capabilities(settings)
    provider = _provider(settings, key, known)
    client = ModelClient(Meter(name, settings, limiter, budget, record), provider, known)
    return LanguageModel(name, client, on_usage, questions)


def check_price(name: str, settings: ModelSettings, budget: Budget) -> None:
    """Raise SetupError where a limit in dollars is set and the price of agent `name` is unknown."""
    if budget.max_usd is not None and known_price(settings) is None:
        raise SetupError(
            f"{place_of(name)} has no `price`, that of {settings.model} at"
            f" {settings.url} is unknown, and a limit in dollars is set: give its dollars per"
            " million tokens (input, output, cache_read, cache_write; 0 if free), or remove the"
            " limit"
        )


def read_key(name: str, settings: ModelSettings) -> str:
    """Return the key named by `settings`; "" if none is needed. Raises SetupError if unset."""
    if settings.login:
        return read_login(name, settings.login).token
    variable = settings.key_env
    if not variable:
        return ""
    key = secret(variable).strip()
    if not key:
        raise SetupError(f"{place_of(name)} needs a key: set the environment variable {variable}")
    # no header can carry anything else, and the HTTP library's error would show the key
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise SetupError(
            f"{variable} does not hold a key: it has spaces or characters beyond ASCII"
        )
    return key


def _provider(settings: ModelSettings, key: str, known: Capabilities) -> Provider:
    if settings.kind == "anthropic":
        from swarm.agents.llm.anthropic import AnthropicModel  # noqa: PLC0415 - 1.7 s of its SDK

        return AnthropicModel(settings, key, known)
    from swarm.agents.llm.openai import ChatModel, ResponsesModel  # noqa: PLC0415 - 0.6 s

    home = urlsplit(DEFAULT_URLS["openai"]).hostname
    model = ResponsesModel if urlsplit(settings.url).hostname == home else ChatModel
    return model(settings, key, known)
