"""Reads a script that measures something: names of the numbers it prints, files that it measures.

Both are guesses that a person confirms: they become defaults of a question, or a command to copy.

Not covered: names that are put together at run time, files that are found by a search.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from harness.problem.measures import is_measured

_LOWER_IS_BETTER = (
    "loss", "error", "err", "bpb", "perplexity", "ppl", "rmse", "mse", "mae", "cost", "seconds",
    "second", "secs", "sec", "ms", "us", "ns", "time", "latency", "bytes", "size", "mib", "mb",
    "kb", "lines", "length", "gap", "regret", "misses", "failures", "tokens", "wall", "peak",
    "memory", "p50", "p95", "p99",
)  # fmt: skip
_HIGHER_IS_BETTER = (
    "ops", "score", "accuracy", "acc", "f1", "auc", "recall", "precision", "rate", "speed",
    "speedup", "throughput", "reward", "rps", "qps", "fps", "clicks", "conversions", "opens",
    "profit", "gain", "hits", "wins", "per",
)  # fmt: skip

_NAME = r"[A-Za-z_][\w./%-]{0,40}"
_PRINTED = (
    re.compile(rf"METRIC\s+({_NAME})="),
    # print(f"name: {x}"), print("name", x), console.log(`name=${x}`), printf("name %.3f")
    re.compile(
        rf"""(?:print|log|echo|write|puts)\w*[^\w\n]{{0,4}}(?:[fFrR]["'])?({_NAME})"""
        r"""(?:\s*[:= ]\s*(?:\$?\{|%)|\s*[:=]?\s*["'],)"""
    ),
    # sh: echo "name: $x"
    re.compile(rf"""echo\s+["']?({_NAME})\s*[:=]\s*\$"""),
)
_JSON_CALL = re.compile(r"(?:json\.dumps|JSON\.stringify)\(\s*\{([^}]*)\}", re.DOTALL)
_JSON_KEY = re.compile(rf"""["']?({_NAME})["']?\s*:""")
_REQUIRED = re.compile(
    r"""(?:require\(\s*|import\(\s*|from\s+|import\s+)["'](\.{1,2}/[^"']+)["']"""
)
_QUOTED = re.compile(r"""["'`]([^"'`\s]{1,200})["'`]""")

_GENOME_SUFFIXES = frozenset((
    ".c", ".cc", ".cpp", ".cu", ".go", ".h", ".java", ".jinja", ".js", ".md", ".mjs", ".prompt",
    ".py", ".rs", ".sh", ".sql", ".tmpl", ".ts", ".txt", ".yaml", ".yml",
))  # fmt: skip
"""Suffixes of files that a script may read and that a candidate may usefully change."""

_SCRIPT_FOLDERS = ("", "src", "lib")


def printed_names(text: str) -> tuple[str, ...]:
    """Return the names of numbers that the script `text` seems to print, in its order."""
    found: list[tuple[int, str]] = []
    for pattern in _PRINTED:
        found += [(match.start(1), match[1]) for match in pattern.finditer(text)]
    for call in _JSON_CALL.finditer(text):
        keys = _JSON_KEY.finditer(call[1])
        found += [(call.start(1) + match.start(1), match[1]) for match in keys]
    return tuple(dict.fromkeys(name for _, name in sorted(found)))


def better(metric: str) -> str:
    """Return maximize or minimize as the metric's name suggests, "" where it suggests neither."""
    words = re.findall(r"[a-z]+\d*", re.sub(r"([a-z])([A-Z])", r"\1 \2", metric).lower())
    if is_measured(metric):
        return "minimize"
    if metric.endswith("/s") or any(word in _HIGHER_IS_BETTER for word in words):
        return "maximize"
    return "minimize" if any(word in _LOWER_IS_BETTER for word in words) else ""


def measured_files(script: str, text: str, files: Collection[str]) -> tuple[str, ...]:
    """Return those `files` that `script`, whose text is `text`, seems to measure.

    They are the modules of the repository that it imports, or else the files that it names.
    """
    suffix = PurePosixPath(script).suffix
    imported = _python_modules(script, text, files) if suffix == ".py" else _required(script, text)
    found = [path for path in dict.fromkeys(imported) if path in files and path != script]
    return tuple(found or _named(script, text, files))


def _python_modules(script: str, text: str, files: Collection[str]) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield from _module(name, script, files)


def _module(name: str, script: str, files: Collection[str]) -> Iterator[str]:
    """Yield the file of the longest leading part of a dotted `name` that the repository has."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        stem = "/".join(parts[:length])
        for folder in dict.fromkeys((posixpath.dirname(script), *_SCRIPT_FOLDERS)):
            path = posixpath.join(folder, stem)
            for file in (f"{path}.py", f"{path}/__init__.py"):
                if file in files:
                    yield file
                    return


def _required(script: str, text: str) -> Iterator[str]:
    """Yield paths that a JavaScript or TypeScript file may mean by a relative import."""
    for name in _REQUIRED.findall(text):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(script), name))
        yield from (path, f"{path}.js", f"{path}.mjs", f"{path}.ts", f"{path}/index.js")


def _named(script: str, text: str, files: Collection[str]) -> list[str]:
    folder = posixpath.dirname(script)
    places = [
        path
        for name in _QUOTED.findall(text)
        for path in (posixpath.normpath(posixpath.join(folder, name)), posixpath.normpath(name))
    ]
    suited = (path for path in places if PurePosixPath(path).suffix in _GENOME_SUFFIXES)
    return [path for path in dict.fromkeys(suited) if path in files and path != script]
