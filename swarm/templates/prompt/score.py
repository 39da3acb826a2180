"""Compares the answers in $OUT with the labels of the trial's split, which only this file sees."""

from __future__ import annotations

import json
import os
from pathlib import Path


def rows(path: Path) -> dict[int, dict[str, str]]:
    """Return the objects of a file by their id."""
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


labels = rows(Path(os.environ["SWARM_HELD"]))
answers = rows(Path(os.environ["OUT"], "answers.jsonl"))
right = sum(answers[number]["answer"] == row["label"] for number, row in labels.items())
print(f"accuracy: {right / len(labels):.4f}")
