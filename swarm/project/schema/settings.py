"""The front matter of program.md as a whole: a frozen record, with one for each section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from harness.contract import SPLITS, Direction, Rung, Split
from harness.problem.numbers import check_pattern
from islands.genome.admission import AdmissionLimits
from islands.ratchet.guards import MAX_TIMES
from swarm.project.schema.agents import (
    TEMPERAMENT_RULE,
    AgentSection,
    ArmsSection,
    IslandSection,
    ModelSection,
    Team,
    Temperaments,
)
from swarm.project.schema.fields import (
    DOLLARS,
    FROM_ONE,
    MAX_COUNT,
    MAX_MEMORY_MIB,
    MAX_SECONDS,
    STRICT,
    CommandLine,
    Count,
    CountOrNone,
    Dollars,
    Name,
    RepositoryPath,
    described,
)
from swarm.project.schema.judging import (
    Bound,
    MigrationSection,
    NumberName,
    PromotionSection,
    RatchetSection,
    StackSection,
)

MIN_MEMORY_MIB = 64
"""About what a Python process that has imported numpy holds."""

MIN_SECONDS = 0.1
"""Two looks of the sandbox's watchdog; an interpreter alone takes a fifth of it to start."""

MAX_TOKENS = 10**12

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


def _pattern(pattern: str) -> str:
    if reason := check_pattern(pattern):
        raise ValueError(reason)
    return pattern


def _feasible_rung(rung: Rung) -> Rung:
    seconds = MIN_SECONDS <= rung.seconds <= MAX_SECONDS
    memory = MIN_MEMORY_MIB <= rung.memory_mib <= MAX_MEMORY_MIB
    if not (1 <= rung.depth <= MAX_COUNT and seconds and memory):
        raise ValueError(rung)
    return rung


HeldPath = Annotated[
    RepositoryPath | None, described("a file or folder in the repository", "data/hidden.jsonl")
]

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
    count: Annotated[Count | Literal["auto"], described(f"auto or {FROM_ONE}", "auto")] = "auto"
    cores: Annotated[Count | None, described(FROM_ONE, "1")] = None
    shares: Annotated[int, Field(ge=1, le=16), described("a whole number from 1 to 16", "3")] = 1
    max_foreign_cpu: Annotated[
        float | None, Field(gt=0, lt=1), described("a share between 0 and 1", "0.03")
    ] = None


@dataclass(frozen=True, slots=True, config=STRICT)
class LimitsSection:
    """Limits of a run (None: no limit), and the size to which a proposal may grow the genome."""

    minutes: Annotated[
        float | None,
        Field(gt=0, le=MAX_COUNT),
        described(f"a number of minutes above 0, up to {MAX_COUNT}", "480"),
    ] = None
    trials: Annotated[Count | None, described(FROM_ONE, "1000")] = None
    usd: Annotated[Dollars | None, described(DOLLARS, "20")] = None
    tokens: Annotated[
        int | None,
        Field(ge=0, le=MAX_TOKENS),
        described(f"a whole number of tokens from 0 to {MAX_TOKENS}", "2000000"),
    ] = None
    max_files: Count = 64
    max_bytes: Count = 1_000_000

    def admission(self) -> AdmissionLimits:
        """Return the size limits of a proposal."""
        return AdmissionLimits(
            file_bytes=self.max_bytes, total_bytes=self.max_bytes, files=self.max_files
        )


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


DEFAULT_RUNG = Rung(depth=2, seconds=20.0, memory_mib=4096)

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
        Field(gt=0, le=MAX_SECONDS),
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
            f"a list of rungs with depth from 1, seconds from {MIN_SECONDS} to {MAX_SECONDS} and"
            f" memory_mib from {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB}",
            "[{depth: 2, seconds: 20, memory_mib: 4096}]",
        ),
    ] = (DEFAULT_RUNG,)
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
    temperament: Annotated[Temperaments, TEMPERAMENT_RULE] = "auto"
    arms: Annotated[ArmsSection, described("settings", "{floor: 0.1, usd_per_slice_hour: 1}")] = (
        ArmsSection()
    )
    summary_every: Annotated[
        CountOrNone,
        described(f"a whole number of verdicts from 0, for never, to {MAX_COUNT}", "40"),
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
            f"bounds by the name of a number: times the head's, up to {MAX_TIMES:g}, or absolute",
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
