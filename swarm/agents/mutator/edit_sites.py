"""Edit sites: every number, flag and listed alternative in a file of the genome.

A site's id stays the same while the rest of the file changes: a constant is identified by its name,
a default by its function and parameter, a number in a body by the statement around it. The history
of a site is kept under its id.

Not sites: seeds and anything in a call or statement that names one; strings other than listed
alternatives; annotations, patterns, indices and f-strings.
"""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, get_args

from harness.contract import SliceKind
from swarm.agents.mutator.identifiers import (
    EFFECTLESS_CALLS,
    SEMANTIC_PARAMETERS,
    SHAPE_CALLS,
    assigned_name,
    called_name,
    is_rate,
    is_seed,
    may_be_zero,
    names_seed,
)
from swarm.agents.mutator.source import Edit, Source
from swarm.agents.mutator.transforms import Number, parse_number

Rank = Literal["knob", "named", "inner"]
"""Prominence: a constant at top level; a default, attribute or keyword; in a body or a table."""

MAX_OPTIONS = 16
"""Options of one site that are considered; a comment may list any number."""

MAX_EPSILON = 1e-6
"""Floats in bodies up to this guard a division; their size hardly matters, so they are no site."""

MAX_DIMENSION = 2
"""Integers in bodies up to this are mostly dimensions or indices, so they are no site."""

MAX_LISTED = 8
"""Elements of a tuple or list that are a knob each; more of them, or rows of them, are a table."""

DEVICES: frozenset[str] = frozenset(get_args(SliceKind))
"""Keys of a table whose values matter on that kind of device alone."""

ZERO_OPTIONS = {"0": ("1",), "0.0": ("0.01", "0.1", "0.3")}
"""Values to try for a zero, which has no place on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Site:
    """A value in the source: a number to move on its scale, or a text with other `options`.

    `start`, `end`: byte offsets in the file. `name`: of the constant, parameter or keyword, ""
    if there is none. `label`: the name shown to people.
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
    device: str = ""
    """The kind of device on which alone it matters, "" for any."""

    def edit(self, to: str) -> Edit:
        """Return the edit that sets the site to `to`."""
        return Edit(self.path, self.start, self.end, to)


def find_sites(source: Source) -> list[Site]:
    """Return the sites of `source` in text order."""
    in_order = sorted(_Finder(source).walk(), key=lambda site: site.start)
    times: dict[str, int] = {}
    named = []
    for site in in_order:  # a number distinguishes sites of the same name
        times[site.id] = count = times.get(site.id, -1) + 1
        named.append(replace(site, id=f"{site.id}#{count}") if count else site)
    return named


@dataclass(frozen=True, slots=True)
class _Context:
    """Position of the walk: enclosing function or class, name, rank, statement."""

    owner: str = ""
    name: str = ""
    rank: Rank = "inner"
    top: bool = True
    statement: str = ""
    device: str = ""


_Pending = tuple[ast.AST, _Context]


