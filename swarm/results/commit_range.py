"""Measurement of a range of commits, made by anybody, to tell which of them are real.

Each commit that changes the genome is measured against its first parent on fresh seeds, and the
last against the first, on the same seeds: do the gains add up to the whole? The chance that a gain
is zero or less is that of Student's t on the paired differences, with a flat prior.

`read_claims` reads the `results.tsv` of autoresearch, so that claims stand beside measurements.

Not covered: program.md and the frozen files are those of HEAD, so a range that changed the
benchmark itself is measured by today's; with many commits some look real by luck (each verdict
holds for itself).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from git import Git

from harness.contract import Direction, SandboxKind, SetupError
from islands.ratchet.noise import gain_of
from islands.records import Gain, summed
from islands.rng import seed_of
from swarm.executors.require_sandbox import require_sandbox
from swarm.executors.workbench import make_workbench
from swarm.project.program import Program
from swarm.project.repository import load_program, program_path
from swarm.project.runs import make_home
from swarm.results.pair_bench import Job, Pair, PairBench, paired_gain
from swarm.results.remeasure import commit_id

Judgement = Literal["real", "unclear", "worse", "fails"]
"""A commit's gain: above zero, not told from zero, below zero, or a side has no score."""

_FOLDER = ".range"
"""Folder below .swarm/ for genomes and trials; no run's name begins with a dot."""

MAX_DOUBT = 0.05
"""Chance of the other sign below which a gain is called real, or worse."""


@dataclass(frozen=True, slots=True)
class RangeStep:
    """One commit of a range against its parent.

    commit, parent: their ids
    subject: first line of the commit's message
    gain: paired, on fresh seeds, with its lfsr; None if a side has no score
    claimed: the gain that its author claimed, None if not known
    judgement, reason: what it comes to, and why a commit fails
    """

    commit: str
    parent: str
    subject: str
    gain: Gain | None
    claimed: float | None
    judgement: Judgement
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RangeResult:
    """A measured range.

    metric, harness: what was measured, and by what
    seeds: number of fresh seeds
    steps: the commits, oldest first
    skipped: commits that change nothing in the genome
    strangers: claims on commits that are none of these: nothing here tells what they are worth
    total: sum of the steps' gains, None if one fails
    whole: gain of the last commit over the start of the range, None if a side has no score
    """

    metric: str
    harness: str
    seeds: int
    steps: tuple[RangeStep, ...]
    skipped: int
    strangers: int
    total: Gain | None
    whole: Gain | None


async def measure_range(  # noqa: PLR0913 - one for each option of the command
    repo: Path,
    span: str,
    seeds: int,
    log: Callable[[str], None],
    *,
    sandbox: SandboxKind = "namespaces",
    claimed: Path | None = None,
) -> RangeResult:
    """Measure every commit of `span` ("A..B") against its first parent on `seeds` fresh seeds.

    `claimed` is a results.tsv whose claims stand beside the gains. Raises SetupError where the
    range is empty, or that file cannot be read.
    """
    require_sandbox(sandbox, {"the repository": repo})
    program = load_program(repo, commit_id(repo, "HEAD"), program_path(repo))
    first, last, steps, skipped = _steps(repo, span, program)
    pairs = [*((parent, commit) for commit, parent, _ in steps), (first, last)]
    bench = make_workbench(
        repo,
        program,
        [commit for pair in pairs for commit in pair],
        make_home(repo) / _FOLDER,
        sandbox,
        frozen_at=commit_id(repo, "HEAD"),
    )
    task = bench.task
    claims = read_claims(claimed, task.direction) if claimed is not None else {}
    fresh = [seed_of(program.settings.seed, "range", k) for k in range(seeds)]
    jobs = list(dict.fromkeys(Job(*pair, seed) for pair in pairs for seed in fresh))
    async with bench.opened(program.settings.slices.max_foreign_cpu) as executor:
        measured = await PairBench(bench).pairs(jobs, log)
        harness = executor.harness

    def of(old: str, new: str) -> list[Pair | SetupError]:
        return [measured[Job(old, new, seed)] for seed in fresh]

    judged = [
        _step(commit, parent, subject, of(parent, commit), _claim(claims, commit))
        for commit, parent, subject in steps
    ]
    gains = [step.gain for step in judged if step.gain is not None]
    return RangeResult(
        metric=task.metric,
        harness=harness,
        seeds=seeds,
        steps=tuple(judged),
        skipped=skipped,
        strangers=len(claims) - sum(step.claimed is not None for step in judged),
        total=summed(gains) if len(gains) == len(judged) else None,
        whole=paired_gain(of(first, last)),
    )


def read_claims(path: Path, direction: Direction) -> dict[str, float]:
    """Return the gain of each commit that a `results.tsv` of autoresearch says was kept.

    Its columns are commit and status, and first of the others the metric; each kept row is compared
    with the kept one before it. Raises SetupError where the file cannot be read so.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SetupError(
            f"--claimed {path}: cannot be read as tab-separated text: {error}"
        ) from None
    columns = list(rows[0]) if rows else []
    if len(columns) < 3 or "commit" not in columns or "status" not in columns:  # noqa: PLR2004 - and a metric
        raise SetupError(f"--claimed {path}: the first line must name commit, a metric, and status")
    metric = next(name for name in columns if name not in {"commit", "status"})
    claims: dict[str, float] = {}
    before: float | None = None
    for row in rows:
        if row["status"] != "keep":
            continue
        score = _number(row[metric])
        if score is not None and before is not None:
            claims[row["commit"]] = gain_of(before, score, direction)
        before = score if score is not None else before
    return claims


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _claim(claims: Mapping[str, float], commit: str) -> float | None:
    return next(
        (gain for start, gain in claims.items() if start and commit.startswith(start)), None
    )


def _steps(
    repo: Path, span: str, program: Program
) -> tuple[str, str, list[tuple[str, str, str]], int]:
    """Return start and end of the range, its commits (id, parent, subject), and how many others."""
    start, dots, end = span.partition("..")
    if not dots or not start or end.startswith("."):
        raise SetupError(f"{span!r}: name a range as OLD..NEW, for example main~20..main")
    first, last = commit_id(repo, start), commit_id(repo, end or "HEAD")
    git = Git(repo)
    own = ("--first-parent", "--reverse", "--format=%H%x09%P%x09%s", f"{first}..{last}")
    everything = git.log(*own).splitlines()
    touching = git.log(*own, "--", *program.settings.genome).splitlines()
    rows = [line.split("\t", 2) for line in touching]
    steps = [(commit, parents.split()[0], subject) for commit, parents, subject in rows if parents]
    if not steps:
        raise SetupError(f"{span}: no commit in it changes {', '.join(program.settings.genome)}")
    return first, last, steps, len(everything) - len(steps)


def _step(
    commit: str,
    parent: str,
    subject: str,
    pairs: Sequence[Pair | SetupError],
    claimed: float | None,
) -> RangeStep:
    failed = next((str(pair) for pair in pairs if isinstance(pair, SetupError)), "")
    gain = paired_gain(pairs)
    judgement: Judgement = "fails" if gain is None else _judge(gain)
    return RangeStep(commit, parent, subject, gain, claimed, judgement, failed)


def _judge(gain: Gain) -> Judgement:
    if gain.lfsr <= MAX_DOUBT:
        return "real"
    return "worse" if gain.lfsr >= 1 - MAX_DOUBT else "unclear"
