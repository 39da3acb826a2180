"""Kinds of values in program.md, and how a key says what its value must be.

`described` attaches to each key the rule and the example that an error message quotes.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def described(rule: str, example: str) -> Any:  # noqa: ANN401 - pydantic's own type for a field
    """Return a field described by what its value must be, with an example value."""
    return Field(description=rule, examples=[example])


def _repository_path(path: str) -> str:
    """Return `path` in its shortest form. Raises ValueError if it leaves the repository."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or {"..", ".git"} & set(parts) or not path.isprintable():
        raise ValueError(path)
    return "/".join(parts)


def _line(text: str) -> str:
    """Return a command line. Raises ValueError if it is empty or of several lines."""
    if not text.strip() or not text.isprintable():
        raise ValueError(text)
    return text.strip()


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""A word that may be part of a branch name."""

MAX_COUNT = 1_000_000
"""The most of anything that is counted: no run has as many. Minutes and dollars, too, end here."""

FROM_ONE = f"a whole number from 1 to {MAX_COUNT}"
FROM_ZERO = f"a whole number from 0 to {MAX_COUNT}"
DOLLARS = f"a number of dollars from 0 to {MAX_COUNT}"
"""Rules of `Count`, `CountOrNone` and `Dollars`."""

MAX_SECONDS = 604_800
"""The longest that one trial, one proposal or all checks may take: a week."""

MAX_MEMORY_MIB = 100_000_000
"""More than any machine has; a larger number would not fit where the kernel is told of it."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT), described(FROM_ONE, "8")]

CountOrNone = Annotated[int, Field(ge=0, le=MAX_COUNT)]

Dollars = Annotated[
    float,
    Field(ge=0, le=MAX_COUNT),
    described(DOLLARS, "2.5"),
]

CommandLine = Annotated[str, AfterValidator(_line)]
"""One line for `sh -c`."""

RepositoryPath = Annotated[str, AfterValidator(_repository_path)]
