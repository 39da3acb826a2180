"""Error messages for program.md: one line a mistake, with place, rule, example and fix."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.contract import Rung, SetupError
from swarm.agents.external.settings import KINDS
from swarm.project.schema.agents import (
    ExternalSection,
    IslandSection,
    ModelSection,
    MutatorSection,
    PriceSection,
)
from swarm.project.schema.settings import RENAMED, HeldSection, MetricSection, Settings

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    from swarm.project.frontmatter import FrontMatter, SourcePosition

_SECTIONS = {
    key.name: type(key.default)
    for key in dataclasses.fields(Settings)
    if dataclasses.is_dataclass(key.default)
}
"""Sections of the front matter by key."""

_SECTIONS |= {"metric": MetricSection, "held": HeldSection}

_AGENTS: Mapping[str, type] = {
    "mutator": MutatorSection,
    **dict.fromkeys(KINDS, ExternalSection),
}
"""Sections of agents by kind; all others are language models."""

Problem = tuple["SourcePosition", str]
"""A place in the front matter, and the rest of the sentence that begins with its name."""

_OTHERS_WORDS = {
    word: key
    for words, key in (
        (
            "iteration iterations max_iterations generations max_trials steps",
            "limits: {trials: 1000}",
        ),
        ("max_minutes time hours duration timeout time_limit", "limits: {minutes: 480}"),
        ("budget max_usd max_cost cost", "limits: {usd: 20}"),
        ("seconds memory_mib memory depth", "rungs: [{depth: 1, seconds: 20, memory_mib: 4096}]"),
        ("population population_size num_islands workers parallel", "islands: 4"),
        ("command cmd benchmark", "run: python bench.py"),
        ("goal objective maximise maximize minimise minimize", "direction: maximize"),
        ("target targets editable", "genome: [src/f.py]"),
    )
    for word in words.split()
}
"""What to write for words that other tools have for a key."""

ALIKE = 0.75
"""Similarity from which a word is taken for a misspelling: `iterations` is not `migration`."""

MAX_QUOTED_CHARS = 40
"""Characters of a wrong value or key that a message quotes."""


def refusal(source: str, front: FrontMatter, problems: Iterable[Problem]) -> SetupError:
    """Return all `problems` as one error, in the order of the file."""
    lines = sorted((front.line(place), _name(place), text) for place, text in problems)
    return SetupError("\n".join(f"{source}:{line}: {name} {text}" for line, name, text in lines))


def validation_problems(front: FrontMatter, error: ValidationError) -> Iterator[Problem]:
    """Yield a problem for each place at which pydantic found an error.

    A union reports an error for each of its branches, and the branch that was meant reports the
    deepest one: an error at a place is dropped if there is another inside that place.
    """
    problems: dict[SourcePosition, str] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        place = _written(detail["loc"], front)
        if detail["type"] == "missing":
            place = (*_written(detail["loc"][:-1], front), detail["loc"][-1])
            problems[place] = f"is missing: add {_example(place, front)}"
        elif detail["type"] == "unexpected_keyword_argument":
            problems[place] = _unknown_key(place, front)
        else:
            if detail["type"].startswith("union_tag"):
                place = (*place, "kind")
            problems[place] = _wrong_value(place, front)
    for place, text in problems.items():
        if not any(other != place and other[: len(place)] == place for other in problems):
            yield place, text


def _unknown_key(place: SourcePosition, front: FrontMatter) -> str:
    renamed = RENAMED.get((str(place[0]), str(place[-1]))) if len(place) == 2 else None  # noqa: PLR2004  # section and key
    if renamed is not None:
        return f"is now called `{renamed}`: rename it"
    here, word = _keys(place[:-1], front), str(place[-1])
    if len(place) == 1 and (meant := _elsewhere(word)):
        return f"is not a key: write `{meant}`"
    return f"is not a key{nearest(word, here)}"


def _elsewhere(word: str) -> str:
    """Return what is meant by `word`, which other tools or a section have for a key."""
    if known := _OTHERS_WORDS.get(word.lower().replace("-", "_")):
        return known
    sections = [name for name, record in _SECTIONS.items() if word in _names(record)]
    return f"{sections[0]}: {{{word}: ...}}" if len(sections) == 1 else ""


def _names(record: Any) -> list[str]:  # noqa: ANN401 - dataclasses have no type
    return [key.name for key in dataclasses.fields(record)]


def _written(loc: tuple[int | str, ...], front: FrontMatter) -> SourcePosition:
    """Return pydantic's location without the names of union branches in it.

    What is left is a place that the file holds.
    """
    place: SourcePosition = ()
    for part in loc:
        if (*place, part) in front.lines:
            place = (*place, part)
    return place


def _wrong_value(place: SourcePosition, front: FrontMatter) -> str:
    key, rule = _rule(place, front)
    quoted = ""
    if (
        place in front.lines and place[-1] != "api_key_env"
    ):  # the secret itself may have been pasted there
        quoted = f", not {shown(_value(place, front))}"
    inside = "" if key == place[-1] else f"is not right: `{key}` "
    return f"{inside}must be {rule.description}, such as {_example(place, front)}{quoted}"


def _example(place: SourcePosition, front: FrontMatter) -> str:
    key, rule = _rule(place, front)
    return f"`{key}: {(rule.examples or [''])[0]}`"


def _rule(place: SourcePosition, front: FrontMatter) -> tuple[str, FieldInfo]:
    """Return the innermost described key that `place` belongs to, and its description."""
    record, key = _record(place[:-1], front), str(place[-1])
    rules: Mapping[str, FieldInfo] = getattr(record, "__pydantic_fields__", {})
    return (key, rules[key]) if key in rules else _rule(place[:-1], front)


def _keys(place: SourcePosition, front: FrontMatter) -> list[str]:
    record = _record(place, front)
    return _names(record) if record else []


def _record(place: SourcePosition, front: FrontMatter) -> Any:  # noqa: ANN401 - dataclasses have no type
    """Return the schema record whose keys may stand at `place`, None where there is none."""
    match place:
        case ("agents", str()):
            settings = _value(place, front)
            kind = settings.get("kind") if isinstance(settings, dict) else None
            return _AGENTS.get(str(kind), ModelSection)
        case ("agents", str(), "price"):
            return PriceSection
        case ("islands" | "rungs" as key, int()):
            return {"islands": IslandSection, "rungs": Rung}[key]
        case (str() as key,) if key in _SECTIONS:
            return _SECTIONS[key]
        case ():
            return Settings
    return None


def _value(place: SourcePosition, front: FrontMatter) -> Any:  # noqa: ANN401 - any value may be written there
    """Return the value at `place`, None where there is none."""
    value: Any = front.values
    for part in place:
        value = value.get(part) if isinstance(value, dict) else value[part]
    return value


def _name(place: SourcePosition) -> str:
    """Return a place as text, such as agents.fast.model or genome[0]."""
    name = ""
    for part in place:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += ("." if name else "") + _word(part)
    return name


def _word(key: str) -> str:
    plain = key.replace("-", "_").isidentifier() and len(key) <= MAX_QUOTED_CHARS
    return key if plain else shown(key)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the fix for a wrong `word`: a similar one of `words`, or else all of them."""
    valid = sorted(words)
    close = difflib.get_close_matches(word[:200], valid, 1, ALIKE)
    if close:
        return f": did you mean `{close[0]}`?"
    return f": valid are {', '.join(valid[:20])}" if valid else ""


def shown(value: object) -> str:
    """Return `value` as one short line of ASCII."""
    text = json.dumps(value)
    return text if len(text) <= MAX_QUOTED_CHARS else f"{text[: MAX_QUOTED_CHARS - 3]}..."
