"""What program.md's front matter may say: each section a frozen record, each key one sentence.

`says` gives a key the sentence and the example that a person reads who wrote something else.
Nothing here reads a file; `swarm.project.program` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from harness.contract import Direction, Rung

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

LEAST_MIB = 64
"""A Python that has imported numpy holds about this much."""


def says(what: str, example: str) -> Any:  # noqa: ANN401 - pydantic's own type for a field
    """Describe what a key's value must be, and show one."""
    return Field(description=what, examples=[example])


def _inside(path: str) -> str:
    """Return `path` in its shortest form. Raises ValueError where it is not inside a repository."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or {"..", ".git"} & set(parts) or not path.isprintable():
        raise ValueError(path)
    return "/".join(parts)


def _possible(rung: Rung) -> Rung:
    if rung.depth < 1 or rung.seconds <= 0 or rung.memory_mib < LEAST_MIB:
        raise ValueError(rung)
    return rung


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""A word that can be part of a branch's name."""

Count = Annotated[int, Field(ge=1, le=1_000_000), says("a whole number from 1", "8")]

Dollars = Annotated[float, Field(ge=0), says("a number of dollars, 0 or more", "2.5")]

Path = Annotated[str, AfterValidator(_inside)]


@dataclass(frozen=True, slots=True, config=STRICT)
class IslandSection:
    """One island by name, and who proposes for it (empty: program.md's `agent`)."""

    name: Annotated[Name, says("a word of a-z, 0-9 and - that begins with a letter", "wide")]
    agent: Annotated[Name, says("the name of an agent", "mutator")] = ""


@dataclass(frozen=True, slots=True, config=STRICT)
class MutatorSection:
    """The built-in agent: no model, no key."""

    kind: Literal["mutator"] = "mutator"


@dataclass(frozen=True, slots=True, config=STRICT)
class PriceSection:
    """What a model costs, in dollars per million tokens; None: as much as it may be at most."""

    input: Dollars
    output: Dollars
    cache_read: Annotated[Dollars | None, says("a number of dollars, 0 or more", "0.3")] = None
    cache_write: Annotated[Dollars | None, says("a number of dollars, 0 or more", "3.75")] = None


@dataclass(frozen=True, slots=True, config=STRICT)
class ModelSection:
    """A language model; None where `swarm.agents.llm.settings` has a default."""

    kind: Annotated[Literal["anthropic", "openai"], says("mutator, anthropic or openai", "openai")]
    model: Annotated[
        str, Field(min_length=1), says("a model as its provider spells it", "claude-sonnet-5-5")
    ]
    base_url: Annotated[
        str | None,
        Field(pattern=r"^https?://\S+$"),
        says("an address that begins with http:// or https://", "http://localhost:11434/v1"),
    ] = None
    api_key_env: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
        says("the name of a variable that holds the key, never the key", "ANTHROPIC_API_KEY"),
    ] = None
    requests_per_minute: Annotated[Count | None, says("a whole number from 1", "50")] = None
    max_output_tokens: Annotated[Count | None, says("a whole number from 1", "8192")] = None
    timeout_seconds: Annotated[
        float | None, Field(gt=0), says("a number of seconds above 0", "120")
    ] = None
    effort: Annotated[
        str | None, Field(pattern=r"^[a-z]+$"), says("a word that the provider knows", "medium")
    ] = None
    price: Annotated[
        PriceSection | None, says("dollars per million tokens", "{input: 3, output: 15}")
    ] = None


@dataclass(frozen=True, slots=True, config=STRICT)
class SlicesSection:
    """Which shares of this machine trials run on.

    `cores` are CPU cores for each (None: one, or beside a GPU an equal share of them). `shares` is
    how many slices each GPU makes. A trial is void, and runs again, where others took more than
    `foreign_cpu` of its cores' time (None: it is recorded, and nothing else).
    """

    kind: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], says("auto, cpu, cuda or mps", "auto")
    ] = "auto"
    count: Annotated[Count | Literal["auto"], says("auto or a whole number from 1", "auto")] = (
        "auto"
    )
    cores: Annotated[Count | None, says("a whole number from 1", "1")] = None
    shares: Annotated[int, Field(ge=1, le=16), says("a whole number from 1 to 16", "3")] = 1
    foreign_cpu: Annotated[
        float | None, Field(gt=0, lt=1), says("a share between 0 and 1", "0.03")
    ] = None


@dataclass(frozen=True, slots=True, config=STRICT)
class LimitsSection:
    """Where the run stops (None: it does not), and how large a proposal may make the genome."""

    minutes: Annotated[float | None, Field(gt=0), says("a number of minutes above 0", "480")] = None
    trials: Annotated[Count | None, says("a whole number from 1", "1000")] = None
    usd: Annotated[Dollars | None, says("a number of dollars, 0 or more", "20")] = None
    tokens: Annotated[
        int | None, Field(ge=0), says("a whole number of tokens, 0 or more", "2000000")
    ] = None
    max_files: Count = 64
    max_bytes: Count = 1_000_000


Multiple = Annotated[
    float | None, Field(gt=0), says("how many times what the head has is allowed", "1.1")
]


@dataclass(frozen=True, slots=True, config=STRICT)
class GuardsSection:
    """What must not get worse while the metric gets better; None is free."""

    memory: Multiple = None
    seconds: Multiple = None
    parameters: Multiple = None
    lines: Multiple = None


