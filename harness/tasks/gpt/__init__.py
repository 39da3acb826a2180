"""The task `gpt`: score by logits, audit for look-ahead, read weights safely.

Loaded by name through harness.tasks, which alone imports it.
"""

from harness.tasks.gpt.task import KIND

__all__ = ["KIND"]
