"""Sections of program.md on agents: who proposes, with which model, at what price."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from islands.scheduling.arm_choice import ArmPolicy
from swarm.agents.external.settings import KINDS, PROVIDERS, ExternalKind, ExternalSettings
from swarm.agents.llm.login import CHATGPT_URL, LOGIN_FILE
from swarm.agents.llm.settings import ModelSettings, Price, ProviderKind
from swarm.agents.llm.temperaments import INSTRUCTIONS, Temperament
from swarm.project.schema.fields import (
    DOLLARS,
    FROM_ONE,
    MAX_COUNT,
    MAX_MEMORY_MIB,
    MAX_SECONDS,
    STRICT,
    CommandLine,
    Count,
    Dollars,
    Name,
    described,
)

AGENT_KINDS = f"mutator, anthropic, openai, {', '.join(KINDS)}"

Team = Annotated[
    tuple[Name, ...],
    described("a list of agents that share proposals by what they earn", "[fast, mutator, iid]"),
]

Temperaments = (
    Literal["auto", "none"] | Temperament | Annotated[tuple[Temperament, ...], Field(min_length=1)]
)

TEMPERAMENT_RULE = described(
    f"auto, none, {', '.join(INSTRUCTIONS)}, or a list of these", "schedule"
)


@dataclass(frozen=True, slots=True, config=STRICT)
class ArmsSection:
    """How the agents of a team share an island's proposals.

    - `floor`: share of the proposals that all get alike, whatever they earn
    - `usd_per_slice_hour`: what an hour of a slice is worth, to add slice time to dollars
    """

    floor: Annotated[float, Field(ge=0, le=1), described("a share from 0 to 1", "0.1")] = 0.1
    usd_per_slice_hour: Annotated[Dollars, described(DOLLARS, "1.0")] = 1.0

    def policy(self) -> ArmPolicy:
        """Return how the next agent is chosen."""
        return ArmPolicy(self.floor, self.usd_per_slice_hour)


@dataclass(frozen=True, slots=True, config=STRICT)
class IslandSection:
    """One island: its name, and its agent, team and temperament ("", (): those of program.md)."""

    name: Annotated[Name, described("a word of a-z, 0-9 and - that begins with a letter", "wide")]
    agent: Annotated[Name, described("the name of an agent", "mutator")] = ""
    team: Team = ()
    temperament: Annotated[Temperaments | None, TEMPERAMENT_RULE] = None


@dataclass(frozen=True, slots=True, config=STRICT)
class MutatorSection:
    """The built-in agent, which needs no model and no key."""

    kind: Literal["mutator"] = "mutator"


@dataclass(frozen=True, slots=True, config=STRICT)
class PriceSection:
    """Price of a model in dollars per million tokens; None: the highest that is plausible."""

    input: Dollars
    output: Dollars
    cache_read: Annotated[Dollars | None, described(DOLLARS, "0.3")] = None
    cache_write: Annotated[Dollars | None, described(DOLLARS, "3.75")] = None

    def price(self) -> Price:
        """Return the price with open parts set to their maximum, so no dollar limit is overshot.

        No provider that we know charges more for cached tokens than for fresh ones, or more than
        twice as much for caching them (Anthropic: 1.25 times for 5 minutes, 2 times for an hour).
        """
        return Price(
            input=self.input,
            output=self.output,
            cache_read=self.input if self.cache_read is None else self.cache_read,
            cache_write=2 * self.input if self.cache_write is None else self.cache_write,
        )


ModelName = Annotated[str, Field(min_length=1)]

MODEL_RULE = described("a model as its provider spells it", "claude-sonnet-5-5")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ProviderKeys:
    """Where a model is found and what it costs; None: the default of `ModelSettings`."""

    base_url: Annotated[
        str | None,
        Field(pattern=r"^https?://\S+$"),
        described("an address that begins with http:// or https://", "http://localhost:11434/v1"),
    ] = None
    api_key_env: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
        described("the name of a variable that holds the key, never the key", "ANTHROPIC_API_KEY"),
    ] = None
    requests_per_minute: Annotated[Count | None, described(FROM_ONE, "50")] = None
    max_output_tokens: Annotated[Count | None, described(FROM_ONE, "8192")] = None
    timeout_seconds: Annotated[
        float | None,
        Field(gt=0, le=MAX_SECONDS),
        described(f"a number of seconds above 0, up to {MAX_SECONDS}", "120"),
    ] = None
    effort: Annotated[
        str | None,
        Field(pattern=r"^[a-z]+$"),
        described("a word that the provider knows", "medium"),
    ] = None
    context_tokens: Annotated[
        int | None,
        Field(ge=1024, le=1_000_000_000),
        described("a whole number of tokens from 1024 to 1000000000", "32768"),
    ] = None
    price: Annotated[
        PriceSection | None, described("dollars per million tokens", "{input: 3, output: 15}")
    ] = None

    def settings_of(self, kind: ProviderKind, model: str) -> ModelSettings:
        """Return the model's settings, with defaults for the keys that are not given."""
        keys = {key.name: getattr(self, key.name) for key in fields(ProviderKeys)}
        given = {key: value for key, value in keys.items() if value is not None}
        if self.price is not None:
            given["price"] = self.price.price()
        return ModelSettings(kind, model, **given)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ModelSection(ProviderKeys):
    """A language model."""

    kind: Annotated[Literal["anthropic", "openai"], described(AGENT_KINDS, "openai")]
    model: Annotated[ModelName, MODEL_RULE]
    tool_calls: Annotated[
        int | None, Field(ge=0, le=100), described("a whole number from 0 to 100", "6")
    ] = None

    def model_settings(self) -> ModelSettings:
        """Return the agent's settings, with defaults for the keys that are not given."""
        settings = self.settings_of(self.kind, self.model)
        return (
            settings if self.tool_calls is None else replace(settings, tool_calls=self.tool_calls)
        )


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExternalSection(ProviderKeys):
    """An external coding agent; None: the default of `swarm.agents.external.settings`."""

    kind: Annotated[ExternalKind, described(AGENT_KINDS, "claude-code")]
    model: Annotated[ModelName | None, MODEL_RULE] = None
    provider: Annotated[ProviderKind | None, described("anthropic or openai", "anthropic")] = None
    path: Annotated[
        str | None, Field(min_length=1), described("the path of its executable", "~/bin/claude")
    ] = None
    command: Annotated[
        CommandLine | None,
        described("a command line that reads a prompt and edits files", "qwen --bare -p -"),
    ] = None
    seconds: Annotated[
        float | None,
        Field(gt=0, le=MAX_SECONDS),
        described("the seconds that one proposal may take", "900"),
    ] = None
    max_turns: Annotated[Count | None, described(FROM_ONE, "40")] = None
    max_usd: Annotated[
        float | None,
        Field(gt=0, le=MAX_COUNT),
        described(f"a number of dollars above 0, up to {MAX_COUNT}", "0.5"),
    ] = None
    memory_mib: Annotated[
        int | None,
        Field(ge=256, le=MAX_MEMORY_MIB),
        described(f"a whole number of MiB from 256 to {MAX_MEMORY_MIB}", "2048"),
    ] = None
    network: Annotated[bool | None, described("true or false", "true")] = None
    login: Annotated[bool | None, described("true or false", "true")] = None
    env: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], ...] | None,
        described("a list of names of variables, never their values", "[CURSOR_API_KEY]"),
    ] = None
    mount: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...] | None,
        described("a list of folders that it may read", "[~/.nvm]"),
    ] = None

    def external_settings(self) -> ExternalSettings:
        """Return the agent's settings, with defaults for the keys that are not given."""
        own = {key.name for key in fields(self)} - {key.name for key in fields(ProviderKeys)}
        keys = {name: getattr(self, name) for name in own - {"model", "provider", "mount", "login"}}
        given = {key: value for key, value in keys.items() if value is not None}
        mount = tuple(Path(folder).expanduser() for folder in self.mount or ())
        model = None
        if self.model is not None:
            provider = self.provider or PROVIDERS[self.kind][0]
            model = self.settings_of(provider, self.model)
            if self.login:
                model = replace(model, login=LOGIN_FILE, base_url=model.base_url or CHATGPT_URL)
        return ExternalSettings(model=model, mount=mount, **given)


AgentSection = MutatorSection | ModelSection | ExternalSection
