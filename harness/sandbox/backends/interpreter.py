"""What of this Python exists inside a box: its prefix, and of site-packages only what is named.

The environment's site-packages holds more than a candidate may see (the corpora arrive as
ordinary packages), so a box sees the distributions that `PACKAGES`, or `PLAIN`, need and no others.
`.pth` files run even under `python -I`; so box programs start with -S, and `within.program` names
the directories to import from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "numpy", "safetensors")

PLAIN = ("numpy",)
"""The same where nobody imports torch: each entry of site-packages is a mount, and here are 2 and
not 17."""

WITHIN = Path(__file__).parents[1] / "guest"


def within(module: str, *args: str) -> list[str]:
    """Return the command line that runs a module of `within` in a bare interpreter."""
    return [sys.executable, "-I", "-S", "-B", str(WITHIN / "__main__.py"), module, *args]


def python_argv(program: Path, *args: str) -> list[str]:
    """Return the command line that runs the box program `program`, which may import `PACKAGES`.

    `run` lets the box read the file itself; nothing beside it.
    """
    return within("run_script", roots(), str(program), *args)


def program_words(argv: Sequence[str]) -> list[str] | None:
    """Return the program and its arguments in what `python_argv` made, None in anything else."""
    start = within("run_script", roots())
    return list(argv[len(start) :]) if list(argv[: len(start)]) == start else None


@cache
def site_entries(*, torch: bool = True) -> frozenset[Path]:
    """Return the files and folders in site-packages that `PACKAGES`, or `PLAIN`, need."""
    found: set[Path] = set()
    for each in _closure(PACKAGES if torch else PLAIN):
        root = Path(str(each.locate_file("")))
        record = each.read_text("RECORD") or ""
        names = {re.split(r"[/,]", line, maxsplit=1)[0] for line in record.splitlines()}
        found |= {root / name for name in names if _importable(name) and (root / name).exists()}
    return frozenset(found)


def roots() -> str:
    """Return the directories that hold `site_entries`, joined by colons."""
    return ":".join(sorted({str(path.parent) for path in site_entries()}))


def _importable(name: str) -> bool:
    return name not in ("", "..", "__pycache__") and not name.endswith((".pth", ".dist-info"))


def _closure(names: tuple[str, ...]) -> list[metadata.Distribution]:
    """Return the installed distributions among `names` and all that they require, extras not."""
    waiting, found = list(names), dict[str, metadata.Distribution]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        try:
            found[name] = found[name] if name in found else metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a requirement of another platform
        needs = [need for need in found[name].requires or () if "extra ==" not in need]
        stems = [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs]
        waiting += [s for s in stems if re.sub(r"[-_.]+", "-", s).lower() not in found]
    return list(found.values())


@cache
def prefixes() -> tuple[Path, ...]:
    """Return the folders of this interpreter, the environment's and the one it was made from."""
    given = sorted({sys.prefix, sys.base_prefix})
    return tuple(Path(path) for path in given if not path.startswith("/usr"))


@cache
def site_folders() -> tuple[Path, ...]:
    """Return every folder of installed packages in a box's reach, to be hidden and refilled."""
    trees = [Path("/usr"), Path("/usr/local"), Path(sys.prefix), Path(sys.base_prefix)]
    names = [f"lib*/python3*/{kind}-packages" for kind in ("site", "dist")]
    found = (each for tree in trees for name in names for each in tree.glob(name))
    return tuple(sorted({each for each in found if _plain(each)}))


def _plain(folder: Path) -> bool:
    """Say whether it is a folder by its own name: lib64 is often a link to lib."""
    return folder.is_dir() and not any(p.is_symlink() for p in (folder, *folder.parents[:2]))
