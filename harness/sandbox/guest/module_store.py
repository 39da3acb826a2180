"""Modules held in memory, for sandboxes that have no files to import from.

The zygote reads the standard library and the named packages once, some 60 MB of byte code where
torch is among them; copies share these pages. Extension modules cannot be loaded from memory, so
those of the standard library and of numpy are imported ahead.

Not covered: data files of packages, and the source that `inspect` and torch.jit.script read of a
package's functions; torch's compiler, which needs a toolchain.
"""

from __future__ import annotations

import importlib
import marshal
import os
import sys
from contextlib import suppress
from importlib import machinery
from importlib.abc import Loader
from importlib.util import cache_from_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, ModuleType

PYC_HEADER_BYTES = 16
SKIPPED = frozenset(
    ("__pycache__", "test", "tests", "testing", "site-packages", "dist-packages", "idlelib")
)
"""Folders whose modules nobody needs in a sandbox."""

SKIPPED_MODULES = ("torch._inductor", "torch.onnx", "numpy.distutils", "numpy.f2py")
NEVER_IMPORTED = ("_test", "_xx", "_tkinter", "_curses", "readline", "antigravity")


class ModuleStore(Loader):
    """Finds and loads modules from memory; `read` fills it."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[bytes, str]] = {}

    def read(self, place: str, name: str) -> None:
        """Hold the module or package `name` at the path `place`, with all that lies below it."""
        if os.path.isfile(place):  # noqa: PTH113  # pathlib takes 10 ms
            self._hold(place, name)
            return
        for module, path in _modules(place, name):
            if not module.startswith(SKIPPED_MODULES):
                self._hold(path, module)

    def _hold(self, path: str, name: str) -> None:
        compiled = cache_from_source(path)
        with suppress(OSError), open(compiled, "rb") as file:  # noqa: PTH123
            self._held[name] = (file.read(), path)
            return
        with suppress(OSError, SyntaxError, ValueError), open(path, "rb") as file:  # noqa: PTH123
            code = compile(file.read(), path, "exec", dont_inherit=True)
            self._held[name] = (bytes(PYC_HEADER_BYTES) + marshal.dumps(code), path)

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> machinery.ModuleSpec | None:
        """Return the spec of a module that is held."""
        del path, target
        if name not in self._held:
            return None
        place = self._held[name][1]
        folder, _, file = place.rpartition("/")
        spec = machinery.ModuleSpec(name, self, origin=place, is_package=file == "__init__.py")
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(folder)
        return spec

    def create_module(self, spec: machinery.ModuleSpec) -> None:
        """Let Python make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102  # an import does so

    def get_code(self, name: str) -> CodeType:
        """Return the code of a module."""
        code: CodeType = marshal.loads(self._held[name][0][PYC_HEADER_BYTES:])  # noqa: S302  # ours
        return code


def _modules(folder: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the modules in `folder`, which is the package `name` ("" for a folder of modules)."""
    dot = f"{name}." if name else ""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == "__init__.py":
                yield name, entry.path
            elif entry.name.endswith(".py"):
                yield dot + entry.name[:-3], entry.path
            elif entry.is_dir() and entry.name not in SKIPPED and entry.name.isidentifier():
                yield from _modules(entry.path, dot + entry.name)


def fill(entries: list[str]) -> ModuleStore:
    """Return a store of the standard library and of `entries`, paths of modules and packages."""
    store = ModuleStore()
    library = os.path.dirname(os.__file__)  # noqa: PTH120
    store.read(library, "")
    for entry in entries:
        name = entry.rpartition("/")[2]
        if "." not in name or name.endswith(".py"):
            store.read(entry, name.removesuffix(".py"))
    import_extensions(
        [f"{library}/lib-dynload", *(entry for entry in entries if entry.endswith("/numpy"))]
    )
    return store


def import_extensions(folders: list[str]) -> None:
    """Import the extension modules below `folders`."""
    for folder in filter(os.path.isdir, folders):
        top = "" if folder.endswith("lib-dynload") else folder.rpartition("/")[2]
        for place, _, files in os.walk(folder):
            package = ".".join(filter(None, (top, *place[len(folder) :].split("/"))))
            for file in files:
                stem = file.partition(".")[0]
                if file.endswith(tuple(machinery.EXTENSION_SUFFIXES)) and not stem.startswith(
                    NEVER_IMPORTED
                ):
                    with suppress(Exception):  # not all can be imported everywhere
                        importlib.import_module(f"{package}.{stem}" if package else stem)


def install(entries: list[str]) -> None:
    """Make what is held importable, after what there is in files."""
    sys.meta_path.append(fill(entries))
