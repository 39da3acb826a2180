"""Capabilities of one model: learnt from its refusals, kept for the launch.

A provider that refuses a parameter says so before it works, which costs nothing: the parameter is
left out from then on. So a gateway, a local server or a model of next year needs no entry in a
table.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from swarm.agents.llm.settings import ModelSettings

CHARS_PER_TOKEN = 3
"""Characters of a prompt that one token has at least, on the average of program text."""

MIN_PROMPT_CHARS = 6_000
"""Length below which a prompt is not shortened: it would not show enough."""

SHORTER = 0.6
"""Share of a refused prompt's length that is tried next, or less where the window is known."""

MIN_OUTPUT_TOKENS = 256

SMALL_PARAMETERS = 10_000_000_000
"""Parameters below which a model is small: asked in the form of line_edits.py, with a short brief.

Measured with 1.5 B only; those of 7 and 8 B keep to SEARCH/REPLACE better, but not well."""

SMALL_WINDOW = 8_192
"""Context up to which a model that costs nothing is small, where its parameters are not told."""

SMALL_PROMPT_CHARS = 12_000
"""Characters of a small model's prompt: its attention is short, and a CPU reads slowly."""

ALIASES = {
    "thinking": ("thinking", "adaptive"),
    "output_config": ("output_config", "effort"),
    "reasoning_effort": ("reasoning_effort", "reasoning effort", "effort"),
    "reasoning": ("reasoning",),
    "response_format": ("response_format", "json_schema", "structured output", "grammar"),
    "cache_control": ("cache_control", "cache control"),
    "text": ("text.format", "json_schema", "structured output"),
    "stream_options": ("stream_options", "include_usage"),
    "max_tokens": ("max_tokens",),
    "max_completion_tokens": ("max_completion_tokens",),
    "tools": ("tool", "function call", "--jinja"),
}
"""How errors name the parameters that can be left out."""

_STREAM = re.compile(
    r"stream\w*\W+(?:\w+\W+){0,6}(?:required|only|must|true|enabled)|only\W+(?:\w+\W+){0,4}stream",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(
    r"max_(?:completion_|output_)?tokens\b.{0,160}?(?:at most|maximum|less than|limit|<=?|up to)"
    r"\D{0,60}?(\d[\d,]+)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(slots=True)
class Capabilities:
    """What a model takes.

    window: tokens of its context, None while unknown
    output: most tokens of a reply, None while unknown
    prompt_chars: most characters of a prompt, None while none was refused
    refused: parameters that it does not take
    streams_only: whether it answers in streams alone
    native: whether it runs in Ollama, whose own API alone takes a length of the context
    parameters: how many it has, None if its server does not tell
    picks_lines: whether it answers in the JSON form (line_edits.py): as its last usable answer was,
        None for as is usual for its size
    """

    window: int | None = None
    output: int | None = None
    prompt_chars: int | None = None
    refused: set[str] = field(default_factory=set)
    streams_only: bool = False
    native: bool = False
    parameters: int | None = None
    picks_lines: bool | None = None

    def is_small(self, settings: ModelSettings) -> bool:
        """Return whether it is a small model: by what its server says, else by price and window."""
        if self.parameters is not None:
            return self.parameters < SMALL_PARAMETERS
        return settings.is_free and self.window is not None and self.window <= SMALL_WINDOW

    def prefers_lines(self, settings: ModelSettings) -> bool:
        """Return whether it is asked in the JSON form first."""
        return self.is_small(settings) if self.picks_lines is None else self.picks_lines

    def max_output(self, settings: ModelSettings) -> int:
        """Return the tokens that a reply may have: at most a third of the window."""
        third = max(self.window // 3, MIN_OUTPUT_TOKENS) if self.window else None
        limits = (settings.max_output_tokens, self.output, third)
        return min(limit for limit in limits if limit is not None)

    def max_prompt_chars(self, settings: ModelSettings) -> int | None:
        """Return the characters that a prompt may have, None if no limit is known."""
        found = [] if self.prompt_chars is None else [self.prompt_chars]
        if self.window:
            tokens = self.window - self.max_output(settings)
            found.append(max(CHARS_PER_TOKEN * tokens, MIN_PROMPT_CHARS))
        if self.is_small(settings):
            found.append(SMALL_PROMPT_CHARS)
        return min(found, default=None)

    def shorten(self, chars: int) -> bool:
        """Note that a prompt of `chars` was too long; return whether a shorter one makes sense."""
        self.prompt_chars = max(int(SHORTER * chars), MIN_PROMPT_CHARS)
        return chars > MIN_PROMPT_CHARS

    def adapt(self, message: str, sent: Collection[str], output: int) -> bool:
        """Learn from the refusal of a request with the parameters `sent`.

        Returns whether the same request can be made again, without what was refused.
        """
        text = message[:4_000]
        if _STREAM.search(text) and not self.streams_only:
            self.streams_only = True
            return True
        most = _TOO_MANY.search(text)
        if most and MIN_OUTPUT_TOKENS <= (fewer := int(most[1].replace(",", ""))) < output:
            self.output = fewer
            return True
        lower = text.lower()
        for name in sent:
            if name in ALIASES and any(alias in lower for alias in ALIASES[name]):
                self.refused.add(name)
                return True
        return False
