"""Finds a coding agent on this machine, and the files that it needs inside a sandbox.

A sandbox sees the system's programs (/usr and the like). What lies elsewhere is mounted read-only
under its own path: a package folder of npm as a whole, a virtual environment with the Python below
it, a single executable as a file, and the interpreter that a script names.

Not covered: an executable with libraries of its own outside of these; name their folders in
`mount`.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.contract import SetupError
from harness.sandbox.backends.bubblewrap import SYSTEM
from harness.sandbox.backends.interpreter import prefixes

MAX_SHEBANG_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Installation:
    """An agent on this machine: the words that start it, and what its sandbox must see."""

    words: tuple[str, ...]
    mounts: tuple[Path, ...]
    path: Path
    """The executable as it was found."""


def find(program: str, path: str = "", native: str = "") -> Installation | None:
    """Return the agent `program`, at `path` if one is given, else on PATH; None: not there.

    `native` is a pattern below its folder of packages: the binary that its launcher would start.
    """
    found = shutil.which(str(Path(path).expanduser())) if path else shutil.which(program)
    if found is None:
        return None
    executable = Path(found).absolute()
    home = _home(executable.resolve())
    binary = next(iter(sorted(home.glob(native))), None) if native and home.is_dir() else None
    if binary is not None:
        return Installation((str(binary),), minimal([home]), executable)
    return installed(executable)


def installed(path: Path) -> Installation:
    """Return what a sandbox needs to run the executable `path`.

    Raises SetupError where it lies among the packages that no sandbox sees.
    """
    real = path.resolve()
    interpreter = _interpreter(real)
    mounts = [_home(real)]
    if interpreter:
        mounts += _interpreter_homes(Path(interpreter[0]))
    return Installation((*interpreter, str(real)), minimal(mounts), path)


def minimal(paths: list[Path]) -> tuple[Path, ...]:
    """Return `paths` without the system's own, and those that lie in another one."""
    wanted = sorted({path for path in paths if not _is_system(path)})
    return tuple(p for p in wanted if not any(other in p.parents for other in wanted))


def _is_system(path: Path) -> bool:
    """Return whether every sandbox sees `path`: the system's trees, and swarm's own Python."""
    return any(path.is_relative_to(tree) for tree in (*SYSTEM, *map(str, prefixes())))


def _home(real: Path) -> Path:
    """Return the folder, or the file, that an executable is installed as."""
    parts = real.parts
    if "node_modules" in parts:
        return Path(*parts[: parts.index("node_modules") + 1])
    environment = _environment_of(real)
    return environment or real


def _environment_of(path: Path) -> Path | None:
    """Return the virtual environment whose bin folder holds `path`. Not swarm's own."""
    folder = path.parent.parent
    if not (folder / "pyvenv.cfg").is_file():
        return None
    if folder == Path(sys.prefix):
        raise SetupError(
            f"{path} is installed beside swarm, where no sandbox sees other packages: install it"
            f" in an environment of its own, such as `pipx install {path.name}`"
        )
    return folder


def _interpreter(script: Path) -> tuple[str, ...]:
    """Return the words of a script's first line that start it, () for a binary."""
    with script.open("rb") as file:
        first = file.read(MAX_SHEBANG_BYTES).partition(b"\n")[0]
    if not first.startswith(b"#!"):
        return ()
    words = first[2:].decode(errors="replace").split()
    if words and words[0].endswith("/env"):
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        found = shutil.which(named[0]) if named else None
        if found is None:
            raise SetupError(
                f"{script} needs {' '.join(named) or 'an interpreter'}, which is not on PATH:"
                " install it"
            )
        return (found,)
    return tuple(words)


def _interpreter_homes(interpreter: Path) -> list[Path]:
    """Return what an interpreter needs: itself, or its environment and the Python below it."""
    environment = _environment_of(interpreter)
    if environment is None:
        return [interpreter.resolve(), interpreter]
    real = interpreter.resolve()
    base = real.parent.parent
    return [environment, base if (base / "lib").is_dir() else real]
