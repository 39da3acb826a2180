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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from swarm.agents.mutator.identifiers import (
    MEANING,
    SHAPING,
    TALKING,
    assigned,
    called,
    is_rate,
    is_seed,
    may_vanish,
    names_seed,
)
from swarm.agents.mutator.source import Edit, Source
from swarm.agents.mutator.transforms import Number, number

Rank = Literal["knob", "named", "inner"]
"""A constant at the top of the file; a default, attribute or keyword; a number in a body."""

MOST_OPTIONS = 16
"""Of one site: a comment may list any number."""

GUARD = 1e-6
"""Numbers in bodies up to this keep a division from failing; their size hardly matters."""

DIMENSIONS = 2
"""Integers in bodies up to this count dimensions and places more often than anything else."""

ZERO = {"0": ("1",), "0.0": ("0.01", "0.1", "0.3")}
"""What to try for a zero, which has no place on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the source with a value: a number to scale, or a text with other options.

    `label` is its name for people.
    """

    id: str
    path: str
    name: str
    rank: Rank
    start: int
    end: int
    text: str
    label: str
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


@dataclass(frozen=True, slots=True)
class _At:
    """Where the walk is: in whose body, under which name, how prominent, in which statement."""

    owner: str = ""
    name: str = ""
    rank: Rank = "inner"
    top: bool = True
    statement: str = ""


_Todo = tuple[ast.AST, _At]


