"""Meaning of identifiers: seeds, rates, and names whose values are left alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from islands.genome.seed_names import is_seed_count

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_SEEDED = {"rng", "default_rng", "randomstate", "random_state", "prngkey", "generator"}

_RATES = {"gain", "lr", "multiplier", "radius", "rate", "rates", "scale", "std", "temperature"}

_MAYBE_ZERO = {"decay", "dropout", "jitter", "momentum", "noise", "penalty", "smoothing", "warmup"}

SEMANTIC_PARAMETERS = {
    "axis", "daemon", "dim", "dtype", "encoding", "file", "inplace", "is_causal", "keepdim",
    "keepdims", "persistent", "requires_grad", "strict", "version",
}  # fmt: skip
"""Parameters that define what a program computes, rather than how well."""

SHAPE_CALLS = {
    "chunk", "expand", "index_select", "narrow", "permute", "repeat", "reshape", "size",
    "split", "squeeze", "transpose", "unflatten", "unsqueeze", "view",
}  # fmt: skip
"""Calls whose numbers are shapes and indices: changing one alone crashes."""

EFFECTLESS_CALLS = {
    "basicConfig", "debug", "error", "exit", "getenv", "info", "log", "open", "print", "sleep",
    "warn", "warning",
}  # fmt: skip
"""Calls that do not affect the score."""


def words(name: str) -> set[str]:
    """Return an identifier's lower-case words: MATRIX_LR, matrixLr and matrix-lr have two."""
    return {word.lower() for word in _WORD.findall(name)}


def is_rate(name: str) -> bool:
    """Return whether `name` means a magnitude that may exceed one, such as a learning rate."""
    return not _RATES.isdisjoint(words(name))


def may_be_zero(name: str) -> bool:
    """Return whether `name` means something that is often best switched off."""
    return not _MAYBE_ZERO.isdisjoint(words(name))


def is_seed(name: str) -> bool:
    """Return whether `name` means a seed or a generator made from one; a count of seeds is none."""
    lowered = name.lower()
    return ("seed" in lowered and not is_seed_count(name)) or lowered in _SEEDED


def names_seed(node: ast.AST) -> bool:
    """Return whether anything in `node` names a seed."""
    return any(is_seed(name) for inner in ast.walk(node) for name in _names(inner))


def called_name(node: ast.Call) -> str:
    """Return the last name of the function that `node` calls; "" if it has none."""
    return next(_names(node.func), "")


def assigned_name(node: ast.Assign | ast.AnnAssign) -> str:
    """Return the name that `node` assigns to; "" unless there is exactly one."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return next(_names(targets[0]), "") if len(targets) == 1 else ""


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name():
            yield node.id
        case ast.Attribute():
            yield node.attr
        case ast.arg() | ast.keyword():
            yield node.arg or ""
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
