"""The task `gpt`: score by logits, audit for look-ahead, read weights safely."""

from harness.tasks.gpt.task import TASK

__all__ = ["TASK"]
