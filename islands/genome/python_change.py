"""Hunks of a change of Python code, read by syntax tree.

Layout, comments, docstrings and the names of local variables do not matter.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from islands.genome.hunks import Hunk, alike, common, differences
from islands.genome.syntax_diff import parse

CONTEXT = 1
"""Statements on each side of a hunk that belong to it. With three, as many as git shows, a keep in
one of six neighbours made every old attempt another change: of a list of settings, most."""

_NEW_NAME = re.compile("\0([^\0]*)\0")

_SILENT = {"ctx", "kind", "type_comment"}
"""Fields of a syntax node that say nothing of what is computed."""


class _Piece(NamedTuple):
    """A statement without its blocks, or the beginning of a block.

    `root` is the outermost function that it belongs to, whose local names are told apart.
    """

    node: ast.AST | str
    scope: str
    root: str


def python_hunks(before: bytes, after: bytes) -> list[Hunk]:
    """Return the hunks between two versions of a file. Raises NotPythonError."""
    sides = _differing(before, after)
    had, has = (_locals(side) for side in sides)
    old, new = ([piece for each in side for piece in each.pieces] for side in sides)
    names = {root: _renamed(root, old, new, had.get(root, set()), has[root]) for root in has}
    old_forms = [form for statement in sides[0] for form in statement.forms]
    new_forms = [
        form
        for statement in sides[1]
        for form in (
            [_form_of(piece, names.get(piece.root, {})) for piece in statement.pieces]
            if any(names.get(piece.root) for piece in statement.pieces)
            else statement.forms
        )
    ]
    hunks = [
        Hunk(
            (new[c:d] or old[a:b])[0].scope,
            tuple(old_forms[max(0, a - CONTEXT) : a]),
            tuple(old_forms[a:b]),
            tuple(new_forms[c:d]),
            tuple(old_forms[b : b + CONTEXT]),
        )
        for a, b, c, d in differences(old_forms, new_forms)
    ]
    return _numbered(hunks)


class _Statement:
    """A statement of a file, and what is read from it once: a head meets many candidates.

    text: its lines
    pieces: itself, and the statements of its blocks
    forms: those of its pieces, no name replaced
    names: names bound, and names that are said not to be local, by the root of their piece
    """

    def __init__(self, node: ast.stmt, text: list[bytes]) -> None:
        self.text, self._node = text, node

    @cached_property
    def pieces(self) -> list[_Piece]:
        return [*_pieces([self._node], "", "")]

    @cached_property
    def forms(self) -> list[str]:
        return [_form_of(piece, {}) for piece in self.pieces]

    @cached_property
    def names(self) -> dict[str, tuple[set[str], set[str]]]:
        found: dict[str, tuple[set[str], set[str]]] = {}
        for piece in self.pieces:
            if isinstance(piece.node, str):
                continue
            bound, shared = found.setdefault(piece.root, (set(), set()))
            for node in _own(piece.node):
                if isinstance(node, _BINDING):
                    binds, shares = _bound(node, in_function=bool(piece.root))
                    bound |= binds
                    shared |= shares
        return found


def _differing(before: bytes, after: bytes) -> tuple[list[_Statement], list[_Statement]]:
    """Return the statements between those that both files begin and end with, and CONTEXT more.

    Statements are told apart by their text first: most of a file does not change.
    """
    old, new = _statements(before), _statements(after)
    start, end = common([each.text for each in old], [each.text for each in new])
    start, end = max(0, start - CONTEXT), max(0, end - CONTEXT)
    return old[start : len(old) - end], new[start : len(new) - end]


@lru_cache(maxsize=16)  # a head is compared with many candidates
def _statements(source: bytes) -> list[_Statement]:
    """Return a file's statements that do something. Raises NotPythonError."""
    lines = source.splitlines()
    return [
        _Statement(each, lines[_first_line(each) - 1 : each.end_lineno])
        for each in parse(source).body
        if not _is_silent(each)
    ]


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _is_silent(node: ast.AST) -> bool:
    """Return whether a statement does nothing: `pass`, a docstring or another constant."""
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant or isinstance(node, ast.Pass)


def _pieces(body: Iterable[ast.AST], scope: str, root: str) -> Iterator[_Piece]:
    """Yield the statements of a block and of all blocks in it, in order."""
    for node in body:
        if _is_silent(node):
            continue
        inner, inner_root = scope, root
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}.{node.name}"
            if not isinstance(node, ast.ClassDef):
                inner_root = root or inner
        yield _Piece(node, scope, inner_root)
        for field, block in ast.iter_fields(node):
            if _is_block(block):
                if field != "body":  # a body stands right below its header
                    yield _Piece(field, inner, inner_root)
                yield from _pieces(block, inner, inner_root)
                yield _Piece("end", inner, inner_root)


def _is_block(value: object) -> bool:
    kinds = ast.stmt | ast.excepthandler | ast.match_case
    return isinstance(value, list) and bool(value) and isinstance(value[0], kinds)


