"""Schema of program.md's front matter: a frozen record for each section, with validation.

`described` attaches to each key the rule and the example that an error message quotes. A section
builds the record that the rest of the program works with (`RatchetSection.policy`,
`guards_of`, ...). `swarm.project.program` reads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from harness.contract import SPLITS, Direction, Rung, Split
from harness.problem.numbers import check_pattern
from islands.genome.admission import AdmissionLimits
from islands.migration import Migration
from islands.promotion.attempt import PromotionPolicy
from islands.ratchet.acceptance import AcceptanceRule
from islands.ratchet.fixed_margin import FixedMarginRule
from islands.ratchet.guards import Guards, parse_guard
from islands.ratchet.lfsr import LfsrRule
from islands.ratchet.policy import RatchetPolicy
from islands.ratchet.simpler import SimplerRule
from islands.scheduling.arm_choice import ArmPolicy
from islands.stacking.state import StackPolicy
from swarm.agents.external.settings import KINDS, PROVIDERS, ExternalKind, ExternalSettings
from swarm.agents.llm.login import CHATGPT_URL, LOGIN_FILE
from swarm.agents.llm.settings import ModelSettings, Price, ProviderKind
from swarm.agents.llm.temperaments import INSTRUCTIONS, Temperament

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

MIN_MEMORY_MIB = 64
"""About what a Python process that has imported numpy holds."""

AGENT_KINDS = f"mutator, anthropic, openai, {', '.join(KINDS)}"

RENAMED = {
    ("slices", "foreign_cpu"): "max_foreign_cpu",
    ("ratchet", "confirm_seeds"): "max_pairs",
    ("ratchet", "nulls"): "null_rate",
    ("ratchet", "sentinels"): "sentinel_every",
    ("stack", "share"): "max_share",
    ("promotion", "seeds"): "stack_pairs",
    ("promotion", "trials"): "max_trials",
    ("promotion", "hidden"): "hidden_queries",
}
"""Keys of older versions, by section and key, and their names today."""


def described(rule: str, example: str) -> Any:  # noqa: ANN401 - pydantic's own type for a field
    """Return a field described by what its value must be, with an example value."""
    return Field(description=rule, examples=[example])


def _repository_path(path: str) -> str:
    """Return `path` in its shortest form. Raises ValueError if it leaves the repository."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or {"..", ".git"} & set(parts) or not path.isprintable():
        raise ValueError(path)
    return "/".join(parts)


def _line(text: str) -> str:
    """Return a command line. Raises ValueError if it is empty or of several lines."""
    if not text.strip() or not text.isprintable():
        raise ValueError(text)
    return text.strip()


def _pattern(pattern: str) -> str:
    if reason := check_pattern(pattern):
        raise ValueError(reason)
    return pattern


