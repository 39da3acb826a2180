"""Structural edits: drop a term or a statement, swap an operator or a call.

Only bodies of functions are edited, and nothing that names a seed. An edit's id derives from the
statement it is in, so that its history is found again.
"""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from swarm.agents.mutator.descriptions import apart, cut
from swarm.agents.mutator.identifiers import called_name, names_seed
from swarm.agents.mutator.source import Edit, Source

StructuralKind = Literal["term", "statement", "swap"]


@dataclass(frozen=True, slots=True)
class StructuralEdit:
    """A structural edit, with its description for people."""

    id: str
    kind: StructuralKind
    description: str
    edit: Edit


SWAPS: dict[str, tuple[str, ...]] = {
    # each pair has the same signature and purpose
    "relu": ("gelu", "silu"),
    "gelu": ("relu", "silu"),
    "silu": ("gelu", "relu"),
    "ReLU": ("GELU", "SiLU"),
    "GELU": ("ReLU", "SiLU"),
    "SiLU": ("GELU", "ReLU"),
    "tanh": ("sigmoid",),
    "sigmoid": ("tanh",),
    "Adam": ("AdamW",),
    "AdamW": ("Adam",),
    "LayerNorm": ("RMSNorm",),
    "RMSNorm": ("LayerNorm",),
    "layer_norm": ("rms_norm",),
    "rms_norm": ("layer_norm",),
    "xavier_uniform_": ("kaiming_uniform_",),
    "kaiming_uniform_": ("xavier_uniform_",),
    "mean": ("median",),
    "median": ("mean",),
    "min": ("max",),
    "max": ("min",),
}
"""Calls that may replace each other."""

OPPOSITE_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
}
"""The replacement of each operator between numbers."""

MAX_QUOTED_CHARS = 26
"""Characters of code that a description quotes: two quotations fit a commit's subject."""

# possessive (`*+`): a comment full of hashes must not cause exponential backtracking
_OPERATOR = re.compile(rb"(?:[\s\\)]|#[^\r\n]*+)*+(\*\*|//|<<|>>|[-+*/@%&|^])")
_SPACE = re.compile(rb"(?:[\s\\]|#[^\r\n]*+)*+")
_REQUIRED_CALLS = {"print", "log", "info", "warning", "append", "super", "save", "write", "flush"}
_NON_NUMERIC = (ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp)


def find_structural_edits(source: Source) -> list[StructuralEdit]:
    """Return the possible structural edits of `source`, in text order."""
    edits: list[StructuralEdit] = []
    for owner, body in _bodies(source.tree):
        for statement in body:
            if not any(names_seed(part) for part in _own_parts(statement)):
                edits += _statement_edits(source, owner, statement, len(body))
    unique = {edit.id: edit for edit in reversed(edits)}  # of equal ids the first
    return sorted(unique.values(), key=lambda edit: (edit.edit.start, edit.id))


