"""Project runners: `uv run CMD` and its like become CMD, which the project's `.venv` runs.

A sandbox has neither network nor a writable cache, which these programs want, and has the `.venv`
that they would use first on its PATH.

Not covered: options other than those in `_OPTIONS`; environments that a runner keeps elsewhere
(name them as `python:` in program.md).
"""

from __future__ import annotations

import re

_OPTIONS = r"(?:(?:--frozen|--locked|--no-sync|--offline|--quiet|-q)\s+)*"

_RUNNER = re.compile(
    r"(?P<before>(?:^|&&|\|\||;)\s*(?:[A-Za-z_]\w*=\S*\s+)*)"
    rf"(?:uv|rye|pdm|poetry|pipenv)\s+run\s+{_OPTIONS}(?=(?P<first>[^\s;&|-][^\s;&|]*))"
)


def without_runner(command: str) -> str:
    """Return the command line `command` as the project's environment runs it."""
    return _RUNNER.sub(_direct, command)


def _direct(match: re.Match[str]) -> str:
    script = "python " if match["first"].endswith(".py") else ""
    return match["before"] + script
