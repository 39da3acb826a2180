"""The gpt task."""

from harness.tasks.gpt.task import TASK

__all__ = ["TASK"]