class _Finder:
    """Walker of a syntax tree, without recursion: a sum of 1,000 terms is 1,000 nodes deep."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def walk(self) -> Iterator[Site]:
        todo: list[_Pending] = [(self.source.tree, _Context())]
        while todo:
            node, context = todo.pop()
            sites = list(self._sites(node, context))
            yield from sites
            if not sites:
                todo += self._children(node, context)

    def _sites(self, node: ast.AST, context: _Context) -> Iterator[Site]:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            yield from self._options(node, context)
        elif isinstance(node, (ast.Constant, ast.UnaryOp)):
            value = _literal(node)
            if isinstance(value, bool):
                yield from self._flag(node, value, context)
            elif value is not None:
                yield from self._number(node, value, context)

    def _flag(self, node: ast.expr, value: bool, context: _Context) -> Iterator[Site]:
        if context.rank != "inner" and context.name not in SEMANTIC_PARAMETERS:
            yield replace(self._site(node, context), options=("False" if value else "True",))

    def _number(self, node: ast.expr, value: float, context: _Context) -> Iterator[Site]:
        site, inner = self._site(node, context), context.rank == "inner"
        if inner and abs(value) <= (MAX_EPSILON if isinstance(value, float) else MAX_DIMENSION):
            return
        if value == 0:
            yield replace(site, options=ZERO_OPTIONS["0.0" if isinstance(value, float) else "0"])
            return
        moving = parse_number(site.text, is_rate(context.name))
        if moving is None:
            return
        yield replace(site, number=moving)
        if moving.scale == "logit" and not inner and may_be_zero(context.name):
            yield replace(site, id=f"{site.id}=0", options=("0.0",))

    def _options(self, node: ast.Assign | ast.AnnAssign, context: _Context) -> Iterator[Site]:
        """Yield the site of an assignment whose line ends in `# one of: a, b, c`."""
        name, value = assigned_name(node), node.value
        if value is None or not name or is_seed(name):
            return
        end = self.source.span(node)[1]
        comment = self.source.data[end : self.source.line_end(end)].decode()
        listed = _ONE_OF.match(comment)
        if listed is not None:
            site = self._site(value, self._value_context(node, context))
            options = islice(_option_texts(listed[1], value, site.text), MAX_OPTIONS)
            yield replace(site, options=tuple(dict.fromkeys(o for o in options if o != site.text)))

    def _site(self, node: ast.expr, context: _Context) -> Site:
        start, end = self.source.span(node)
        label = context.name or f"a value in {context.owner or self.source.path}"
        text = self.source.text(node)
        return Site(
            self._id(context),
            self.source.path,
            context.name,
            context.rank,
            start,
            end,
            text,
            label,
            device=context.device,
        )

    def _id(self, context: _Context) -> str:
        where = context.name or context.statement
        if context.rank == "inner" or (
            context.statement and context.rank == "named" and context.owner
        ):
            where = f"{context.statement}.{context.name}" if context.name else context.statement
        return f"{self.source.path}:{_dotted(context.owner, where)}"

    def _value_context(self, node: ast.Assign | ast.AnnAssign, context: _Context) -> _Context:
        name = assigned_name(node)
        rank: Rank = "named" if name and (context.top or context.rank == "named") else "inner"
        rank = "knob" if context.top and name.isupper() else rank
        return replace(context, name=name, rank=rank, statement=self._statement_key(node))

    def _statement_key(self, node: ast.stmt) -> str:
        """Return a key of a statement's first line without its values: it outlives their change."""
        start, end = self.source.span(node)
        line = self.source.data[start : min(end, self.source.line_end(start))].decode()
        return f"{zlib.crc32(_VALUE_TEXT.sub('', line).encode()):08x}"

    def _children(self, node: ast.AST, context: _Context) -> list[_Pending]:
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            return handler(self, node, context)
        if isinstance(node, ast.stmt):
            context = replace(context, name="", rank="inner", statement=self._statement_key(node))
            return [(below, context) for below in _seedless_children(node)]
        return [(below, context) for below in ast.iter_child_nodes(node)]

    def _class(self, node: ast.ClassDef, context: _Context) -> list[_Pending]:
        inside = _Context(_dotted(context.owner, node.name), rank="named", top=False)
        return [(below, inside) for below in node.body]

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, context: _Context
    ) -> list[_Pending]:
        owner = _dotted(context.owner, node.name)
        below: list[_Pending] = [
            (value, _Context(owner, name, "named", top=False))
            for name, value in _defaults(node.args)
            if not is_seed(name)
        ]
        return below + [(inner, _Context(owner, top=False)) for inner in node.body]

    def _assignment(self, node: ast.Assign | ast.AnnAssign, context: _Context) -> list[_Pending]:
        name = assigned_name(node)
        dunder = name.startswith("__") and name.endswith("__")
        if node.value is None or dunder or names_seed(node):
            return []
        return [(node.value, self._value_context(node, context))]

    def _call(self, node: ast.Call, context: _Context) -> list[_Pending]:
        name = called_name(node)
        if (
            is_seed(name)
            or name in EFFECTLESS_CALLS
            or any(is_seed(k.arg or "") for k in node.keywords)
        ):
            return []
        arguments: list[ast.AST] = [*node.args, *node.keywords]
        if name in SHAPE_CALLS:
            arguments = [a for a in arguments if not isinstance(a, (ast.Constant, ast.UnaryOp))]
        knob = context.rank == "knob"
        context = (
            replace(context, rank="named") if knob else replace(context, name="", rank="inner")
        )
        return [(node.func, context), *((argument, context) for argument in arguments)]

    def _keyword(self, node: ast.keyword, context: _Context) -> list[_Pending]:
        name = node.arg or ""
        hidden = is_seed(name) or name in SEMANTIC_PARAMETERS
        return [] if hidden else [(node.value, replace(context, name=name, rank="named"))]

    def _dict(self, node: ast.Dict, context: _Context) -> list[_Pending]:
        below: list[_Pending] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                below.append((value, context))
            elif not is_seed(key.value):
                knob = context.rank == "knob"
                name = _dotted(context.name, key.value) if knob else key.value
                rank: Rank = context.rank if knob else "named"
                device = key.value if key.value in DEVICES else context.device
                below.append((value, replace(context, name=name, rank=rank, device=device)))
        return below

    def _display(self, node: ast.List | ast.Set | ast.Tuple, context: _Context) -> list[_Pending]:
        rows = any(isinstance(item, (ast.List, ast.Set, ast.Tuple)) for item in node.elts)
        if rows or len(node.elts) > MAX_LISTED:
            context = replace(context, rank="inner")  # coefficients that were computed together
        return [(item, context) for item in node.elts]

    def _operation(self, node: ast.BinOp, context: _Context) -> list[_Pending]:
        if isinstance(node.op, ast.Pow) and isinstance(node.left, ast.Constant):
            return [(node.right, context)]  # in 2**12 only the 12 is meant to change
        return [(node.left, context), (node.right, context)]

    def _subscript(self, node: ast.Subscript, context: _Context) -> list[_Pending]:
        return [(node.value, context)]

    def _case(self, node: ast.match_case, context: _Context) -> list[_Pending]:
        return [(below, context) for below in node.body]

    def _lambda(self, node: ast.Lambda, context: _Context) -> list[_Pending]:
        return [(node.body, replace(context, name="", rank="inner"))]

    def _skip(self, _node: ast.AST, _at: _Context) -> list[_Pending]:
        return []