def _bodies(tree: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Yield each list of statements inside a function, with the function's dotted name."""
    todo: list[tuple[ast.AST, str]] = [(tree, "")]
    while todo:
        node, owner = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            owner = f"{owner}.{node.name}".lstrip(".")
        inside = bool(owner) and not isinstance(node, ast.ClassDef)
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            below = getattr(node, field, None)
            if not isinstance(below, list):
                continue
            if inside and below and isinstance(below[0], ast.stmt):
                yield owner, below
            todo += [(inner, owner) for inner in below]


def _own_parts(statement: ast.stmt) -> list[ast.AST]:
    """Return the parts of a statement that are not statements themselves."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return []
    kinds = (ast.stmt, ast.ExceptHandler, ast.match_case)
    return [part for part in ast.iter_child_nodes(statement) if not isinstance(part, kinds)]


def _statement_edits(
    source: Source, owner: str, statement: ast.stmt, siblings: int
) -> Iterator[StructuralEdit]:
    if isinstance(statement, (ast.Assert, ast.Raise, ast.Import, ast.ImportFrom)):
        return
    name = f"{source.path}:{owner}:{_digest(source, statement)}"
    if _is_optional(statement):
        description = f"Remove `{cut(source.text(statement), MAX_QUOTED_CHARS)}`"
        yield StructuralEdit(
            f"{name}-", "statement", description, _removal(source, statement, siblings)
        )
    for count, node in enumerate(_expressions(_own_parts(statement))):
        if isinstance(node, ast.BinOp):
            yield from _operator_edits(source, f"{name}/{count}", node)
        elif isinstance(node, ast.Call):
            yield from _call_edits(source, f"{name}/{count}", node)


def _expressions(parts: list[ast.AST]) -> Iterator[ast.AST]:
    """Yield the expressions of a statement that may be edited, in a fixed order."""
    todo = list(reversed(parts))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.JoinedStr, ast.Lambda)):
            continue
        yield node
        if isinstance(node, ast.Subscript):  # an index is a place, not a quantity
            todo.append(node.value)
        elif isinstance(node, ast.AnnAssign):
            todo += [node.value] if node.value else []
        else:
            todo += reversed(list(ast.iter_child_nodes(node)))


def _operator_edits(source: Source, name: str, node: ast.BinOp) -> Iterator[StructuralEdit]:
    if type(node.op) not in OPPOSITE_OPERATORS or _is_text(node.left) or _is_text(node.right):
        return
    start, end = source.span(node)
    middle = source.span(node.left)[1]
    sign = _OPERATOR.match(source.data, middle)
    if sign is None:
        return

    def instead(suffix: str, kind: StructuralKind, new: bytes) -> StructuralEdit:
        before, after = apart(source.text(node), new.decode(), MAX_QUOTED_CHARS)
        description = f"Replace `{before}` by `{after}`"
        return StructuralEdit(
            name + suffix, kind, description, Edit(source.path, start, end, new.decode())
        )

    left, right = source.data[start : sign.start(1)], source.data[sign.end(1) : end]
    if b"#" not in source.data[middle : sign.start(1)]:
        yield instead("<", "term", left.rstrip(b" \t\r\n\\"))
    if isinstance(node.op, (ast.Add, ast.Mult)):
        blank = _SPACE.match(right)
        yield instead(">", "term", right[blank.end() :] if blank else right)
    yield instead("~", "swap", left + OPPOSITE_OPERATORS[type(node.op)].encode() + right)


def _call_edits(source: Source, name: str, node: ast.Call) -> Iterator[StructuralEdit]:
    old = called_name(node)
    end = source.span(node.func)[1]
    for new in SWAPS.get(old, ()):
        edit = Edit(source.path, end - len(old.encode()), end, new)
        description = f"Replace `{old}` by `{new}`"
        yield StructuralEdit(f"{name}={new}", "swap", description, edit)


def _is_optional(statement: ast.stmt) -> bool:
    """Return whether a program may well run without this statement."""
    match statement:
        case ast.Expr(value=ast.Call() as call):
            return called_name(call) not in _REQUIRED_CALLS and not called_name(call).startswith(
                "__"
            )
        case ast.AugAssign():
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value))
        case ast.If(orelse=[]):
            return not any(isinstance(n, (ast.Raise, ast.Return)) for n in statement.body)
    return False


def _removal(source: Source, statement: ast.stmt, siblings: int) -> Edit:
    """Return the edit that drops `statement` with its lines, or puts `pass` if it shares them."""
    start, end = source.span(statement)
    first, last = source.line_start(start), source.line_end(end)
    alone = not source.data[first:start].strip() and not source.data[end:last].strip()
    if siblings > 1 and alone and last < len(source.data):
        ending = 2 if source.data[last : last + 2] == b"\r\n" else 1
        return Edit(source.path, first, last + ending, "")
    return Edit(source.path, start, end, "pass")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, _NON_NUMERIC) or (
        isinstance(node, ast.Constant) and not isinstance(node.value, (int, float, complex))
    )


def _digest(source: Source, statement: ast.stmt) -> str:
    start, end = source.span(statement)
    line = source.data[start : min(end, source.line_end(start))]
    return f"{zlib.crc32(b''.join(line.split())):08x}"
