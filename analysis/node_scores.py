"""Scores of a node of the lineage: the mean of those by one harness, kept as trials end."""

from __future__ import annotations

from typing import Any

from islands import events as ev
from islands.records import Purpose


def add_score(attributes: dict[str, Any], score: float, harness: str, purpose: Purpose) -> None:
    """Add a score to a commit's attributes; scores of another harness are dropped."""
    if attributes.get("harness") != harness:
        for stale in ("score", "scores", "screened", "evidence"):
            attributes.pop(stale, None)
        attributes["harness"] = harness
    if purpose == "screen":
        attributes["screened"] = score
        return
    attributes["scores"] = attributes.get("scores", 0) + 1
    mean = attributes.get("score", 0.0)
    attributes["score"] = mean + (score - mean) / attributes["scores"]


def withdraw_score(attributes: dict[str, Any], trial: ev.VoidedTrial) -> None:
    """Take back a score that turned out to be void."""
    if trial.purpose == "screen":
        attributes.pop("screened", None)
        return
    attributes["scores"] -= 1
    if attributes["scores"] == 0:
        del attributes["scores"], attributes["score"]
    else:
        attributes["score"] -= (trial.score - attributes["score"]) / attributes["scores"]