_HANDLERS: dict[type[ast.AST], Callable[[_Finder, Any, _Context], list[_Pending]]] = {
    ast.AnnAssign: _Finder._assignment,
    ast.Assert: _Finder._skip,
    ast.Assign: _Finder._assignment,
    ast.AsyncFunctionDef: _Finder._function,
    ast.BinOp: _Finder._operation,
    ast.Call: _Finder._call,
    ast.ClassDef: _Finder._class,
    ast.Dict: _Finder._dict,
    ast.FunctionDef: _Finder._function,
    ast.Import: _Finder._skip,
    ast.ImportFrom: _Finder._skip,
    ast.JoinedStr: _Finder._skip,
    ast.Lambda: _Finder._lambda,
    ast.List: _Finder._display,
    ast.Raise: _Finder._skip,
    ast.Set: _Finder._display,
    ast.Subscript: _Finder._subscript,
    ast.Tuple: _Finder._display,
    ast.keyword: _Finder._keyword,
    ast.match_case: _Finder._case,
}
"""How to descend into nodes for which it is not simply all their children."""

_ONE_OF = re.compile(r"[ \t;]*#[ \t]*one of:(.*)")
_VALUE_TEXT = re.compile(r"[\d.]+(e-?\d+)?|\bTrue\b|\bFalse\b|#.*|\s+")


def _literal(node: ast.Constant | ast.UnaryOp) -> bool | int | float | None:
    """Return the flag or (possibly negated) number that `node` is; None for anything else."""
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return None if isinstance(value, bool) else -value
    return None


def _option_texts(listed: str, value: ast.expr, text: str) -> Iterator[str]:
    """Yield a comment's alternatives as source text, quoted as the present value is."""
    quoted = isinstance(value, ast.Constant) and isinstance(value.value, str)
    for item in listed.split(","):
        bare = item.strip().rstrip(".").strip()
        if bare and (not quoted or bare[0] in "\"'"):
            yield bare
        elif re.fullmatch(r"[\w.+-]+", bare):
            yield f"{text[-1]}{bare}{text[-1]}"


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    """Yield each parameter that has a default, with the default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    yield from ((a.arg, value) for a, value in zip(with_default, arguments.defaults, strict=True))
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if value is not None:
            yield argument.arg, value


def _seedless_children(node: ast.stmt) -> list[ast.AST]:
    """Return the children of a statement; only its body if its head names a seed."""
    below = list(ast.iter_child_nodes(node))
    kinds = (ast.stmt, ast.ExceptHandler, ast.match_case)
    if any(names_seed(part) for part in below if not isinstance(part, kinds)):
        return [part for part in below if isinstance(part, kinds)]
    return below


def _dotted(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name
