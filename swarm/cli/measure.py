"""`swarm measure`: measures commits again on seeds that no decision has used."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from analysis.grid import Grid
from harness.contract import SandboxKind, SetupError
from islands.genome.admission import printable_line
from islands.records import decimal
from islands.state.population import KeptChange
from swarm.cli.console import (
    json_option,
    plural,
    progress_teller,
    run_option,
    sandbox_option,
    to_json,
    wide_console,
)
from swarm.project.runs import locate, repository
from swarm.results.commit_range import RangeResult, measure_range
from swarm.results.remeasure import Remeasurement, remeasure, remeasure_kept


@click.command()
@click.argument("commit", default="", metavar="[COMMIT|OLD..NEW]")
@click.option(
    "--against",
    metavar="COMMIT",
    default="",
    help="The commit to compare with; default: the run's base.",
)
@click.option(
    "--seeds",
    metavar="N",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Number of fresh seeds.",
)
@click.option("--kept", is_flag=True, help="Measure every kept change against its parent.")
@click.option(
    "--claimed",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With OLD..NEW: an autoresearch results.tsv; its claims stand beside the gains.",
)
@run_option
@sandbox_option
@json_option
def measure(
    commit: str,
    against: str,
    seeds: int,
    claimed: Path | None,
    name: str | None,
    sandbox: SandboxKind,
    *,
    kept: bool,
    as_json: bool,
) -> None:
    """Measure COMMIT again on fresh seeds, paired with another commit.

    COMMIT defaults to the run's best head. The seeds are derived from the run's seed and nothing
    else uses them. Nothing is recorded.

    OLD..NEW measures each commit of a range, made by anybody, against its parent, and the last
    against the first: which of them are real? It takes program.md from HEAD and needs no run.
    """
    if ".." in commit:
        if kept or against or name:
            raise SetupError(f"{commit}: a range takes neither --kept nor --against nor --run")
        span = _measure_range(commit, seeds, claimed, sandbox, quiet=as_json)
        _show(asdict(span) if as_json else range_table(span))
        return
    if claimed is not None:
        raise SetupError("--claimed goes with a range: `swarm measure OLD..NEW --claimed FILE`")
    if kept and (commit or against):
        raise SetupError("--kept measures every kept change: omit COMMIT and --against")
    folder, tell = locate(name), progress_teller(quiet=as_json)
    if kept:
        rows = asyncio.run(remeasure_kept(folder, seeds, tell, sandbox=sandbox))
        _show([_row(*row) for row in rows] if as_json else _kept_table(rows, seeds))
    else:
        result = asyncio.run(remeasure(folder, commit, against, seeds, tell, sandbox=sandbox))
        _show(result.as_dict() if as_json else _table(result))


def _measure_range(
    span: str, seeds: int, claimed: Path | None, sandbox: SandboxKind, *, quiet: bool
) -> RangeResult:
    repo, tell = repository(), progress_teller(quiet=quiet)
    return asyncio.run(measure_range(repo, span, seeds, tell, sandbox=sandbox, claimed=claimed))


def range_table(result: RangeResult) -> Grid:
    """Return one row for each commit of a range, and what they come to together."""
    commits, seeds = plural(len(result.steps), "commit"), plural(result.seeds, "fresh seed")
    title = f"{result.metric} of {commits}, {seeds}"
    grid = Grid(title)
    claims = any(step.claimed is not None for step in result.steps)
    headings = ("commit", "judged", "gain", "chance of no gain", *(("claimed",) if claims else ()))
    for heading in headings:
        grid.add_column(heading, right=heading != "commit")
    grid.add_column("subject", fit="shorten")
    for step in result.steps:
        gain = step.gain.format() if step.gain else "-"
        doubt = f"{step.gain.lfsr:.1%}" if step.gain else "-"
        claimed = "" if step.claimed is None else f"{step.claimed:+.4g}"
        subject = printable_line(step.reason or step.subject)
        cells = (step.commit[:10], step.judgement, gain, doubt, *((claimed,) if claims else ()))
        grid.add_row(*cells, subject)
    grid.caption = _range_summary(result)
    return grid


def _range_summary(result: RangeResult) -> str:
    counts = Counter(step.judgement for step in result.steps)
    parts = [f"{count} {judgement}" for judgement, count in counts.most_common()]
    if result.skipped:
        parts.append(f"{plural(result.skipped, 'commit')} left the genome as it was")
    if result.strangers:
        claims = plural(result.strangers, "claim")
        parts.append(f"{claims} on commits that are not in the range: cannot be known here")
    if result.total is not None:
        parts.append(f"sum of gains {result.total.format()}")
    if result.whole is not None:
        parts.append(f"whole {result.whole.format()}")
    return "; ".join(parts)


def _show(result: Grid | object) -> None:
    if isinstance(result, Grid):
        wide_console().print(result)
    else:
        click.echo(to_json(result))


def _row(kept: KeptChange, again: Remeasurement) -> dict[str, object]:
    claimed = {"mean": kept.gain.mean, "noise": kept.gain.noise, "pairs": kept.gain.pairs}
    change = {"experiment": kept.experiment, "island": kept.island, "hypothesis": kept.hypothesis}
    return {**change, "claimed": claimed, **again.as_dict()}


def _kept_table(rows: Sequence[tuple[KeptChange, Remeasurement]], seeds: int) -> Grid:
    grid = Grid(f"kept changes on {plural(seeds, 'fresh seed')}, ± standard error")
    for heading in ("experiment", "island"):
        grid.add_column(heading)
    for heading in ("gain when kept", "gain now"):
        grid.add_column(heading, right=True)
    grid.add_column("change", fit="shorten")
    for kept, again in rows:
        subject = kept.hypothesis.strip().partition("\n")[0]
        gains = [gain.format() for gain in (kept.gain, again.gain)]
        grid.add_row(f"#{kept.experiment}", kept.island, *gains, printable_line(subject))
    better = sum(again.gain.mean > 0 for _, again in rows)
    grid.caption = f"{better} of {plural(len(rows), 'kept change')} with a mean gain above zero"
    return grid


def _table(result: Remeasurement) -> Grid:
    title = f"{result.metric} ({result.evidence}) on {plural(len(result.pairs), 'fresh seed')}"
    grid = Grid(title)
    for heading in ("seed", result.against[:10], result.commit[:10], "gain"):
        grid.add_column(heading, right=True)
    for pair in result.pairs:
        grid.add_row(
            str(pair.seed), f"{pair.old:.5g}", f"{pair.new:.5g}", decimal(pair.gain, 5, "+")
        )
    grid.caption = f"gain {result.gain.format()} (standard error, paired)"
    return grid
