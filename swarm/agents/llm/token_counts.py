"""Token counts as each wire format reports them, in answers and in streams.

A count that does not read is no count: the caller then keeps the most that the call can cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, WrapValidator

from swarm.agents.llm.settings import Tokens

TokenCount = Annotated[int, Field(ge=0, le=10**12)]
"""Tokens as a provider counts them; a number that no model could use is rejected."""


def _or_none(value: object, parse: Callable[[object], Any]) -> Any:  # noqa: ANN401 - of any field
    try:
        return parse(value)
    except ValidationError:
        return None


IF_READABLE = WrapValidator(_or_none)
"""Marks a field that a reply can do without: None where it does not read."""


class MessageUsage(BaseModel):
    """Counts of Anthropic's format: the three counts of input do not overlap."""

    input_tokens: TokenCount
    output_tokens: TokenCount
    cache_read_input_tokens: TokenCount | None = None
    cache_creation_input_tokens: TokenCount | None = None

    @property
    def tokens(self) -> Tokens:
        """The counts."""
        return Tokens(
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens or 0,
            self.cache_creation_input_tokens or 0,
        )


class _Cached(BaseModel):
    """Cached tokens, read and written; both are included in the input tokens."""

    cached_tokens: TokenCount | None = None
    cache_write_tokens: TokenCount | None = None


class ResponseUsage(BaseModel):
    """Counts of OpenAI's Responses."""

    input_tokens: TokenCount
    output_tokens: TokenCount
    input_tokens_details: _Cached | None = None

    @property
    def tokens(self) -> Tokens:
        """The counts."""
        return _tokens(self.input_tokens, self.output_tokens, self.input_tokens_details)


class ChatUsage(BaseModel):
    """Counts of chat completions."""

    prompt_tokens: TokenCount
    completion_tokens: TokenCount
    prompt_tokens_details: _Cached | None = None

    @property
    def tokens(self) -> Tokens:
        """The counts."""
        return _tokens(self.prompt_tokens, self.completion_tokens, self.prompt_tokens_details)


def _tokens(sent: int, output: int, cached: _Cached | None) -> Tokens:
    cached = cached or _Cached()
    read, write = cached.cached_tokens or 0, cached.cache_write_tokens or 0
    return Tokens(max(sent - read - write, 0), output, read, write)
