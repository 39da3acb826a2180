"""Syntactic comparison of two versions of a Python file: the same, other seeds only, or changed.

Comments, layout, docstrings and `pass` have no effect. A change of seeds only changes which noise a
trial draws: it can win by luck and teaches nothing. Seeds are recognised by name (`SEED = 1`,
`seed=2`, `{"seed": 3}`, `--seed`, `random_state=4`) and by call (`manual_seed(5)`,
`default_rng(6)`); whatever is bound to such a name or passed to such a call is left out of the
comparison. A count of seeds is a change, and so is a seed that is computed: `NUM_SEEDS = 17`,
`seeds = lattice(26)`. Other languages are compared by islands/genome/text_diff.py.

Not covered: a seed under another name, or passed by position to a function of the genome's own;
random numbers drawn and discarded to shift a stream. Trials on fresh seeds, which the harness
chooses, take care of those; refusing a change of seeds only saves the slice's time.
"""

from __future__ import annotations

import ast
import io
import threading
import tokenize
import warnings
from collections.abc import Sequence
from itertools import takewhile

from islands.genome.edit_effect import EditEffect
from islands.genome.seed_names import is_plural
from islands.genome.seed_names import is_seed_name as _is_seed
from islands.genome.structured_data import NotParsedError
from islands.genome.text_diff import compare_text

MAX_DEPTH = 100
"""Levels of nested syntax nodes. `ast.NodeTransformer` takes three of Python's 1,000 stack frames a
level. The deepest of 1,209 files of Python's library and torch.nn has 33 levels."""

MAX_NODES = 60_000
"""Syntax nodes of a file, which bounds the time of a comparison. The largest file of Python's
library, 264 kB, has 49,403."""

_SEEDED_CALLS = {"default_rng", "RandomState", "SeedSequence", "PRNGKey", "Random", "PCG64"}
_RANDOM_MODULES = {"random", "numpy", "torch"}

_SPELLING = {"kind", "type_comment"}
"""Fields of a syntax node that have no effect: the u of u"text", and type comments."""

_PARSING = threading.Lock()
"""Held around `warnings.catch_warnings`, which is not thread-safe."""


class NotPythonError(NotParsedError):
    """Text that Python cannot parse, or that exceeds our limits; the message is one line."""

    def __init__(self, reason: str) -> None:
        super().__init__("Python", reason)


def compare(path: str, before: bytes, after: bytes) -> EditEffect:
    """Return what the edit of the file at `path` may change; pass b"" for an absent file.

    Raises NotParsedError where `after` does not parse and the file's language has a parser; only
    for Python also where `before` did not parse either.
    """
    if not path.lower().endswith(".py"):
        return compare_text(path, before, after)
    tree = parse(after)
    try:
        former = parse(before)
    except NotPythonError:
        return "changed"
    _drop_common_ends(former.body, tree.body)
    if _is_equal(_DropNoOps().visit(former), _DropNoOps().visit(tree)):
        return "same"
    seedless = _is_equal(_DropSeeds().visit(former), _DropSeeds().visit(tree))
    return "reseeded" if seedless else "changed"


def without_no_ops(tree: ast.Module) -> ast.Module:
    """Return `tree` without docstrings and other statements that do nothing."""
    dropped: ast.Module = _DropNoOps().visit(tree)
    for node in ast.walk(dropped):
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]  # a block of statements
    return ast.fix_missing_locations(dropped)


def parse(source: bytes) -> ast.Module:
    """Return the syntax tree of UTF-8 Python source. Raises NotPythonError."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        if encoding not in {"utf-8", "utf-8-sig"}:
            raise NotPythonError(f"line 1: declares the encoding {encoding}, not utf-8")
        with _PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        raise NotPythonError(f"line {error.lineno or 1}: {error.msg}") from None
    except (MemoryError, RecursionError):
        raise NotPythonError("nested too deeply") from None
    except ValueError as error:  # null bytes, before Python 3.12
        raise NotPythonError(str(error)) from None
    _check_size(tree)
    return tree


def _check_size(tree: ast.AST) -> None:
    """Raise NotPythonError where `tree` exceeds MAX_NODES or MAX_DEPTH.

    Works level by level: deep syntax would exhaust the stack of a recursive walk.
    """
    nodes, level = 0, [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        nodes += len(level)
        if nodes > MAX_NODES:
            raise NotPythonError(f"more than {MAX_NODES:,} syntax nodes")
    if level:
        raise NotPythonError(f"nested more than {MAX_DEPTH} levels deep")


def _drop_common_ends(one: list[ast.stmt], other: list[ast.stmt]) -> None:
    """Remove, in place, the statements that both lists begin with and both end with.

    What a comparison leaves out of a statement does not depend on its neighbours, so this changes
    no result. Without it a genome of 420 lines took 20 ms a candidate.
    """
    for step in (1, -1):
        pairs = zip(one[::step], other[::step], strict=False)
        alike = sum(1 for _ in takewhile(lambda pair: _is_equal(*pair), pairs))
        for side in (one, other):
            side[:] = side[alike:] if step > 0 else side[: len(side) - alike]


def _is_equal(one: ast.AST, other: ast.AST) -> bool:
    """Return whether two syntax trees are equal, wherever in the text their nodes stand."""
    pairs: list[tuple[object, object]] = [(one, other)]
    while pairs:
        a, b = pairs.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, ast.AST):
            fields = [name for name in a._fields if name not in _SPELLING]
            pairs.extend((getattr(a, name, None), getattr(b, name, None)) for name in fields)
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs.extend(zip(a, b, strict=True))
        elif a != b:
            return False
    return True


class _DropNoOps(ast.NodeTransformer):
    """Removes statements without effect: docstrings, bare constants, `pass`."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Pass(self, node: ast.Pass) -> None:
        """Remove `pass`."""


