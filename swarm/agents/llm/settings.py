"""What program.md says of one language model: who serves it, its limits, its price."""

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


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one call, as the provider counts them. The three kinds of input do not overlap."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total_input(self) -> int:
        """All that was sent, whether it was read, written to a cache, or read from one."""
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens. All four are asked for, since a guess could overshoot a limit."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def usd(self, tokens: Tokens) -> float:
        """Return what `tokens` cost, in dollars."""
        return (
            tokens.input * self.input
            + tokens.output * self.output
            + tokens.cache_read * self.cache_read
            + tokens.cache_write * self.cache_write
        ) / 1e6

    def max_usd(self, sent: int, output: int) -> float:
        """Return the most that `total_input` and `output` tokens can cost, in dollars."""
        dearest = max(self.input, self.cache_read, self.cache_write)
        return (sent * dearest + output * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One agent's settings.

    An empty `base_url` is the provider's own; an empty `api_key_env` is the provider's usual
    variable there and no key anywhere else. `timeout_seconds` is for one whole call. An empty
    `effort` leaves it to the model. Without a `price` a call counts as nothing.
    """

    kind: ProviderKind
    model: str
    base_url: str = ""
    api_key_env: str = ""
    requests_per_minute: int = 50
    max_output_tokens: int = 8192
    timeout_seconds: float = 120.0
    effort: str = ""
    price: Price | None = None

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.base_url or DEFAULT_URLS[self.kind]

    @property
    def key_env(self) -> str:
        """The environment variable that holds the key; empty where no key is sent."""
        return self.api_key_env or ("" if self.base_url else DEFAULT_KEY_ENVS[self.kind])


def check_settings(name: str, settings: ModelSettings) -> None:
    """Raise SetupError where agent `name` cannot work as set, naming the key and the mend."""
    where = f"agent {name!r} in program.md"
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
