"""What of this Python exists inside a box: its prefix, and of site-packages only what is named.

The environment's site-packages holds more than a candidate may see (the corpora arrive as
ordinary packages), so a box sees the distributions that `PACKAGES` need and no others.
`.pth` files run even under `python -I`; so box programs start with -S and `start.py` names the
directories to import from.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "numpy", "safetensors")

START = Path(__file__).with_name("start.py")
INSIDE = Path(__file__).with_name("inside.py")


def python(program: Path, *args: str) -> list[str]:
    """Return the command line for a bare interpreter: no site-packages, no user's settings."""
    return [sys.executable, "-I", "-S", "-B", str(program), *args]


def python_argv(program: Path, *args: str) -> list[str]:
    """Return the command line that runs the box program `program`, which may import PACKAGES.

    `run` lets the box read the file itself; nothing beside it.
    """
    roots = ":".join(str(root) for root in sorted(site_roots()))
    return python(START, roots, str(program), *args)


def program_of(argv: list[str]) -> Path | None:
    """Return the program in a command line made by `python_argv`, None for any other."""
    given = python(START)
    return Path(argv[len(given) + 1]) if argv[: len(given)] == given else None


@cache
def site_entries() -> frozenset[Path]:
    """Return the files and folders in site-packages that belong to PACKAGES and their needs."""
    found: set[Path] = set()
    for each in _closure(PACKAGES):
        root = Path(str(each.locate_file("")))
        record = each.read_text("RECORD") or ""
        names = {re.split(r"[/,]", line, maxsplit=1)[0] for line in record.splitlines()}
        found |= {root / name for name in names if _importable(name) and (root / name).exists()}
    return frozenset(found)


def site_roots() -> frozenset[Path]:
    """Return the directories that hold `site_entries`."""
    return frozenset(path.parent for path in site_entries())


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


def prefixes() -> list[Path]:
    """Return the folders of this interpreter, the environment's and the one it was made from."""
    return [Path(path) for path in {sys.prefix, sys.base_prefix} if not path.startswith("/usr")]


def site_folders() -> list[Path]:
    """Return every folder of installed packages in a box's reach, to be hidden and refilled."""
    trees = [Path("/usr"), Path("/usr/local"), Path(sys.prefix), Path(sys.base_prefix)]
    names = [f"lib*/python3*/{kind}-packages" for kind in ("site", "dist")]
    return [each for tree in trees for name in names for each in tree.glob(name) if _plain(each)]


def _plain(folder: Path) -> bool:
    """Say whether it is a folder by its own name: lib64 is often a link to lib."""
    return folder.is_dir() and not any(p.is_symlink() for p in (folder, *folder.parents[:2]))
