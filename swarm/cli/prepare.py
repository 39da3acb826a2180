"""`swarm prepare`: fetch, check and tokenise a corpus, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from harness import data
from harness.data.spec import CLIMBMIX_LAST, CLIMBMIX_SHARDS, CLIMBMIX_URL


@click.command()
@click.option(
    "--data", "name", default="kjv", type=click.Choice(data.names()), show_default=True,
    help="Which corpus.",
)  # fmt: skip
@click.option(
    "--shards", type=click.IntRange(1, CLIMBMIX_LAST),
    help=f"climbmix: how many shards to train on (what is there, else {CLIMBMIX_SHARDS}).",
)  # fmt: skip
@click.option("--base-url", help=f"climbmix: a mirror of {CLIMBMIX_URL}")
@click.option("--json", "as_json", is_flag=True, help="Print what is ready as JSON.")
def prepare(name: str, shards: int | None, base_url: str | None, *, as_json: bool) -> None:
    """Make a corpus ready in $SWARM_CACHE, or else in your cache folder.

    Nothing is done where it stands already, and a prepare that was cut off goes on.
    """
    with _shown() as progress:
        corpus = data.prepare(name, {"shards": shards, "base_url": base_url}, progress)
    click.echo(json.dumps(_facts(corpus)) if as_json else _line(corpus))


@contextmanager
def _shown() -> Iterator[data.Progress]:
    """Show progress on stderr: a bar on a terminal, a line for each step elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Bar(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda step, share: bar.update(task, description=step, completed=share)


def _lines() -> data.Progress:
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
