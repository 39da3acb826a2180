"""The names that a reader meets: one meaning each, and a first line that says what a module is."""

import ast
import re
from collections import defaultdict
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for package in ("swarm", "analysis", "islands", "harness")
    for path in sorted((ROOT / package).rglob("*.py"))
]


@cache
def trees():
    """Return the syntax tree of each of our files by its path."""
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in FILES}


def test_no_two_public_classes_share_a_name():
    """Generation zero (islands/seeds) is a user's file, so it may use the names of its field."""
    places = defaultdict(list)
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path))
    assert len(places) > 200
    ours = {name: [p for p in paths if "seeds" not in p] for name, paths in places.items()}
    assert {name: paths for name, paths in ours.items() if len(paths) > 1} == {}


def test_every_function_has_a_name():
    """A handler called `_` says nothing in a traceback."""
    names = [
        (str(path), node.lineno, node.name)
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(names) > 1000
    assert [each for each in names if not each[2].strip("_")] == []


def test_every_module_says_what_it_is():
    """The first line is a statement: no question, and short enough for one line."""
    firsts = {
        str(path): (ast.get_docstring(tree) or "").split("\n")[0] for path, tree in trees().items()
    }
    assert [path for path, first in firsts.items() if not first] == []
    riddle = re.compile(r"(What|Who|Whom|Whose|Whether|Which|Where|When|How|Why)\b")
    assert {path: first for path, first in firsts.items() if riddle.match(first)} == {}


def test_every_package_says_who_may_import_it():
    """In its first sentences; the import contracts of pyproject.toml enforce it."""
    packages = {str(path): tree for path, tree in trees().items() if path.name == "__init__.py"}
    assert len(packages) > 20
    silent = [p for p, tree in packages.items() if "mport" not in (ast.get_docstring(tree) or "")]
    assert silent == []


def test_no_module_imports_itself_by_way_of_others():
    """So each command can be the first to import anything, which no test then needs to try."""
    modules = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): tree
        for path, tree in trees().items()
    }
    graph = {name: set(_imported(tree)) & {*modules} - {name} for name, tree in modules.items()}
    assert sum(map(len, graph.values())) > 500
    assert set(TopologicalSorter(graph).static_order()) == {*modules}


def _imported(tree):
    """Yield what importing a module imports: names in functions and for type checkers are not."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.If(test=ast.Name()):
                pass
            case _:
                waiting.extend(ast.iter_child_nodes(node))
