"""Starts a box program: `program ROOT:ROOT FILE ARG...`.

With -S no `.pth` file runs and no site-packages is on the path; the roots are put there here.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys
from importlib import machinery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import NoReturn

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

LOADERS = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)


class OpenDescriptors(machinery.FileFinder):
    """Finds what may be opened: who asks whether a package is there wants no PermissionError.

    Without mounts a box sees the names of packages that are shut to it.
    """

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a module is, None where there is none for us."""
        found = super().find_spec(fullname, target)
        if found is not None and found.has_location and found.origin:
            try:
                os.close(os.open(found.origin, os.O_RDONLY))
            except PermissionError:
                return None
        return found


def main() -> None:
    """Run the file as if it had been started itself."""
    _, roots, *words = sys.argv
    start(roots, words)


def start(roots: str, words: list[str]) -> NoReturn:
    """Run the box program `words` with `roots` to import from, and end.

    Taking an interpreter apart that has imported numpy takes it 20 ms, for nobody.
    """
    for root in roots.split(":"):
        sys.path_importer_cache[root] = OpenDescriptors(root, *LOADERS)
        sys.path += [root] * (root not in sys.path)
    sys.argv[:] = words
    keep_memory()
    run(words[0])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def run(path: str) -> None:
    """Run the file `path` as `__main__`; runpy does so too, but takes 10 ms to import."""
    main = type(sys)("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec")
    exec(code, main.__dict__)  # noqa: S102  # it is what the box is for


def keep_memory() -> None:
    """Let glibc keep freed memory for the next step instead of handing it back page by page.

    Rows of logits are larger than what malloc keeps by default: scoring 43,000 tokens on one core
    took 1.0 to 1.2 s with this and 1.2 to 1.7 s without it. Elsewhere there is no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
