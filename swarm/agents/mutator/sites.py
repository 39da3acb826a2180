"""Finds what may be edited: every number, flag and listed alternative of a genome's file.

A site is named so that it keeps its name while the rest of the file changes: a knob by its
constant's name, a default by its function's and parameter's, a number in a function's body by
the statement it stands in. What has been learned of a site is remembered under that name.

Seeds are never a site, nor is anything in a call or statement that names one; nor are strings
other than listed alternatives, annotations, patterns, indices and f-strings.
"""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from swarm.agents.mutator.scales import Number, number
from swarm.agents.mutator.source import Edit, Source

Rank = Literal["knob", "named", "inner"]
"""A constant at the top of the file; a default, attribute or keyword; a number in a body."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the source with a value: a number to scale, or one of some options."""

    id: str
    path: str
    name: str
    rank: Rank
    start: int
    end: int
    text: str
    number: Number | None = None
    options: tuple[str, ...] = ()

    def edit(self, to: str) -> Edit:
        """Return the edit that gives the site the value `to`."""
        return Edit(self.path, self.start, self.end, to)


def find(source: Source) -> list[Site]:
    """Return the sites of `source` in the order of the text."""
    found = sorted(_Finder(source).walk(), key=lambda site: site.start)
    times: dict[str, int] = {}
    named = []
    for site in found:  # the second site of one name is told from the first by a number
        times[site.id] = count = times.get(site.id, -1) + 1
        named.append(replace(site, id=f"{site.id}#{count}") if count else site)
    return named


def is_seed(name: str) -> bool:
    """Say whether `name` speaks of a seed or of what is made from one."""
    lowered = name.lower()
    return "seed" in lowered or lowered in _SEEDED


def names_seed(node: ast.AST) -> bool:
    """Say whether anything in `node` speaks of a seed."""
    return any(is_seed(name) for inner in ast.walk(node) for name in _names(inner))


def words(name: str) -> list[str]:
    """Split an identifier into lower-case words: MATRIX_LR, matrixLr and matrix-lr are two."""
    return [word.lower() for word in _WORD.findall(name)]


def called(node: ast.Call) -> str:
    """Return the last name of what `node` calls, "" where it has none."""
    return next(_names(node.func), "")


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LISTED = re.compile(r"[ \t;]*#\s*one of:\s*(.+?)\s*$")
_SEEDED = {"rng", "default_rng", "randomstate", "random_state", "prngkey", "generator"}
_RATES = {"lr", "rate", "rates", "scale", "gain", "std", "temperature", "radius", "multiplier"}

# flags and numbers that say what a program means rather than how it does it
_MEANING = {
    "axis", "daemon", "dim", "dtype", "encoding", "file", "inplace", "is_causal", "keepdim",
    "keepdims", "persistent", "requires_grad", "strict", "version",
}  # fmt: skip

# shapes and places, which fit each other: a change of one alone crashes
_SHAPING = {
    "chunk", "expand", "index_select", "narrow", "permute", "repeat", "reshape", "size",
    "split", "squeeze", "transpose", "unflatten", "unsqueeze", "view",
}  # fmt: skip

# what talks, or fails, changes no score
_TALKING = {
    "basicConfig", "debug", "error", "exit", "getenv", "info", "log", "open", "print", "sleep",
    "warn", "warning",
}  # fmt: skip

_GUARD = 1e-6
"""Unnamed numbers up to this keep a division from failing; their size hardly matters."""

_SHAPELESS = 3
"""Unnamed integers below this count dimensions and places more often than anything else."""

_ZERO = {"0": ("1",), "0.0": ("0.01", "0.1", "0.3")}
"""What to try for a zero, which has no place on a logarithmic scale."""

_VANISHING = {"decay", "dropout", "jitter", "momentum", "noise", "penalty", "smoothing", "warmup"}
"""Words of knobs that are often best switched off: zero is an option of theirs."""


@dataclass(frozen=True, slots=True)
class _At:
    """Where the walk is: whose body, under which name, how prominent."""

    owner: str = ""
    name: str = ""
    rank: Rank = "inner"
    top: bool = True
    statement: str = ""


