"""How program.md's mistakes read: where, what, and the mend, one line for each."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.contract import Rung, SetupError
from swarm.project.schema import IslandSection, ModelSection, MutatorSection, PriceSection, Settings

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    from swarm.project.frontmatter import FrontMatter, SourcePosition

_SECTIONS = {
    key.name: type(key.default)
    for key in dataclasses.fields(Settings)
    if dataclasses.is_dataclass(key.default)
}
"""The settings of program.md that are settings themselves."""

Problem = tuple["SourcePosition", str]
"""A place in the front matter and a sentence that goes on after the place's name."""

_SHOWN = 40
"""Characters of a wrong value or key that a message repeats."""


def refusal(source: str, front: FrontMatter, problems: Iterable[Problem]) -> SetupError:
    """Return all `problems` as one error, in the order of the file."""
    lines = sorted((front.line(where), _name(where), text) for where, text in problems)
    return SetupError("\n".join(f"{source}:{line}: {name} {text}" for line, name, text in lines))


def misspelt(front: FrontMatter, error: ValidationError) -> Iterator[Problem]:
    """Yield a problem for each place that pydantic complains of.

    A union complains once for each of its branches; the branch that was meant complains deepest,
    so a complaint about a place is dropped where one about a place inside it stands.
    """
    found: dict[SourcePosition, str] = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        where = _written(each["loc"], front)
        if each["type"] == "missing":
            where = (*_written(each["loc"][:-1], front), each["loc"][-1])
            found[where] = f"is missing: add {_example(where, front)}"
        elif each["type"] == "unexpected_keyword_argument":
            found[where] = f"is no key{nearest(str(where[-1]), _keys(where[:-1], front))}"
        else:
            if each["type"].startswith("union_tag"):
                where = (*where, "kind")
            found[where] = _wrong(where, front)
    for where, text in found.items():
        if not any(other != where and other[: len(where)] == where for other in found):
            yield where, text


def _written(loc: tuple[int | str, ...], front: FrontMatter) -> SourcePosition:
    """Return pydantic's place without the names of the union branches that it went through."""
    where: SourcePosition = ()
    for part in loc:
        if (*where, part) in front.lines:
            where = (*where, part)
    return where


def _wrong(where: SourcePosition, front: FrontMatter) -> str:
    key, rule = _rule(where, front)
    got = ""
    if where in front.lines and where[-1] != "api_key_env":  # someone may have put the key there
        got = f", not {shown(_value(where, front))}"
    inside = "" if key == where[-1] else f"is not right: `{key}` "
    return f"{inside}must be {rule.description}, such as {_example(where, front)}{got}"


def _example(where: SourcePosition, front: FrontMatter) -> str:
    key, rule = _rule(where, front)
    return f"`{key}: {(rule.examples or [''])[0]}`"


def _rule(where: SourcePosition, front: FrontMatter) -> tuple[str, FieldInfo]:
    """Return the innermost described key that `where` belongs to, and its description."""
    record, key = _record(where[:-1], front), str(where[-1])
    rules: Mapping[str, FieldInfo] = getattr(record, "__pydantic_fields__", {})
    return (key, rules[key]) if key in rules else _rule(where[:-1], front)


def _keys(where: SourcePosition, front: FrontMatter) -> list[str]:
    record = _record(where, front)
    return [key.name for key in dataclasses.fields(record)] if record else []


def _record(where: SourcePosition, front: FrontMatter) -> Any:  # noqa: ANN401 - dataclasses have no type
    """Return the record whose keys stand at `where`, None where there is none."""
    match where:
        case ("agents", str()):
            settings = _value(where, front)
            kind = settings.get("kind") if isinstance(settings, dict) else None
            return MutatorSection if kind == "mutator" else ModelSection
        case ("agents", str(), "price"):
            return PriceSection
        case ("islands" | "rungs" as key, int()):
            return {"islands": IslandSection, "rungs": Rung}[key]
        case (str() as key,) if key in _SECTIONS:
            return _SECTIONS[key]
        case ():
            return Settings
    return None


def _value(where: SourcePosition, front: FrontMatter) -> Any:  # noqa: ANN401 - whatever was written there
    """Return the value at `where`, None where there is none."""
    value: Any = front.values
    for part in where:
        value = value.get(part) if isinstance(value, dict) else value[part]
    return value


def _name(where: SourcePosition) -> str:
    """Return a place as people write it: agents.fast.model, genome[0]."""
    name = ""
    for part in where:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += ("." if name else "") + _word(part)
    return name


def _word(key: str) -> str:
    plain = key.replace("-", "_").isidentifier() and len(key) <= _SHOWN
    return key if plain else shown(key)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the mend for a wrong `word`: the word that was meant, or all that there are."""
    known = sorted(words)
    close = difflib.get_close_matches(word[:200], known, 1)
    if close:
        return f": did you mean `{close[0]}`?"
    return f": there are {', '.join(known[:20])}" if known else ""


def shown(value: object) -> str:
    """Return `value` as one short line of ASCII."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