class _DropSeeds(_DropNoOps):
    """Removes seeds, statements that only set one, and imports of random modules."""

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return self._assignment(node, node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return self._assignment(node, [node.target])

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | None:
        return self._assignment(node, [node.target])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        seeded = _is_seed_target(node.target) and _is_seed_value(node.value, [node.target])
        return node.target if seeded else self.generic_visit(node)

    def _assignment(
        self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, targets: list[ast.expr]
    ) -> ast.AST | None:
        value = node.value
        if not all(map(_is_seed_target, targets)) or not _is_seed_value(value, targets):
            return self.generic_visit(node)
        if isinstance(value, ast.List | ast.Tuple | ast.Set):  # how many there are counts
            node.value = ast.Tuple([ast.Constant(0)] * len(value.elts), ast.Load())
            return node
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        call = isinstance(node.value, ast.Call) and _is_seeding_call(node.value)
        return None if call else super().visit_Expr(node)

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        node.names = [name for name in node.names if not _is_random(name.name)]
        return node if node.names else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if _is_random(node.module or "") else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        return node if node.body or node.orelse else None

    def visit_Call(self, node: ast.Call) -> ast.AST:
        named = [number for number, arg in enumerate(node.args) if _is_seed_key(arg)]
        if _is_seeding_call(node):
            node.args, node.keywords = [], []
        elif named:  # as in add_argument("--seed", default=1): what follows the name is the seed
            node.args, node.keywords = node.args[: named[0] + 1], []
        return self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        seeded = node.arg and _is_seed(node.arg) and _is_seed_value(node.value, node.arg)
        return None if seeded else self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        positional = [*node.posonlyargs, *node.args][-len(node.defaults) or None :]
        pairs = zip(positional, node.defaults, strict=False)
        node.defaults = [_without_seed_default(arg, default) for arg, default in pairs]
        keyword_only = zip(node.kwonlyargs, node.kw_defaults, strict=True)
        node.kw_defaults = [
            value and _without_seed_default(arg, value) for arg, value in keyword_only
        ]
        return self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        pairs = zip(node.keys, node.values, strict=True)
        node.values = [
            key if key and _is_seed_key(key) and _is_seed_value(value, [key]) else value
            for key, value in pairs
        ]
        return self.generic_visit(node)


def _is_seed_target(target: ast.expr) -> bool:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _is_seed(name)
        case ast.Subscript(slice=key):
            return _is_seed_key(key)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return all(map(_is_seed_target, parts))
    return False


def _is_seed_key(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_seed(node.value)


def _is_seeding_call(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _SEEDED_CALLS or (_is_seed(name) and not is_plural(name))
    return False


_ARITHMETIC = (
    ast.Constant, ast.UnaryOp, ast.BinOp, ast.List, ast.Tuple, ast.Set,
    ast.operator, ast.unaryop, ast.expr_context,
)  # fmt: skip


def _is_seed_value(value: ast.expr | None, bound_to: str | Sequence[ast.expr]) -> bool:
    """Return whether `value` is a literal, or arithmetic of literals and seeds.

    A single number that is bound to a plural, as in `seeds = 8`, is a count.
    """
    if value is None:
        return True
    names = [bound_to] if isinstance(bound_to, str) else [_bound_name(part) for part in bound_to]
    collection = isinstance(value, ast.List | ast.Tuple | ast.Set)
    if not collection and any(is_plural(name) for name in names):
        return False
    return all(
        isinstance(node, _ARITHMETIC) or (isinstance(node, ast.Name) and _is_seed(node.id))
        for node in ast.walk(value)
    )


def _bound_name(target: ast.expr) -> str:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return ""


def _is_random(module: str) -> bool:
    return module.partition(".")[0] in _RANDOM_MODULES


def _without_seed_default(arg: ast.arg, default: ast.expr) -> ast.expr:
    seeded = _is_seed(arg.arg) and _is_seed_value(default, arg.arg)
    return ast.Constant(None) if seeded else default
