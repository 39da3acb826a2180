"""Runs a script inside a sandbox: `run_script ROOT:ROOT FILE ARG...`.

With -S no `.pth` file runs and site-packages is not on the path; the import roots are added here.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys
from importlib import machinery

from . import clock  # noqa: F401  # the programs import it as guest.clock

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


class ReadableFinder(machinery.FileFinder):
    """A finder that hides unreadable modules: probing for a package must not raise PermissionError.

    Without mounts a sandbox sees the names of packages that it may not open.
    """

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module, None where it is missing or unreadable."""
        spec = super().find_spec(fullname, target)
        if spec is not None and spec.has_location and spec.origin:
            try:
                os.close(os.open(spec.origin, os.O_RDONLY))
            except PermissionError:
                return None
        return spec


def main() -> None:
    """Run the file as `python FILE ARG...` would."""
    _, roots, *words = sys.argv
    start(roots, words)


def start(roots: str, words: list[str]) -> NoReturn:
    """Run the script and arguments `words` with `roots` to import from, and exit.

    It exits without finalizing the interpreter, which takes 20 ms after importing numpy, and prints
    what Triton leaks after the error that a reader looks for.
    """
    for root in roots.split(":"):
        sys.path_importer_cache[root] = ReadableFinder(root, *LOADERS)
        sys.path += [root] * (root not in sys.path)
    sys.argv[:] = words
    keep_memory()
    status = run_to_end(words[0])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def run_to_end(path: str) -> int:
    """Run the file `path`; return its exit status. An exception is printed last, as by Python."""
    try:
        run(path)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        sys.stdout.flush()
        print(end.code, file=sys.stderr)  # noqa: T201
        return 1
    except BaseException:  # noqa: BLE001  # the program's
        sys.stdout.flush()
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def run(path: str) -> None:
    """Run the file `path` as `__main__`; runpy does so too, but takes 10 ms to import."""
    main = type(sys)("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec")
    exec(code, main.__dict__)  # noqa: S102  # the sandbox exists for this


def keep_memory() -> None:
    """Let glibc keep freed memory for the next step instead of returning it to the kernel.

    Rows of logits exceed what malloc keeps by default: scoring 43,000 tokens on one core took 1.0
    to 1.2 s with this and 1.2 to 1.7 s without. Other C libraries have no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
