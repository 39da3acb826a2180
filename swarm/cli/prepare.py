"""`swarm prepare`: downloads, checks and tokenises a corpus.

Names of corpora and the options of each come from `harness.data.CORPORA`.

Not covered: `--for-rungs` estimates what one H100 reads in an epoch; a faster GPU or a smaller
model reads some text twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from harness import data
from harness.contract import Rung, SetupError
from harness.data.spec import CLIMBMIX, CLIMBMIX_LAST
from swarm.cli.console import Command, add_options, json_option, to_json, wide_console
from swarm.project.repository import load_program, tip
from swarm.project.runs import repository

SHARD_TOKENS = 50_000_000
"""Tokens of a shard of climbmix, about; its documents have some 250 million characters."""

FLOPS = 0.4 * 989e12
"""Arithmetic of an H100 that a trainer uses (autoresearch reports 39.8 % of bf16)."""

_SUMMARIES = [f"  {source.name}: {source.summary}" for source in data.CORPORA.values()]


def _corpus_options(command: Command) -> Command:
    """Give `command` the options of every corpus, in the order of the registry."""
    options = [
        click.option(
            option.flag,
            option.name,
            type=option.kind,
            metavar="N" if option.kind is int else option.name.rpartition("_")[2].upper(),
            help=f"{source.name}: {option.help[0].lower()}{option.help[1:].rstrip('.')};"
            f" a new corpus is built with {option.default}.",
        )
        for source in data.CORPORA.values()
        for option in source.options
    ]
    return add_options(command, options)


@click.command(epilog="\b\n" + "\n".join(["Corpora:", *_SUMMARIES]))
@click.option(
    "--data",
    "name",
    type=click.Choice(data.names()),
    default="kjv",
    show_default=True,
    help="The corpus to prepare.",
)
@_corpus_options
@click.option(
    "--for-rungs",
    is_flag=True,
    help="climbmix: as many shards as an H100 reads at the rungs of the program.md here.",
)
@json_option
def prepare(name: str, *, for_rungs: bool, as_json: bool, **options: object) -> None:
    """Download, check and tokenise a corpus, unless that is done already.

    Corpora are kept in $SWARM_CACHE or, where that is unset, in your cache folder. An interrupted
    prepare resumes where it stopped.
    """
    if for_rungs:
        options["shards"] = _shards_for(name, options.get("shards"))
    with _progress() as progress:
        corpus = data.prepare(name, options, progress)
    click.echo(to_json(_facts(corpus)) if as_json else _line(corpus))


def _shards_for(name: str, given: object) -> int:
    """Return the shards for the rungs of the program.md here. Raises SetupError without one."""
    if name != "climbmix" or given is not None:
        raise SetupError("--for-rungs goes with --data climbmix, without --shards")
    repo = repository()
    base = tip(repo)
    rungs = load_program(repo, base.commit, base.program).settings.rungs
    shards = max(shards_of(rung) for rung in rungs)
    click.echo(f"{shards} shards for {', '.join(map(_named, rungs))}", err=True)
    return shards


def shards_of(rung: Rung) -> int:
    """Return the shards that an H100 reads at a rung, at most once each."""
    vocab, context, width = CLIMBMIX.vocab, CLIMBMIX.context, 64 * rung.depth
    matrices = 12 * rung.depth * width**2 + vocab * width
    flops = 6 * matrices + 6 * rung.depth * width * context
    tokens = rung.seconds * FLOPS / flops
    return min(CLIMBMIX_LAST, math.ceil(tokens / SHARD_TOKENS))


def _named(rung: Rung) -> str:
    return f"depth {rung.depth} in {rung.seconds:g} s"


@contextmanager
def _progress() -> Iterator[data.Progress]:
    """Yield a function that shows progress on stderr: a bar on a terminal, a line a step else."""
    console = wide_console(stderr=True)
    if not console.is_terminal:
        yield _step_lines()
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Bar(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda step, share: bar.update(task, description=step, completed=share)


def _step_lines() -> data.Progress:
    last = ""

    def progress(step: str, _: float) -> None:
        nonlocal last
        if step != last:
            last = step
            click.echo(step, err=True)

    return progress


def _facts(corpus: data.Corpus) -> dict[str, object]:
    return {
        "name": corpus.name,
        "digest": corpus.digest,
        "source": corpus.source,
        "vocab": corpus.vocab,
        "context": corpus.context,
        "splits": {
            name: {"tokens": split.tokens, "bytes": split.bytes}
            for name, split in corpus.splits.items()
        },
    }


def _line(corpus: data.Corpus) -> str:
    splits = ", ".join(
        f"{name} {split.tokens:,} tokens ({split.bytes:,} bytes)"
        for name, split in corpus.splits.items()
    )
    return f"{corpus.name} is ready: digest {corpus.digest}, vocabulary {corpus.vocab:,}, {splits}"
