"""Revision: what a resumed run takes up from a program.md that has changed since. Pure.

Prose, limits, agents and who they work for count from the resume on. All else decides what a score
or a verdict means, so a run keeps it, and a change there is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

from harness.contract import SetupError
from islands.events.steering import LIMIT_NAMES, LimitName
from swarm.project.program import Program
from swarm.project.schema.settings import Settings

LIVE = frozenset({"limits", "agents", "agent", "islands", "notify", "summary_every"})
"""Keys of the front matter that count from a resume on; so does the prose."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A program.md as a resumed run uses it.

    program: the run's own, with what counts from now on
    changes: what differs from before, a phrase each
    limits: limits among them
    """

    program: Program
    changes: tuple[str, ...]
    limits: tuple[LimitName, ...]


def revise(before: Program, now: Program, run: str) -> Revision:
    """Return what run `run`, which goes by `before`, takes up from `now`.

    Raises SetupError where `now` differs in what a run keeps.
    """
    for key in (field.name for field in fields(Settings) if field.name not in LIVE):
        old, new = getattr(before.settings, key), getattr(now.settings, key)
        if old != new:
            raise SetupError(
                f"{now.path}: `{key}` differs from what run {run} began with"
                f" ({_differs(old, new)}); put it back, or start a new run with --new"
            )
    if before.data != now.data:
        raise SetupError(
            f"{now.path}: `data` is {now.data}, and run {run} began with {before.data}; put it"
            " back, or start a new run with --new"
        )
    live = {key: getattr(now.settings, key) for key in LIVE}
    program = replace(
        before, settings=replace(before.settings, **live), agents=now.agents, prose=now.prose
    )
    old_limits, new_limits = before.settings.limits, now.settings.limits
    limits = tuple(
        name
        for name in LIMIT_NAMES
        if getattr(old_limits, name, None) != getattr(new_limits, name, None)
    )
    return Revision(program, tuple(_changes(before, now)), limits)


def _changes(before: Program, now: Program) -> Iterator[str]:
    for key in sorted(LIVE):
        yield from _between(key, getattr(before.settings, key), getattr(now.settings, key))
    if before.prose != now.prose:
        lines = [
            line[0]
            for line in difflib.ndiff(before.prose.splitlines(), now.prose.splitlines())
            if line[0] in "+-"
        ]
        yield f"prose: +{lines.count('+')} -{lines.count('-')} lines"


def _differs(old: object, new: object) -> str:
    return "; ".join(phrase.removeprefix(": ") for phrase in _between("", old, new))


def _between(key: str, old: object, new: object) -> Iterator[str]:
    """Yield a phrase for each value that differs, nested ones under dotted names."""
    if old == new:
        return
    before, now = _members(old), _members(new)
    if before is None or now is None:
        yield f"{key}: {_shown(old)} -> {_shown(new)}"
        return
    for name in dict.fromkeys([*before, *now]):
        inner = f"{key}.{name}" if key else name
        if name not in before:
            yield f"{inner}: new"
        elif name not in now:
            yield f"{inner}: gone"
        else:
            yield from _between(inner, before[name], now[name])


def _members(value: object) -> Mapping[str, Any] | None:
    if isinstance(value, tuple) and any(map(is_dataclass, value)):
        return {f"{place}": each for place, each in enumerate(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value if isinstance(value, Mapping) else None


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