class _Finder:
    """Walks a tree without recursion, since hostile trees are deep."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.todo: list[tuple[ast.AST, _At]] = [(source.tree, _At())]

    def walk(self) -> Iterator[Site]:
        while self.todo:
            node, at = self.todo.pop()
            if isinstance(node, (ast.Constant, ast.UnaryOp)):
                site = self._leaf(node, at)
                if site is not None:
                    yield from _with_zero(site)
                    continue
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                listed = self._listed(node, at)
                if listed is not None:
                    yield listed
                    continue
            self.todo += self._below(node, at)

    def _below(self, node: ast.AST, at: _At) -> list[tuple[ast.AST, _At]]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._function(node, at)
            case ast.ClassDef():
                inside = _At(_dotted(at.owner, node.name), rank="named", top=False)
                return [(below, inside) for below in node.body]
            case ast.Assign() | ast.AnnAssign():
                return self._assignment(node, at)
            case ast.Call():
                return self._call(node, at)
            case ast.keyword(arg=str(name)):
                rank: Rank = at.rank if at.rank == "knob" else "named"
                hidden = is_seed(name) or name in _MEANING
                return [] if hidden else [(node.value, replace(at, name=name, rank=rank))]
            case ast.Dict():
                return [pair for pair in self._pairs(node, at)]
            case ast.Subscript():
                return [(node.value, at)]
            case ast.BinOp(op=ast.Pow(), left=ast.Constant()):
                return [(node.right, at)]  # of 2**12 the 12 is what is meant to change
            case ast.JoinedStr() | ast.Assert() | ast.Raise() | ast.Import() | ast.ImportFrom():
                return []
            case ast.match_case():
                return [(below, at) for below in node.body]
            case ast.Lambda():
                return [(node.body, replace(at, name="", rank="inner"))]
            case ast.stmt():
                here = replace(at, name="", rank="inner", statement=self._masked(node))
                return [(below, here) for below in _spoken(node)]
        return [(below, at) for below in ast.iter_child_nodes(node)]

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, at: _At
    ) -> list[tuple[ast.AST, _At]]:
        owner = _dotted(at.owner, node.name)
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults: list[tuple[ast.arg, ast.expr | None]] = [
            *zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults),
            *zip(arguments.kwonlyargs, arguments.kw_defaults),
        ]
        below: list[tuple[ast.AST, _At]] = [
            (value, _At(owner, argument.arg, "named", top=False))
            for argument, value in defaults
            if value is not None and not is_seed(argument.arg)
        ]
        return below + [(inner, _At(owner, top=False)) for inner in node.body]

    def _assignment(self, node: ast.Assign | ast.AnnAssign, at: _At) -> list[tuple[ast.AST, _At]]:
        name = _target(node)
        if node.value is None or is_seed(name) or names_seed(node) or _is_dunder(name):
            return []
        here = replace(at, name=name, rank=_rank(name, at), statement=self._masked(node))
        return [(node.value, here)]

    def _call(self, node: ast.Call, at: _At) -> list[tuple[ast.AST, _At]]:
        name = called(node)
        if is_seed(name) or name in _TALKING or any(is_seed(k.arg or "") for k in node.keywords):
            return []
        arguments: list[ast.AST] = [*node.args, *node.keywords]
        if name in _SHAPING:
            arguments = [a for a in arguments if not isinstance(a, (ast.Constant, ast.UnaryOp))]
        knob = at.rank == "knob"
        unnamed = replace(at, rank="named") if knob else replace(at, name="", rank="inner")
        return [(node.func, unnamed), *((argument, unnamed) for argument in arguments)]

    def _pairs(self, node: ast.Dict, at: _At) -> Iterator[tuple[ast.AST, _At]]:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                if not is_seed(key.value):
                    name = _dotted(at.name, key.value) if at.rank == "knob" else key.value
                    rank: Rank = at.rank if at.rank == "knob" else "named"
                    yield value, replace(at, name=name, rank=rank)
            else:
                yield value, at

    def _leaf(self, node: ast.Constant | ast.UnaryOp, at: _At) -> Site | None:
        constant = node.operand if isinstance(node, ast.UnaryOp) else node
        if not isinstance(constant, ast.Constant) or not _is_plain(node):
            return None
        start, end = self.source.span(node)
        text = self.source.text(node)
        site = Site(self._id(at), self.source.path, at.name, at.rank, start, end, text)
        if isinstance(constant.value, bool):
            flag = at.rank != "inner" and node is constant and at.name not in _MEANING
            return replace(site, options=("False" if constant.value else "True",)) if flag else None
        if at.rank == "inner" and abs(constant.value) <= _smallest(constant.value):
            return None
        if constant.value == 0:
            options = _ZERO["0.0" if isinstance(constant.value, float) else "0"]
            return replace(site, options=options) if at.rank != "inner" else None
        moving = number(text, not _RATES.isdisjoint(words(at.name)))
        return None if moving is None else replace(site, number=moving)

    def _listed(self, node: ast.Assign | ast.AnnAssign, at: _At) -> Site | None:
        """Return the site of an assignment whose line ends in `# one of: a, b, c`."""
        name, value = _target(node), node.value
        if value is None or not name or is_seed(name):
            return None
        end = self.source.span(node)[1]
        comment = self.source.data[end : self.source.line_end(end)].decode()
        listed = _LISTED.match(comment)
        if listed is None:
            return None
        text = self.source.text(value)
        options = tuple(o for o in _alternatives(listed[1], value, text) if o != text)
        here = replace(at, name=name, rank=_rank(name, at), statement=self._masked(node))
        start, stop = self.source.span(value)
        return Site(
            self._id(here), self.source.path, name, here.rank, start, stop, text, options=options
        )

    def _id(self, at: _At) -> str:
        where = at.name or at.statement
        if at.rank == "inner" or (at.statement and at.rank == "named" and at.owner):
            where = f"{at.statement}.{at.name}" if at.name else at.statement
        return f"{self.source.path}:{_dotted(at.owner, where)}"

    def _masked(self, node: ast.stmt) -> str:
        """Name a statement by the words of its first line: they outlive a change of its values."""
        start, end = self.source.span(node)
        line = self.source.data[start : min(end, self.source.line_end(start))].decode()
        return f"{zlib.crc32(_VALUES.sub('', line).encode()):08x}"


def _spoken(node: ast.stmt) -> list[ast.AST]:
    """Return what is below a statement; if its head speaks of a seed, then only its body."""
    below = list(ast.iter_child_nodes(node))
    body = [b for b in below if isinstance(b, (ast.stmt, ast.ExceptHandler, ast.match_case))]
    head = [b for b in below if b not in body]
    return body if any(names_seed(part) for part in head) else below


_VALUES = re.compile(r"[\d.]+(e-?\d+)?|\bTrue\b|\bFalse\b|#.*|\s+")


def _with_zero(site: Site) -> Iterator[Site]:
    """Yield `site`, and the option of zero where such knobs are often best switched off."""
    yield site
    fraction = site.number is not None and site.number.scale == "logit"
    if fraction and site.rank != "inner" and not _VANISHING.isdisjoint(words(site.name)):
        yield replace(site, id=f"{site.id}=0", number=None, options=("0.0",))


def _is_plain(node: ast.Constant | ast.UnaryOp) -> bool:
    """Say whether `node` is a flag or a number, or such a number with a minus before it."""
    if isinstance(node, ast.UnaryOp):
        inner = node.operand
        signed = isinstance(node.op, ast.USub) and isinstance(inner, ast.Constant)
        return signed and type(inner.value) in {int, float}  # type: ignore[union-attr]
    return type(node.value) in {bool, int, float}


def _smallest(value: float) -> float:
    return _SHAPELESS - 1 if isinstance(value, int) else _GUARD


def _alternatives(listed: str, value: ast.expr, text: str) -> Iterator[str]:
    """Yield the alternatives of a comment as source text in the style of the present value."""
    quoted = isinstance(value, ast.Constant) and isinstance(value.value, str)
    for item in listed.split(","):
        bare = item.strip().rstrip(".").strip()
        if not bare:
            continue
        if quoted and bare[0] not in "\"'":
            if bare.replace("-", "_").replace(".", "_").replace("_", "a").isalnum():
                quote = text[-1]
                yield f"{quote}{bare}{quote}"
        else:
            yield bare


def _target(node: ast.Assign | ast.AnnAssign) -> str:
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


def _rank(name: str, at: _At) -> Rank:
    """Return how prominent what is assigned to `name` is."""
    if at.top and name.isupper():
        return "knob"
    return "named" if name and (at.top or at.rank == "named") else "inner"


def _dotted(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
