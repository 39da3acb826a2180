"""What a change touches: optimiser, schedule, architecture, initialisation, data or efficiency.

Some kinds of change hold at another depth and others flip their sign, so promotions tell them
apart. The kinds are read off the words of the names in the statements that differ; a statement is
what Python's parser takes for one, so that a change of one argument is judged by the whole call.

Not covered: what a name does not say (`x = f(y, 3)` is "other"); words of languages other than
English; files that are no Python, and such that do not parse, are read as plain words of lines.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher

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

KINDS = (*_WORDS, OTHER)
"""All kinds, in the order that decides between kinds that are touched as often."""

_KIND_OF = {word: kind for kind, words in _WORDS.items() for word in words.split()}

_PART = re.compile(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+(?![a-z])[0-9]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def kinds(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the kinds that a change of files (text by path) touches, the most touched first.

    Never empty: ("other",) where no name says anything.
    """
    found: Counter[str] = Counter()
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path, ""), after.get(path, "")
        for name in _touched(old, new):
            found.update({_KIND_OF[word] for word in _words(name) if word in _KIND_OF})
    order = sorted(found, key=lambda kind: (-found[kind], KINDS.index(kind)))
    return tuple(order) or (OTHER,)


def _touched(old: str, new: str) -> Iterator[str]:
    """Yield the names in the statements of either side that the other has not."""
    one, other = old.splitlines(), new.splitlines()
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    differing = [each for each in matcher.get_opcodes() if each[0] != "equal"]
    yield from _names(old, ((each[1], each[2]) for each in differing))
    yield from _names(new, ((each[3], each[4]) for each in differing))


def _names(text: str, ranges: Iterable[tuple[int, int]]) -> Iterator[str]:
    lines = {line + 1 for first, end in ranges for line in range(first, end)}
    if not lines:
        return
    try:
        statements = list(_innermost(ast.parse(text), lines))
    except (SyntaxError, ValueError, RecursionError):
        rows = text.splitlines()
        for line in sorted(lines):
            yield from _NAME.findall(rows[line - 1])
        return
    for statement in statements:
        yield from _identifiers(statement)


def _innermost(tree: ast.AST, lines: set[int]) -> Iterator[ast.AST]:
    """Yield the smallest statements that cover a changed line."""
    todo = list(ast.iter_child_nodes(tree))
    while todo:
        node = todo.pop()
        if not isinstance(node, ast.stmt):
            continue
        if lines.isdisjoint(range(node.lineno, (node.end_lineno or node.lineno) + 1)):
            continue
        inner = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)]
        body = {line for each in inner for line in range(each.lineno, (each.end_lineno or 0) + 1)}
        own = set(range(node.lineno, (node.end_lineno or node.lineno) + 1)) - body
        if not inner:
            yield node
        elif not lines.isdisjoint(own):
            yield from _head(node)
        todo.extend(inner)


def _head(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield what a compound statement is without its body: its name and its expressions."""
    name = getattr(node, "name", None)
    if isinstance(name, str):
        yield ast.Name(name)
    for each in ast.iter_child_nodes(node):
        if not isinstance(each, ast.stmt):
            yield each


def _identifiers(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        for field in ("id", "attr", "arg", "name"):
            name = getattr(each, field, None)
            if isinstance(name, str):
                yield name


def _words(name: str) -> Iterator[str]:
    return (part.lower() for part in _PART.findall(name))
