"""The part of this Python that exists inside a sandbox: its prefix and named packages.

site-packages holds more than a candidate may see (the corpora arrive as ordinary packages), so a
sandbox sees the distributions that `TORCH_PACKAGES` or `NUMPY_PACKAGES` need and no others. `.pth`
files run even under `python -I`; so sandboxed programs start with -S, and `guest.run_script` adds
the directories to import from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

TORCH_PACKAGES = ("torch", "numpy", "safetensors")

NUMPY_PACKAGES = ("numpy",)
"""For tasks without torch: each entry of site-packages is a mount, 2 here instead of 17."""

GUEST = Path(__file__).parents[1] / "guest"


def guest_argv(module: str, *args: str) -> list[str]:
    """Return the command line that runs a module of `guest` in a bare interpreter."""
    return [sys.executable, "-I", "-S", "-B", str(GUEST / "__main__.py"), module, *args]


def python_argv(program: Path, *args: str) -> list[str]:
    """Return the command line that runs the script `program` in a sandbox.

    The script may import `TORCH_PACKAGES`. `run` lets the sandbox read the file, not its folder.
    """
    return guest_argv("run_script", import_roots(), str(program), *args)


def program_words(argv: Sequence[str]) -> list[str] | None:
    """Return the script and arguments of a command made by `python_argv`, None for any other."""
    start = guest_argv("run_script", import_roots())
    return list(argv[len(start) :]) if list(argv[: len(start)]) == start else None


@cache
def site_entries(*, torch: bool = True) -> frozenset[Path]:
    """Return the entries of site-packages that the packages and their requirements need."""
    entries: set[Path] = set()
    for distribution in _closure(TORCH_PACKAGES if torch else NUMPY_PACKAGES):
        root = _placed(Path(str(distribution.locate_file(""))))
        record = distribution.read_text("RECORD") or ""
        names = {re.split(r"[/,]", line, maxsplit=1)[0] for line in record.splitlines()}
        entries |= {root / name for name in names if _importable(name) and (root / name).exists()}
    return frozenset(entries)


def import_roots() -> str:
    """Return the directories that hold `site_entries`, joined by colons."""
    return ":".join(sorted({str(path.parent) for path in site_entries()}))


def _importable(name: str) -> bool:
    return name not in ("", "..", "__pycache__") and not name.endswith((".pth", ".dist-info"))


def _closure(names: tuple[str, ...]) -> list[metadata.Distribution]:
    """Return the installed distributions of `names` and all they require.

    Of the optional requirements only those that somebody asks for: torch takes most of CUDA's
    libraries from the extras of `cuda-toolkit`.
    """
    waiting: list[tuple[str, str]] = [(name, "") for name in names]
    found = dict[tuple[str, str], metadata.Distribution]()
    while waiting:
        name, extra = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a requirement of another platform
        found[name, extra] = distribution
        for need in distribution.requires or ():
            named = _EXTRA.findall(need)
            if (extra in named) if named else not extra:
                waiting += [one for one in _required(need) if one not in found]
    return list({name: distribution for (name, _), distribution in found.items()}.values())


_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']*)["']""")


def _required(need: str) -> list[tuple[str, str]]:
    """Return a requirement's name with no extra, and with each one that it asks for."""
    match = re.match(r"([\w.-]+)\s*(?:\[([^]]*)\])?", need)
    if match is None:
        return []
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    return [(name, ""), *[(name, extra.strip()) for extra in (match[2] or "").split(",") if extra]]


@cache
def prefixes() -> tuple[Path, ...]:
    """Return this interpreter's prefixes: the environment's and its base interpreter's."""
    given = sorted({sys.prefix, sys.base_prefix})
    return tuple(Path(path) for path in given if not path.startswith("/usr"))


@cache
def site_folders() -> tuple[Path, ...]:
    """Return every package folder that a sandbox would see, to be hidden and refilled."""
    trees = [Path("/usr"), Path("/usr/local"), Path(sys.prefix), Path(sys.base_prefix)]
    names = [f"lib*/python3*/{kind}-packages" for kind in ("site", "dist")]
    folders = (folder for tree in trees for name in names for folder in tree.glob(name))
    return tuple(sorted({_placed(folder) for folder in folders if folder.is_dir()}))


def _placed(folder: Path) -> Path:
    """Return where a package folder lies: it may be a link, and lib64 is often one to lib.

    Nothing can be mounted under a link of a tree that is mounted read-only.
    """
    linked = any(path.is_symlink() for path in (folder, *folder.parents[:2]))
    return folder.resolve() if linked else folder