def _locals(statements: Iterable[_Statement]) -> dict[str, set[str]]:
    """Return the names that are local to each function; under "", to comprehensions and lambdas."""
    names: dict[str, set[str]] = {"": set()}
    shared: dict[str, set[str]] = {}
    for statement in statements:
        for root, (bound, outer) in statement.names.items():
            names.setdefault(root, set()).update(bound)
            shared.setdefault(root, set()).update(outer)
    return {root: found - shared.get(root, set()) for root, found in names.items()}


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield `node` and what is in it, but for the statements of its blocks; in any order.

    `ast.iter_child_nodes` takes several times as long.
    """
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        for value in vars(each).values():
            children = value if isinstance(value, list) else (value,)
            waiting += [
                child
                for child in children
                if isinstance(child, ast.AST) and not isinstance(child, _APART)
            ]


_APART = (ast.stmt, ast.excepthandler, ast.match_case, ast.expr_context, ast.operator)
"""Nodes that are pieces of their own, or bind no name."""

_BINDING = (
    ast.Global,
    ast.arg,
    ast.comprehension,
    ast.Name,
    ast.ExceptHandler,
    ast.MatchAs,
    ast.MatchStar,
)
"""Nodes that may bind a name, or say that one is not local."""


def _bound(node: ast.AST, *, in_function: bool) -> tuple[set[str], set[str]]:
    """Return the local names that `node` itself binds, and those that it says are not local."""
    bound, shared = set[str](), set[str]()
    match node:
        case ast.Global(names=names):
            shared = {*names}
        case ast.arg(arg=name):
            bound = {name}
        case ast.comprehension(target=target):
            bound = _stored(target)
        case ast.Name(id=name, ctx=ast.Store()) if in_function:
            bound = {name}
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
        ) if in_function:
            bound = {name}
    return bound, shared


def _stored(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _renamed(
    root: str, old: Sequence[_Piece], new: Sequence[_Piece], had: set[str], has: set[str]
) -> dict[str, str]:
    """Return for each new local name of a function its former name, or a mark that it is new.

    Its former name stands in the same places of otherwise equal statements; most places win.
    """
    gone, come = had - has, has - had
    votes = Counter[tuple[str, str]]()
    if gone and come:
        sides = [
            [_masked(piece, names) for piece in pieces if piece.root == root]
            for pieces, names in ((old, had), (new, has))
        ]
        first, second = ([form for form, _ in side] for side in sides)
        for a, b, size in alike(first, second):
            for n in range(size):
                votes.update(zip(sides[0][a + n][1], sides[1][b + n][1], strict=True))
    names: dict[str, str] = {}
    for (former, name), _ in sorted(votes.items(), key=lambda item: (-item[1], item[0])):
        if former in gone and name in come and name not in names:
            names[name] = former
            gone.discard(former)
    return names | {name: f"\0{name}\0" for name in come if name not in names}


def _masked(piece: _Piece, names: set[str]) -> tuple[str, list[str]]:
    """Return a piece's form with a mask for each of `names`, and the names in their order."""
    found: list[str] = []

    def mask(name: str) -> str:
        if name not in names:
            return name
        found.append(name)
        return "?"

    return piece.node if isinstance(piece.node, str) else _form(piece.node, mask), found


def _form_of(piece: _Piece, names: Mapping[str, str]) -> str:
    if isinstance(piece.node, str):
        return f"{piece.node}:"
    return _form(piece.node, lambda name: names.get(name, name), whole=False)


def _form(node: ast.AST, name_of: Callable[[str], str], *, whole: bool = True) -> str:
    """Return a node as text; `name_of` says how a variable's name is written.

    Without its blocks unless it is `whole`; where the node stands in the file is left out.
    """
    parts: list[str] = []
    for field in node._fields:
        value = getattr(node, field, None)
        if field in _SILENT or value is None:
            continue
        if _is_block(value):
            if whole:
                parts.extend(_form(each, name_of) for each in value if not _is_silent(each))
        elif isinstance(value, ast.AST):
            parts.append(_form(value, name_of, whole=whole))
        elif isinstance(value, list):
            items = (
                _form(v, name_of, whole=whole) if isinstance(v, ast.AST) else repr(v) for v in value
            )
            parts.append(f"[{','.join(items)}]")
        elif (type(node), field) in _NAMES:
            parts.append(name_of(value))
        else:
            parts.append(repr(value))
    return f"{type(node).__name__}({' '.join(parts)})"


_NAMES = {
    (ast.Name, "id"),
    (ast.arg, "arg"),
    (ast.ExceptHandler, "name"),
    (ast.MatchAs, "name"),
    (ast.MatchStar, "name"),
}
"""Fields of syntax nodes that hold a variable's name."""


def _numbered(hunks: Iterable[Hunk]) -> list[Hunk]:
    """Return the hunks with new local names replaced by their numbers in order of appearance."""
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return numbers.setdefault(match[1], f"${len(numbers)}")

    return [
        hunk._replace(added=tuple(_NEW_NAME.sub(number, form) for form in hunk.added))
        for hunk in hunks
    ]
