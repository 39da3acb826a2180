"""A repository of packing whose model proposes what it is told to, and a launch on it."""

from __future__ import annotations

from tests.support.loopback import KEY, Say
from tests.support.target import git, packing

SECONDS = 1.0  # of a trial
KEYS = {"OBEDIENT_KEY": KEY}
"""The variable with the model's key, for a launch."""

ANSWER = """\
HYPOTHESIS: {hypothesis}

FILE: genome/pack.py
<<<<<<< SEARCH
{old}
=======
{new}
>>>>>>> REPLACE
"""

GENOME = """\
import os
import time

STEP = 0


def pack(seed, deadline):
    {steps}
    radius = (1 - seed % 97 / 1e5 - (STEP != 0) / 10) / 12
    return [((i % 6 + 0.5) / 6, (i // 6 + 0.5) / 6, radius) for i in range(26)]
"""


def proposal(hypothesis, old, new):
    """Return the model's answer: an edit of the genome."""
    return Say(ANSWER.format(hypothesis=hypothesis, old=old, new=new))


def repository(folder, server, baseline, steps="pass"):
    """Return a repository with `server` for its model; its genome packs after the line `steps`."""
    model = {"kind": "openai", "model": "m", "api_key_env": next(iter(KEYS))}
    model |= {"base_url": f"{server.url}/v1", "requests_per_minute": 100_000}
    repo = packing(
        folder,
        seconds=SECONDS,
        seed=3,
        agents={"model": model},
        agent="model",
        ratchet={"baseline_seeds": baseline},
    )
    (repo / "genome/pack.py").write_text(GENOME.format(steps=steps))
    git(repo, "commit", "-qam", "Pack at once")
    return repo