def _feasible_rung(rung: Rung) -> Rung:
    if rung.depth < 1 or rung.seconds <= 0 or rung.memory_mib < MIN_MEMORY_MIB:
        raise ValueError(rung)
    return rung


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""A word that may be part of a branch name."""

Count = Annotated[int, Field(ge=1, le=1_000_000), described("a whole number from 1", "8")]

Dollars = Annotated[float, Field(ge=0), described("a number of dollars, 0 or more", "2.5")]

CommandLine = Annotated[str, AfterValidator(_line)]
"""One line for `sh -c`."""

RepositoryPath = Annotated[str, AfterValidator(_repository_path)]

HeldPath = Annotated[
    RepositoryPath | None, described("a file or folder in the repository", "data/hidden.jsonl")
]


Team = Annotated[
    tuple[Name, ...],
    described("a list of agents that share proposals by what they earn", "[fast, mutator, iid]"),
]

Temperaments = (
    Literal["auto", "none"] | Temperament | Annotated[tuple[Temperament, ...], Field(min_length=1)]
)

_TEMPERAMENTS = described(f"auto, none, {', '.join(INSTRUCTIONS)}, or a list of these", "schedule")


@dataclass(frozen=True, slots=True, config=STRICT)
class ArmsSection:
    """How the agents of a team share an island's proposals.

    - `floor`: share of the proposals that all get alike, whatever they earn
    - `usd_per_slice_hour`: what an hour of a slice is worth, to add slice time to dollars
    """

    floor: Annotated[float, Field(ge=0, le=1), described("a share from 0 to 1", "0.1")] = 0.1
    usd_per_slice_hour: Annotated[
        float, Field(ge=0), described("a number of dollars, 0 or more", "1.0")
    ] = 1.0

    def policy(self) -> ArmPolicy:
        """Return how the next agent is chosen."""
        return ArmPolicy(self.floor, self.usd_per_slice_hour)


@dataclass(frozen=True, slots=True, config=STRICT)
class IslandSection:
    """One island: its name, and its agent, team and temperament ("", (): those of program.md)."""

    name: Annotated[Name, described("a word of a-z, 0-9 and - that begins with a letter", "wide")]
    agent: Annotated[Name, described("the name of an agent", "mutator")] = ""
    team: Team = ()
    temperament: Annotated[Temperaments | None, _TEMPERAMENTS] = None


MetricName = Annotated[str, Field(pattern=r"^(bytes:.+|[^\W\d_][^:=\n]{0,79}|_\w{0,79})$")]


@dataclass(frozen=True, slots=True, config=STRICT)
class MetricSection:
    """A metric that `run` prints in a form of its own: what the group of `pattern` matches."""

    pattern: Annotated[
        str,
        AfterValidator(_pattern),
        described("a regular expression with one group", "'took ([0-9.]+ s)'"),
    ]
    name: Annotated[MetricName, described("the metric's name", "seconds")] = "score"


@dataclass(frozen=True, slots=True, config=STRICT)
class MutatorSection:
    """The built-in agent, which needs no model and no key."""

    kind: Literal["mutator"] = "mutator"


@dataclass(frozen=True, slots=True, config=STRICT)
class PriceSection:
    """Price of a model in dollars per million tokens; None: the highest that is plausible."""

    input: Dollars
    output: Dollars
    cache_read: Annotated[Dollars | None, described("a number of dollars, 0 or more", "0.3")] = None
    cache_write: Annotated[Dollars | None, described("a number of dollars, 0 or more", "3.75")] = (
        None
    )

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

MODEL = described("a model as its provider spells it", "claude-sonnet-5-5")


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
    requests_per_minute: Annotated[Count | None, described("a whole number from 1", "50")] = None
    max_output_tokens: Annotated[Count | None, described("a whole number from 1", "8192")] = None
    timeout_seconds: Annotated[
        float | None, Field(gt=0), described("a number of seconds above 0", "120")
    ] = None
    effort: Annotated[
        str | None,
        Field(pattern=r"^[a-z]+$"),
        described("a word that the provider knows", "medium"),
    ] = None
    context_tokens: Annotated[
        int | None, Field(ge=1024), described("a whole number of tokens from 1024", "32768")
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
    model: Annotated[ModelName, MODEL]
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
    model: Annotated[ModelName | None, MODEL] = None
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
        Field(gt=0, le=86_400),
        described("the seconds that one proposal may take", "900"),
    ] = None
    max_turns: Annotated[Count | None, described("a whole number from 1", "40")] = None
    max_usd: Annotated[
        float | None, Field(gt=0), described("a number of dollars above 0", "0.5")
    ] = None
    memory_mib: Annotated[
        int | None, Field(ge=256), described("a whole number of MiB from 256", "2048")
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


@dataclass(frozen=True, slots=True, config=STRICT)
class SlicesSection:
    """The slices of this machine that trials run on.

    - `kind`, `count`: their device, and how many there are
    - `cores`: CPU cores of each slice; None: one, or with GPUs an equal share of all cores
    - `shares`: slices that each GPU is divided into
    - `max_foreign_cpu`: share of its cores' time that other programs may take during a trial before
      it is void and repeated; None: that share is only recorded
    """

    kind: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], described("auto, cpu, cuda or mps", "auto")
    ] = "auto"
    count: Annotated[
        Count | Literal["auto"], described("auto or a whole number from 1", "auto")
    ] = "auto"
    cores: Annotated[Count | None, described("a whole number from 1", "1")] = None
    shares: Annotated[int, Field(ge=1, le=16), described("a whole number from 1 to 16", "3")] = 1
    max_foreign_cpu: Annotated[
        float | None, Field(gt=0, lt=1), described("a share between 0 and 1", "0.03")
    ] = None


@dataclass(frozen=True, slots=True, config=STRICT)
class LimitsSection:
    """Limits of a run (None: no limit), and the size to which a proposal may grow the genome."""

    minutes: Annotated[
        float | None, Field(gt=0), described("a number of minutes above 0", "480")
    ] = None
    trials: Annotated[Count | None, described("a whole number from 1", "1000")] = None
    usd: Annotated[Dollars | None, described("a number of dollars, 0 or more", "20")] = None
    tokens: Annotated[
        int | None, Field(ge=0), described("a whole number of tokens, 0 or more", "2000000")
    ] = None
    max_files: Count = 64
    max_bytes: Count = 1_000_000

    def admission(self) -> AdmissionLimits:
        """Return the size limits of a proposal."""
        return AdmissionLimits(
            file_bytes=self.max_bytes, total_bytes=self.max_bytes, files=self.max_files
        )


def _bound(written: float | str) -> float | str:
    """Return what a guard says. Raises ValueError if it is no bound."""
    if isinstance(written, str):
        parse_guard("", written)
    elif written <= 0:
        raise ValueError(written)
    return written


Bound = Annotated[float | str, AfterValidator(_bound)]
"""A bound on a number, as `islands.ratchet.guards.parse_guard` reads it."""

NumberName = Annotated[str, Field(pattern=r"^[^\s:=][^:=\n]{0,79}$")]


def guards_of(written: Mapping[str, float | str]) -> Guards:
    """Return the guards of the ratchet."""
    return Guards(tuple(parse_guard(name, bound) for name, bound in written.items()))


@dataclass(frozen=True, slots=True, config=STRICT)
class RatchetSection:
    """Conditions on which a candidate is kept.

    - `baseline_seeds`: trials of the base at the start of a run
    - `fdr`: expected share of keeps that are no gain, at most (false discovery rate); 0: ask for
      `margin` standard errors instead
    - `max_pairs`: pairs of trials, candidate and head, that a candidate gets at most
    - `margin`: standard errors that a gain must exceed on all pairs, where `fdr` is 0
    - `simpler`: standard deviations of a pair that an island may lose to candidates that are kept
      for their fewer lines of code; 0: none is
    - `null_rate`: share of proposals that change nothing, to measure how often one is kept
    - `sentinel_every`: trials on a slice from one repetition of the base to the next, which shows
      whether the slice has drifted; 0: never
    """

    baseline_seeds: Annotated[
        int, Field(ge=2, le=100), described("a whole number from 2 to 100", "4")
    ] = 4
    fdr: Annotated[float, Field(ge=0, le=0.5), described("a share from 0 to 0.5", "0.05")] = 0.05
    max_pairs: Annotated[
        int, Field(ge=2, le=100), described("a whole number from 2 to 100", "8")
    ] = 8
    margin: Annotated[
        float, Field(ge=0), described("a number of standard errors, 0 or more", "2")
    ] = 2.0
    simpler: Annotated[
        float, Field(ge=0, le=10), described("standard deviations of a pair, 0 to 10", "0.5")
    ] = 0.5
    null_rate: Annotated[float, Field(ge=0, le=0.5), described("a share from 0 to 0.5", "0.02")] = (
        0.02
    )
    sentinel_every: Annotated[
        int, Field(ge=0, le=1_000_000), described("a whole number from 0", "25")
    ] = 25

    def policy(self, guards: Guards) -> RatchetPolicy:
        """Return how candidates are judged, with `guards` on the other measures."""
        rule: AcceptanceRule = FixedMarginRule(self.max_pairs, margin=self.margin)
        if self.fdr:
            rule = LfsrRule(self.fdr, self.max_pairs)
        return RatchetPolicy(
            rule,
            guards,
            guard_pairs=self.max_pairs,
            simpler=SimplerRule(self.simpler, self.fdr, self.max_pairs),
            null_rate=self.null_rate,
            sentinel_every=self.sentinel_every,
        )


@dataclass(frozen=True, slots=True, config=STRICT)
class StackSection:
    """Schedule of stack checks: kept changes of all islands, measured together.

    - `every`: keeps from one stack check to the next (0: never); one more precedes the run's end
    - `max_share`: share of the run's trials that all stack checks may take together
    """

    every: Annotated[int, Field(ge=0), described("a whole number from 0", "8")] = 8
    max_share: Annotated[float, Field(gt=0, le=1), described("a share above 0, to 1", "0.25")] = (
        0.25
    )

    def policy(self) -> StackPolicy:
        """Return when stack checks run."""
        return StackPolicy(self.every, self.max_share)


@dataclass(frozen=True, slots=True, config=STRICT)
class PromotionSection:
    """Settings of promotions: stacks measured again at the next rung.

    - `auto`: whether each judged stack is promoted, where the limits leave room
    - `stack_pairs`: pairs of trials, stack and base, in one promotion
    - `max_trials`: trials of one promotion, parts and near misses included
    - `hidden_queries`: queries of the hidden split in the whole run, one bit each
    """

    auto: Annotated[bool, described("true or false", "true")] = True
    stack_pairs: Annotated[
        int, Field(ge=2, le=100), described("a whole number from 2 to 100", "4")
    ] = 4
    max_trials: Annotated[Count, described("a whole number from 1", "32")] = 32
    hidden_queries: Annotated[int, Field(ge=0), described("a whole number from 0", "16")] = 16

    @property
    def min_trials(self) -> int:
        """Trials that the stack and its base alone need."""
        return 2 * self.stack_pairs + 8

    def policy(self) -> PromotionPolicy:
        """Return how promotions run."""
        return PromotionPolicy(self.auto, self.stack_pairs, self.max_trials, self.hidden_queries)


@dataclass(frozen=True, slots=True, config=STRICT)
class MigrationSection:
    """Settings of migration: kept changes offered to other islands.

    - `topology`: which islands offer changes to which
    - `every`: candidates of its own that each island tries in one interval
    - `rate`: share of the islands that take a migrant in one interval; those without a keep for
      longest come first
    """

    topology: Annotated[
        Literal["none", "ring", "star", "complete", "random"],
        described("none, ring, star, complete or random", "star"),
    ] = "star"
    every: Count = 1
    rate: Annotated[float, Field(gt=0, le=1), described("a share above 0, 1 at most", "0.5")] = 1.0

    def migration(self) -> Migration:
        """Return how changes migrate."""
        return Migration(**asdict(self))


@dataclass(frozen=True, slots=True, config=STRICT)
class HeldSection:
    """Files or folders of the repository that only the judge sees, each in trials on its split.

    `fresh` is a folder of cases like dev's, eight of which score each candidate that is to be kept.
    """

    dev: HeldPath = None
    hidden: HeldPath = None
    sealed: HeldPath = None
    fresh: HeldPath = None

    def by_split(self) -> dict[Split, str]:
        """Return the paths by split."""
        paths = {"dev": self.dev, "hidden": self.hidden, "sealed": self.sealed}
        return {split: path for split in SPLITS if (path := paths[split]) is not None}

    def by_name(self) -> dict[str, str]:
        """Return all paths, that of fresh cases too, by the names of their keys."""
        paths = {"dev": self.dev, "hidden": self.hidden, "sealed": self.sealed, "fresh": self.fresh}
        return {name: path for name, path in paths.items() if path is not None}


PROBLEM_KEYS = (
    *("data", "metric", "direction", "run", "evaluate", "score", "held", "files", "python"),
    *("build", "mount", "prepare", "text", "network", "env", "model", "checks", "check_seconds"),
)
"""Keys that describe a problem; each kind of task says which of them it takes."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Settings:
    """The front matter as written; None where the task or another key decides."""

    task: Annotated[str, described("the name of a task", "packing")]
    genome: Annotated[
        tuple[RepositoryPath, ...],
        Field(min_length=1),
        described(
            "a list of files or directories in the repository, without ..", "[genome/train.py]"
        ),
    ]
    data: Annotated[Name | None, described("the name of a corpus", "kjv")] = None
    metric: Annotated[
        MetricName | MetricSection | None,
        described("the name of a number, or {name: ..., pattern: ...}", "ops/s"),
    ] = None
    direction: Annotated[Direction | None, described("minimize or maximize", "minimize")] = None
    run: Annotated[
        CommandLine | None, described("a command line that prints the metric", "python bench.py")
    ] = None
    evaluate: Annotated[
        RepositoryPath | None,
        described("a Python file of the repository that defines `evaluate`", "evaluate.py"),
    ] = None
    score: Annotated[
        CommandLine | None,
        described("a command line that scores what `run` left in $OUT", "python score.py"),
    ] = None
    held: Annotated[
        HeldSection | None,
        described(
            "paths in the repository by split (dev, hidden, sealed, fresh)",
            "{hidden: data/hidden.jsonl}",
        ),
    ] = None
    evidence: Annotated[
        Literal["verified"] | None,
        described("verified, which refuses a task that is only reported", "verified"),
    ] = None
    checks: Annotated[
        tuple[CommandLine, ...] | None,
        Field(min_length=1),
        described(
            "a list of command lines that must exit with 0 before anything is kept",
            "[python -m pytest -q tests]",
        ),
    ] = None
    check_seconds: Annotated[
        float | None,
        Field(gt=0, le=86_400),
        described("the seconds that all checks of a candidate may take together", "300"),
    ] = None
    files: Annotated[
        tuple[RepositoryPath, ...] | None,
        Field(min_length=1),
        described("a list of files or directories in the repository", "[bench.py, data]"),
    ] = None
    build: Annotated[
        CommandLine | None, described("a command line that builds the genome", "make")
    ] = None
    prepare: Annotated[
        CommandLine | None,
        described("a command line that runs once, at launch", "python prepare.py"),
    ] = None
    text: Annotated[
        bool | None, described("true where the genome is text that is read and not run", "true")
    ] = None
    network: Annotated[bool | None, described("true or false", "true")] = None
    env: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], ...] | None,
        described("a list of names of variables, never their values", "[OPENAI_API_KEY]"),
    ] = None
    model: Annotated[
        ModelSection | None,
        described("a language model that `run` may ask", "{kind: openai, model: gpt-6-luna}"),
    ] = None
    mount: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...] | None,
        described("a list of folders", "[node_modules, ~/.cargo]"),
    ] = None
    python: Annotated[
        str | None,
        Field(min_length=1),
        described("an interpreter or a virtual environment", "../env"),
    ] = None
    rungs: Annotated[
        tuple[Annotated[Rung, AfterValidator(_feasible_rung)], ...],
        Field(min_length=1),
        described(
            f"a list of rungs with depth from 1, seconds above 0, memory_mib from {MIN_MEMORY_MIB}",
            "[{depth: 2, seconds: 20, memory_mib: 4096}]",
        ),
    ] = (Rung(depth=2, seconds=20.0, memory_mib=4096),)
    islands: Annotated[
        Annotated[int, Field(ge=1, le=64)]
        | Literal["auto"]
        | Annotated[tuple[IslandSection, ...], Field(min_length=1, max_length=64)],
        described("auto, a whole number from 1 to 64, or a list of names", "[{name: wide}]"),
    ] = "auto"
    agents: Annotated[
        Mapping[Name, Annotated[AgentSection, Field(discriminator="kind")]],
        described("agents by name (a-z, 0-9, -)", "{fast: {kind: openai, model: gpt-6-luna}}"),
    ] = field(default_factory=dict)
    agent: Annotated[Name, described("the name of an agent", "mutator")] = "mutator"
    team: Team = ()
    temperament: Annotated[Temperaments, _TEMPERAMENTS] = "auto"
    arms: Annotated[ArmsSection, described("settings", "{floor: 0.1, usd_per_slice_hour: 1}")] = (
        ArmsSection()
    )
    summary_every: Annotated[
        int, Field(ge=0), described("a whole number of verdicts, 0 for never", "40")
    ] = 40
    slices: Annotated[SlicesSection, described("settings", "{kind: cpu, cores: 1}")] = (
        SlicesSection()
    )
    limits: Annotated[LimitsSection, described("settings", "{minutes: 480, usd: 20}")] = (
        LimitsSection()
    )
    ratchet: Annotated[RatchetSection, described("settings", "{max_pairs: 3}")] = RatchetSection()
    guards: Annotated[
        Mapping[NumberName, Bound],
        described(
            "bounds by the name of a number: times the head's, or absolute",
            '{memory: 1.1, p95_ms: "<= 1.05x", accuracy: ">= 0.99x", peak_mib: "<= 64"}',
        ),
    ] = field(default_factory=dict)
    stack: Annotated[StackSection, described("settings", "{every: 8, max_share: 0.25}")] = (
        StackSection()
    )
    promotion: Annotated[
        PromotionSection, described("settings", "{stack_pairs: 4, max_trials: 32}")
    ] = PromotionSection()
    migration: Annotated[MigrationSection, described("settings", "{topology: star, every: 1}")] = (
        MigrationSection()
    )
    preflight: Annotated[
        Literal["auto", "always", "never"], described("auto, always or never", "auto")
    ] = "auto"
    notify: Annotated[
        CommandLine | None,
        described("a command line that gets each claim, trouble and the end", "notify-send swarm"),
    ] = None
    seed: Annotated[
        int, Field(ge=0, le=2**31 - 1), described("a whole number from 0 to 2147483647", "7")
    ] = 0