@dataclass(frozen=True, slots=True, config=STRICT)
class RatchetSection:
    """What a keep must show: at most `fdr` of all keeps may be worth nothing.

    `confirm_seeds` are what a candidate buys at most; `margin` standard errors are asked on all
    of them where `fdr` is 0. `nulls` is the share of proposals that do nothing, to see how often
    such a one is kept. `sentinels` is how many trials a slice runs at most until the base runs on
    it again, to see whether it still measures as it did (0: it never does).
    """

    baseline_seeds: Annotated[
        int, Field(ge=2, le=100), says("a whole number from 2 to 100", "4")
    ] = 4
    fdr: Annotated[float, Field(ge=0, le=0.5), says("a share from 0 to 0.5", "0.05")] = 0.05
    confirm_seeds: Annotated[
        int, Field(ge=2, le=100), says("a whole number from 2 to 100", "8")
    ] = 8
    margin: Annotated[float, Field(ge=0), says("a number of standard errors, 0 or more", "2")] = 2.0
    nulls: Annotated[float, Field(ge=0, le=0.5), says("a share from 0 to 0.5", "0.02")] = 0.02
    sentinels: Annotated[int, Field(ge=0, le=1_000_000), says("a whole number from 0", "25")] = 25


@dataclass(frozen=True, slots=True, config=STRICT)
class StackSection:
    """When kept changes of all islands are applied together, to see whether they add up.

    A check begins whenever `every` more changes were kept (0: never), and before the trials run
    out; all checks together take at most `share` of the trials.
    """

    every: Annotated[int, Field(ge=0), says("a whole number from 0", "8")] = 8
    share: Annotated[float, Field(gt=0, le=1), says("a share above 0, to 1", "0.25")] = 0.25


@dataclass(frozen=True, slots=True, config=STRICT)
class PromotionSection:
    """How stacks are measured again on the next rung.

    `auto`: each one that was judged, where the limits leave room. One promotion runs `seeds` pairs
    of stack and base, and `trials` at most in all. `hidden` is how often, in the whole run, the
    hidden part may be asked for its one bit.
    """

    auto: Annotated[bool, says("true or false", "true")] = True
    seeds: Annotated[int, Field(ge=2, le=100), says("a whole number from 2 to 100", "4")] = 4
    trials: Annotated[Count, says("a whole number from 1", "32")] = 32
    hidden: Annotated[int, Field(ge=0), says("a whole number from 0", "16")] = 16


@dataclass(frozen=True, slots=True, config=STRICT)
class MigrationSection:
    """How kept changes travel: whom islands hear of, how often, and how many at a time.

    In each interval, `every` candidates of its own for each island, the share `rate` of the
    islands takes a migrant, those first that have tried longest without a keep.
    """

    topology: Annotated[
        Literal["none", "ring", "star", "complete", "random"],
        says("none, ring, star, complete or random", "star"),
    ] = "star"
    every: Count = 1
    rate: Annotated[float, Field(gt=0, le=1), says("a share above 0, 1 at most", "0.5")] = 1.0


@dataclass(frozen=True, slots=True, config=STRICT)
class Settings:
    """The front matter as a person wrote it: None where the task or another key decides."""

    task: Annotated[str, says("the name of a task", "packing")]
    genome: Annotated[
        tuple[Path, ...],
        Field(min_length=1),
        says("a list of files or directories in the repository, without ..", "[genome/train.py]"),
    ]
    data: Annotated[Name | None, says("the name of a corpus", "kjv")] = None
    metric: Annotated[str | None, says("the task's metric", "val_bpb")] = None
    direction: Annotated[Direction | None, says("minimize or maximize", "minimize")] = None
    rungs: Annotated[
        tuple[Annotated[Rung, AfterValidator(_possible)], ...],
        Field(min_length=1),
        says(
            f"a list of rungs with depth from 1, seconds above 0, memory_mib from {LEAST_MIB}",
            "[{depth: 2, seconds: 20, memory_mib: 4096}]",
        ),
    ] = (Rung(depth=2, seconds=20.0, memory_mib=4096),)
    islands: Annotated[
        Annotated[int, Field(ge=1, le=64)]
        | Literal["auto"]
        | Annotated[tuple[IslandSection, ...], Field(min_length=1, max_length=64)],
        says("auto, a whole number from 1 to 64, or a list of names", "[{name: wide}]"),
    ] = "auto"
    agents: Annotated[
        Mapping[Name, Annotated[MutatorSection | ModelSection, Field(discriminator="kind")]],
        says("agents by name (a-z, 0-9, -)", "{fast: {kind: openai, model: gpt-6-luna}}"),
    ] = field(default_factory=dict)
    agent: Annotated[Name, says("the name of an agent", "mutator")] = "mutator"
    slices: Annotated[SlicesSection, says("settings", "{kind: cpu, cores: 1}")] = SlicesSection()
    limits: Annotated[LimitsSection, says("settings", "{minutes: 480, usd: 20}")] = LimitsSection()
    ratchet: Annotated[RatchetSection, says("settings", "{confirm_seeds: 3}")] = RatchetSection()
    guards: Annotated[GuardsSection, says("settings", "{memory: 1.1, lines: 1.2}")] = (
        GuardsSection()
    )
    stack: Annotated[StackSection, says("settings", "{every: 8, share: 0.25}")] = StackSection()
    promotion: Annotated[PromotionSection, says("settings", "{seeds: 4, trials: 32}")] = (
        PromotionSection()
    )
    migration: Annotated[MigrationSection, says("settings", "{topology: star, every: 1}")] = (
        MigrationSection()
    )
    preflight: Annotated[
        Literal["auto", "always", "never"], says("auto, always or never", "auto")
    ] = "auto"
    seed: Annotated[
        int, Field(ge=0, le=2**31 - 1), says("a whole number from 0 to 2147483647", "7")
    ] = 0
