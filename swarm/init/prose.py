"""The prose that `swarm init` writes below the front matter, and writes again where keys change.

What it wrote is three sentences: the heading, the goal and what may change. Each that stands there
as the old keys gave it is written again from the new ones; whatever else stands there is the
user's and stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.problem.measures import LINES, is_measured, sized_path
from swarm.project.frontmatter import Value

_PROSE = """\
{heading}

{goal} {scope}

<!-- Agents read this text. Say here what must stay as it is, what was tried, and where gains may be
found. -->

Equal score with less code is a win. Put one idea into each proposal, so that its effect can be
told.
"""


def new_prose(keys: Mapping[str, Value]) -> str:
    """Return the prose of a new program.md with these keys."""
    return _PROSE.format(heading=_heading(keys), goal=_goal(keys), scope=_scope(keys))


def updated_prose(prose: str, old: Mapping[str, Value], new: Mapping[str, Value]) -> str:
    """Return `prose` with swarm's own sentences on the keys `old` as those on `new`."""
    for before, after in (*_goals(old, new), (_scope(old), _scope(new))):
        prose = prose.replace(before, after, 1)
    lines = prose.split("\n")
    if (heading := _heading(old)) in lines:
        lines[lines.index(heading)] = _heading(new)
    return "\n".join(lines)


def doubtful_keys(prose: str, old: Mapping[str, Value], new: Mapping[str, Value]) -> list[str]:
    """Return the keys that change and of which `prose` may say otherwise in the user's words."""
    if not prose.strip():
        return []
    changed = [
        key for key in ("metric", "direction", "genome") if key in old and old[key] != new.get(key)
    ]
    own = {"genome"} if _scope(old) in prose else set()
    if any(before in prose for before, _ in _goals(old, new)):
        own |= {"metric", "direction"}
    return [key for key in changed if key not in own]


def _heading(keys: Mapping[str, Value]) -> str:
    return f"# Improve {_metric(keys)}"


def _goals(old: Mapping[str, Value], new: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    """Return each form of the goal that swarm has written of `old`, with that of `new`.

    Earlier versions said of a number of the harness's own, too, that the command prints it.
    """
    goal = _goal(new)
    return (_goal(old), goal), (f"{_verb(old)} `{_metric(old)}`{_printed(old)}.", goal)


def _goal(keys: Mapping[str, Value]) -> str:
    metric, run = _metric(keys), keys.get("run", "the command")
    source = _printed(keys)
    if metric == LINES:
        source = ", the lines of all that may change, which the harness counts"
    elif path := sized_path(metric):
        source = f", the size of `{path}`, which the harness measures"
    elif is_measured(metric):
        source = f", which the harness measures while `{run}` runs"
    return f"{_verb(keys)} `{metric}`{source}."


def _printed(keys: Mapping[str, Value]) -> str:
    if "evaluate" in keys:
        return f", as `{keys['evaluate']}` computes it"
    if "score" not in keys and "run" in keys:
        return f", as `{keys['run']}` prints it"
    return ""


def _verb(keys: Mapping[str, Value]) -> str:
    return "Raise" if keys.get("direction") == "maximize" else "Lower"


def _scope(keys: Mapping[str, Value]) -> str:
    genome = keys.get("genome", [])
    paths = ", ".join(f"`{path}`" for path in genome) if isinstance(genome, list) else str(genome)
    return f"Agents may change {paths} and nothing else."


def _metric(keys: Mapping[str, Value]) -> str:
    """Return the metric's name, which may stand beside a pattern."""
    metric = keys.get("metric", "score")
    return str(metric.get("name", "score") if isinstance(metric, dict) else metric)
