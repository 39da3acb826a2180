"""Settings of one language model from program.md: provider, limits, price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.contract import SetupError

ProviderKind = Literal["anthropic", "openai"]

DEFAULT_URLS: dict[ProviderKind, str] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
}

DEFAULT_KEY_ENVS: dict[ProviderKind, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
}


RUN = "run"
"""Who asks where a trial's `run` does, and no agent: the model is that of program.md's `model`."""


def place_of(name: str) -> str:
    """Return where program.md names the model of agent `name`, or of RUN."""
    return "`model` in program.md" if name == RUN else f"agent {name!r} in program.md"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one request, as the provider counts them; the three input counts do not overlap."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total_input(self) -> int:
        """All input tokens: uncached, written to a cache, and read from one."""
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens. The first four are required: a guess could overshoot a limit.

    A call with more than `long_from` input tokens (0: there is no such limit) costs `long_input`
    times as much for its input and `long_output` times as much for its output.
    """

    input: float
    output: float
    cache_read: float
    cache_write: float
    long_from: int = 0
    long_input: float = 1.0
    long_output: float = 1.0

    def usd(self, tokens: Tokens) -> float:
        """Return what `tokens` cost, in dollars."""
        sent = (
            tokens.input * self.input
            + tokens.cache_read * self.cache_read
            + tokens.cache_write * self.cache_write
        )
        return self._total(tokens.total_input, sent, tokens.output * self.output)

    def max_usd(self, sent: int, output: int) -> float:
        """Return the most that `total_input` and `output` tokens can cost, in dollars."""
        dearest = max(self.input, self.cache_read, self.cache_write)
        return self._total(sent, sent * dearest, output * self.output)

    def _total(self, tokens: int, sent: float, output: float) -> float:
        if self.long_from and tokens > self.long_from:
            sent, output = sent * self.long_input, output * self.long_output
        return (sent + output) / 1e6


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Settings of one language-model agent.

    `base_url`: empty for the provider's own.
    `api_key_env`: environment variable with the key; empty for the provider's usual variable at
    the provider's own URL, and no key elsewhere.
    `max_output_tokens`: for one reply.
    `timeout_seconds`: for one whole request.
    `effort`: empty for the model's default.
    `context_tokens`: the model's context window, prompt and reply together; 0: what the server says
    (in Ollama, which reserves memory for it: at most 16,384).
    `tool_calls`: questions of one proposal that it may ask by tools, 0 for none.
    `login`: the file that `codex login` wrote, whose ChatGPT account pays; empty for a key.
    `price`: program.md's, or the one that is known (see swarm/agents/gateway/prices.py); without
    one, tokens are counted and dollars are not.
    """

    kind: ProviderKind
    model: str
    base_url: str = ""
    api_key_env: str = ""
    requests_per_minute: int = 50
    max_output_tokens: int = 8192
    timeout_seconds: float = 120.0
    effort: str = ""
    context_tokens: int = 0
    tool_calls: int = 6
    login: str = ""
    price: Price | None = None

    @property
    def is_free(self) -> bool:
        """Whether it is known to cost nothing."""
        return self.price is not None and self.price.max_usd(1, 1) == 0

    @property
    def url(self) -> str:
        """The URL that requests go to."""
        return self.base_url or DEFAULT_URLS[self.kind]

    @property
    def key_env(self) -> str:
        """The environment variable that holds the key; empty if no key is sent."""
        if self.login:
            return ""
        return self.api_key_env or ("" if self.base_url else DEFAULT_KEY_ENVS[self.kind])


def check_settings(name: str, settings: ModelSettings) -> None:
    """Raise SetupError if a setting of agent `name` is invalid, naming its key and the fix."""
    where = place_of(name)
    if not settings.model:
        raise SetupError(f"{where}: `model` is missing: name the model to call")
    if not settings.url.startswith(("http://", "https://")):
        raise SetupError(
            f"{where}: `base_url` {settings.url!r} must begin with http:// or https://"
        )
    for key in ("requests_per_minute", "max_output_tokens", "timeout_seconds"):
        if not 0 < getattr(settings, key) < float("inf"):
            raise SetupError(f"{where}: `{key}` must be a number above zero")
    price = settings.price
    if price is not None:
        for key in ("input", "output", "cache_read", "cache_write"):
            if not 0 <= getattr(price, key) < float("inf"):
                raise SetupError(f"{where}: `price.{key}` must be dollars per million tokens, or 0")