class _Finder:
    """Walks a tree without recursion: a sum of a thousand terms is a thousand nodes deep."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def walk(self) -> Iterator[Site]:
        todo: list[_Todo] = [(self.source.tree, _At())]
        while todo:
            node, at = todo.pop()
            sites = list(self._sites(node, at))
            yield from sites
            if not sites:
                todo += self._below(node, at)

    def _sites(self, node: ast.AST, at: _At) -> Iterator[Site]:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            yield from self._listed(node, at)
        elif isinstance(node, (ast.Constant, ast.UnaryOp)):
            value = _plain(node)
            if isinstance(value, bool):
                yield from self._flag(node, value, at)
            elif value is not None:
                yield from self._number(node, value, at)

    def _flag(self, node: ast.expr, value: bool, at: _At) -> Iterator[Site]:
        if at.rank != "inner" and at.name not in MEANING:
            yield replace(self._site(node, at), options=("False" if value else "True",))

    def _number(self, node: ast.expr, value: float, at: _At) -> Iterator[Site]:
        site, inner = self._site(node, at), at.rank == "inner"
        if inner and abs(value) <= (GUARD if isinstance(value, float) else DIMENSIONS):
            return
        if value == 0:
            yield replace(site, options=ZERO["0.0" if isinstance(value, float) else "0"])
            return
        moving = number(site.text, is_rate(at.name))
        if moving is None:
            return
        yield replace(site, number=moving)
        if moving.scale == "logit" and not inner and may_vanish(at.name):
            yield replace(site, id=f"{site.id}=0", options=("0.0",))

    def _listed(self, node: ast.Assign | ast.AnnAssign, at: _At) -> Iterator[Site]:
        """Yield the site of an assignment whose line ends in `# one of: a, b, c`."""
        name, value = assigned(node), node.value
        if value is None or not name or is_seed(name):
            return
        end = self.source.span(node)[1]
        comment = self.source.data[end : self.source.line_end(end)].decode()
        listed = _LISTED.match(comment)
        if listed is not None:
            site = self._site(value, self._inside(node, at))
            options = islice(_alternatives(listed[1], value, site.text), MOST_OPTIONS)
            yield replace(site, options=tuple(dict.fromkeys(o for o in options if o != site.text)))

    def _site(self, node: ast.expr, at: _At) -> Site:
        start, end = self.source.span(node)
        label = at.name or f"a value in {at.owner or self.source.path}"
        text = self.source.text(node)
        return Site(self._id(at), self.source.path, at.name, at.rank, start, end, text, label)

    def _id(self, at: _At) -> str:
        where = at.name or at.statement
        if at.rank == "inner" or (at.statement and at.rank == "named" and at.owner):
            where = f"{at.statement}.{at.name}" if at.name else at.statement
        return f"{self.source.path}:{_dotted(at.owner, where)}"

    def _inside(self, node: ast.Assign | ast.AnnAssign, at: _At) -> _At:
        name = assigned(node)
        rank: Rank = "named" if name and (at.top or at.rank == "named") else "inner"
        rank = "knob" if at.top and name.isupper() else rank
        return replace(at, name=name, rank=rank, statement=self._masked(node))

    def _masked(self, node: ast.stmt) -> str:
        """Name a statement by the words of its first line: they outlive a change of its values."""
        start, end = self.source.span(node)
        line = self.source.data[start : min(end, self.source.line_end(start))].decode()
        return f"{zlib.crc32(_VALUES.sub('', line).encode()):08x}"

    def _below(self, node: ast.AST, at: _At) -> list[_Todo]:
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            return handler(self, node, at)
        if isinstance(node, ast.stmt):
            at = replace(at, name="", rank="inner", statement=self._masked(node))
            return [(below, at) for below in _spoken(node)]
        return [(below, at) for below in ast.iter_child_nodes(node)]

    def _class(self, node: ast.ClassDef, at: _At) -> list[_Todo]:
        inside = _At(_dotted(at.owner, node.name), rank="named", top=False)
        return [(below, inside) for below in node.body]

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, at: _At) -> list[_Todo]:
        owner = _dotted(at.owner, node.name)
        below: list[_Todo] = [
            (value, _At(owner, name, "named", top=False))
            for name, value in _defaults(node.args)
            if not is_seed(name)
        ]
        return below + [(inner, _At(owner, top=False)) for inner in node.body]

    def _assignment(self, node: ast.Assign | ast.AnnAssign, at: _At) -> list[_Todo]:
        name = assigned(node)
        dunder = name.startswith("__") and name.endswith("__")
        if node.value is None or dunder or names_seed(node):
            return []
        return [(node.value, self._inside(node, at))]

    def _call(self, node: ast.Call, at: _At) -> list[_Todo]:
        name = called(node)
        if is_seed(name) or name in TALKING or any(is_seed(k.arg or "") for k in node.keywords):
            return []
        arguments: list[ast.AST] = [*node.args, *node.keywords]
        if name in SHAPING:
            arguments = [a for a in arguments if not isinstance(a, (ast.Constant, ast.UnaryOp))]
        knob = at.rank == "knob"
        at = replace(at, rank="named") if knob else replace(at, name="", rank="inner")
        return [(node.func, at), *((argument, at) for argument in arguments)]

    def _keyword(self, node: ast.keyword, at: _At) -> list[_Todo]:
        name = node.arg or ""
        hidden = is_seed(name) or name in MEANING
        return [] if hidden else [(node.value, replace(at, name=name, rank="named"))]

    def _dict(self, node: ast.Dict, at: _At) -> list[_Todo]:
        below: list[_Todo] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                below.append((value, at))
            elif not is_seed(key.value):
                knob = at.rank == "knob"
                name = _dotted(at.name, key.value) if knob else key.value
                below.append((value, replace(at, name=name, rank=at.rank if knob else "named")))
        return below

    def _operation(self, node: ast.BinOp, at: _At) -> list[_Todo]:
        if isinstance(node.op, ast.Pow) and isinstance(node.left, ast.Constant):
            return [(node.right, at)]  # of 2**12 the 12 is what is meant to change
        return [(node.left, at), (node.right, at)]

    def _subscript(self, node: ast.Subscript, at: _At) -> list[_Todo]:
        return [(node.value, at)]

    def _case(self, node: ast.match_case, at: _At) -> list[_Todo]:
        return [(below, at) for below in node.body]

    def _lambda(self, node: ast.Lambda, at: _At) -> list[_Todo]:
        return [(node.body, replace(at, name="", rank="inner"))]

    def _nothing(self, _node: ast.AST, _at: _At) -> list[_Todo]:
        return []


_HANDLERS: dict[type[ast.AST], Callable[[_Finder, Any, _At], list[_Todo]]] = {
    ast.AnnAssign: _Finder._assignment,
    ast.Assert: _Finder._nothing,
    ast.Assign: _Finder._assignment,
    ast.AsyncFunctionDef: _Finder._function,
    ast.BinOp: _Finder._operation,
    ast.Call: _Finder._call,
    ast.ClassDef: _Finder._class,
    ast.Dict: _Finder._dict,
    ast.FunctionDef: _Finder._function,
    ast.Import: _Finder._nothing,
    ast.ImportFrom: _Finder._nothing,
    ast.JoinedStr: _Finder._nothing,
    ast.Lambda: _Finder._lambda,
    ast.Raise: _Finder._nothing,
    ast.Subscript: _Finder._subscript,
    ast.keyword: _Finder._keyword,
    ast.match_case: _Finder._case,
}
"""What is below a node, where that is not simply all its children."""

_LISTED = re.compile(r"[ \t;]*#[ \t]*one of:(.*)")
_VALUES = re.compile(r"[\d.]+(e-?\d+)?|\bTrue\b|\bFalse\b|#.*|\s+")


def _plain(node: ast.Constant | ast.UnaryOp) -> bool | int | float | None:
    """Return the flag or number that `node` is, a minus before it or not; None for all else."""
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return None if isinstance(value, bool) else -value
    return None


def _alternatives(listed: str, value: ast.expr, text: str) -> Iterator[str]:
    """Yield the alternatives of a comment as source text in the style of the present value."""
    quoted = isinstance(value, ast.Constant) and isinstance(value.value, str)
    for item in listed.split(","):
        bare = item.strip().rstrip(".").strip()
        if bare and (not quoted or bare[0] in "\"'"):
            yield bare
        elif re.fullmatch(r"[\w.+-]+", bare):
            yield f"{text[-1]}{bare}{text[-1]}"


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    """Yield the parameters that have a default, with it."""
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    yield from ((a.arg, value) for a, value in zip(with_default, arguments.defaults, strict=True))
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if value is not None:
            yield argument.arg, value


def _spoken(node: ast.stmt) -> list[ast.AST]:
    """Return what is below a statement; if its head speaks of a seed, then only its body."""
    below = list(ast.iter_child_nodes(node))
    kinds = (ast.stmt, ast.ExceptHandler, ast.match_case)
    if any(names_seed(part) for part in below if not isinstance(part, kinds)):
        return [part for part in below if isinstance(part, kinds)]
    return below


def _dotted(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name
