"""Categories of a change: optimiser, schedule, architecture, initialisation, data, efficiency.

Changes of some categories still help at another depth and others reverse, so promotions report them
apart. A category is read off the words in the identifiers of the statements that differ. A
statement is the innermost one that Python's parser sees, so a change of one argument counts every
identifier of the call.

Not covered: what an identifier does not say (`x = f(y, 3)` is "other"); words of languages other
than English. Files that are not Python, or do not parse, are read line by line, comments aside.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher

from islands.genome.languages import language_of, tokens

OTHER = "other"

_WORDS = {
    "optimiser": "lr rate rates momentum beta betas beta1 beta2 decay adam adamw muon sgd lion"
    " optimiser optimizer optim eps nesterov orthogonalise orthogonalize newton schulz clip"
    " gradient grad",
    "schedule": "warmup warmdown warm cooldown cool schedule scheduler anneal cosine progress"
    " final ramp",
    "architecture": "width depth head heads layer layers mlp attention attn norm rms relu gelu"
    " silu swiglu activation embed embedding skip residual rotary rope bias dropout linear conv"
    " softcap window gate gated block blocks hidden expansion ratio tie tied",
    "initialisation": "init initialise initialize initial zeros ones normal uniform std"
    " orthogonal xavier kaiming trunc",
    "data": "batch batches data token tokens sequence seq length context shuffle sample samples"
    " sampler loader stride crop offset",
    "efficiency": "compile bfloat16 bf16 float16 half autocast amp fused foreach thread threads"
    " worker workers cache checkpoint cuda dtype precision pin nograd inference channels",
}

CATEGORIES = (*_WORDS, OTHER)
"""All categories; the order breaks ties between those touched equally often."""

_CATEGORY_OF = {word: name for name, words in _WORDS.items() for word in words.split()}

_PART = re.compile(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+(?![a-z])[0-9]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def categories(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the categories that a change touches, the most touched first; never empty.

    `before` and `after` hold the files' text by path. ("other",) where no identifier tells.
    """
    counts: Counter[str] = Counter()
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path, ""), after.get(path, "")
        for name in _touched(path, old, new):
            counts.update({_CATEGORY_OF[word] for word in _words(name) if word in _CATEGORY_OF})
    order = sorted(counts, key=lambda name: (-counts[name], CATEGORIES.index(name)))
    return tuple(order) or (OTHER,)


def _touched(path: str, old: str, new: str) -> Iterator[str]:
    """Yield the identifiers of the statements, on either side, that hold a differing line."""
    matcher = SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    differing = [opcode for opcode in matcher.get_opcodes() if opcode[0] != "equal"]
    yield from _names(path, old, ((first, end) for _, first, end, _, _ in differing))
    yield from _names(path, new, ((first, end) for _, _, _, first, end in differing))


def _names(path: str, text: str, ranges: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Yield the identifiers of the statements on the lines of `ranges`, counted from 0."""
    lines = {line + 1 for first, end in ranges for line in range(first, end)}
    if not lines:
        return
    statements = _python(path, text, lines)
    if statements is None:
        yield from _words_on(path, text, lines)
        return
    for statement in statements:
        yield from _identifiers(statement)


def _python(path: str, text: str, lines: set[int]) -> list[ast.AST] | None:
    """Return the statements on `lines`, None where the file is not Python or does not parse."""
    if not path.endswith(".py"):
        return None
    try:
        return list(_innermost(ast.parse(text.removeprefix("\ufeff")), lines))
    except (SyntaxError, ValueError, RecursionError):
        return None


def _words_on(path: str, text: str, lines: set[int]) -> Iterator[str]:
    """Yield the words on `lines`, those of strings too (JSON's keys are), but not of comments."""
    line = 1
    for token in tokens(text, language_of(path)):
        if token.kind == "newline":
            line += 1
        elif token.kind in {"word", "string"} and line in lines:
            yield from _NAME.findall(text[token.start : token.end])
        if token.kind in {"comment", "string"}:
            line += len(text[token.start : token.end].splitlines() or [""]) - 1


def _innermost(tree: ast.AST, lines: set[int]) -> Iterator[ast.AST]:
    """Yield the smallest statements that cover one of `lines`."""
    todo = list(ast.iter_child_nodes(tree))
    while todo:
        node = todo.pop()
        if not isinstance(node, ast.stmt):
            continue
        span = _span(node)
        if lines.isdisjoint(span):
            continue
        inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        body = {line for child in inner for line in _span(child)}
        if not inner:
            yield node
        elif not lines.isdisjoint(set(span) - body):  # a line of the header differs
            yield from _header(node)
        todo.extend(inner)


def _span(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _header(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield a compound statement without its body: its name and its expressions."""
    name = getattr(node, "name", None)
    if isinstance(name, str):
        yield ast.Name(name)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt):
            yield child


def _identifiers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield name


def _words(name: str) -> Iterator[str]:
    return (part.lower() for part in _PART.findall(name))
