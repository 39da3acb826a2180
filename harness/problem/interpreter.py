"""The Python of a problem: the repository's `.venv`, else the one program.md names, else ours.

It is asked once, at launch, where it lives, what is installed for it, and which folders of the
repository it imports from (editable installs).

Not covered: an interpreter that is changed during a run; packages of `~/.local`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.contract import SetupError
from harness.problem.spec import PythonSpec

PROBE_TIMEOUT_S = 60.0

_PROBE = """
import json, platform, sys
from importlib.metadata import distributions
found = {d.metadata["Name"]: d.version for d in distributions()}
editable = [p for m in list(sys.modules.values()) if m.__name__.startswith("__editable__")
            for p in getattr(m, "MAPPING", {}).values()]
print(json.dumps({"prefixes": [sys.prefix, sys.base_prefix], "path": sys.path, "editable": editable,
    "version": platform.python_implementation() + " " + platform.python_version(),
    "packages": sorted(f"{name}=={version}" for name, version in found.items())}))
"""


def find_python(repo: Path, folder: Path, wanted: str) -> PythonSpec:
    """Return the Python of the problem in `folder` of `repo`; `wanted` is program.md's `python`.

    Raises SetupError if there is none, or if it needs folders that a trial must not see.
    """
    program = _program(repo, folder, wanted)
    answer = _asked(program)
    prefixes = _prefixes(program, repo, answer["prefixes"])
    packages = hashlib.sha256("\n".join(answer["packages"]).encode()).hexdigest()
    return PythonSpec(
        program=program,
        prefixes=prefixes,
        version=f"{answer['version']} {packages[:16]}",
        paths=tuple(dict.fromkeys(_inside(repo, prefixes, answer))),
    )


def _asked(program: str) -> dict[str, Any]:
    """Return what an interpreter says of itself. Raises SetupError if it says nothing."""
    said = ""
    try:
        asked = subprocess.run(
            [program, "-I", "-c", _PROBE],
            capture_output=True,
            cwd="/",
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
        said = asked.stderr.decode(errors="replace").strip()
        answer: dict[str, Any] = json.loads(asked.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        last = (said or str(error)).splitlines()[-1]
        raise SetupError(f"{program} does not run ({last}): set `python:` in program.md") from None
    return answer


def _program(repo: Path, folder: Path, wanted: str) -> str:
    if wanted:
        given = Path(wanted).expanduser()
        place = folder / given
        found = [place / "bin" / "python"] if place.is_dir() else [place]
        named = shutil.which(wanted) if "/" not in wanted else None
        found += [Path(named)] if named else []
    else:
        found = [place / ".venv/bin/python" for place in dict.fromkeys((folder, repo))]
        found.append(Path(sys.executable))
    program = next((path for path in found if os.access(path, os.X_OK) and path.is_file()), None)
    if program is None:
        raise SetupError(f"python: {wanted} is neither an interpreter nor a virtual environment")
    return str(program.absolute())


def _prefixes(program: str, repo: Path, told: list[str]) -> tuple[str, ...]:
    """Return the folders to mount. Raises SetupError for one that holds more than a Python."""
    real = Path(program).resolve().parents[1]
    wanted = [Path(path) for path in told] + [real] * any(real.glob("lib*/python3*"))
    wanted = [path for path in dict.fromkeys(wanted) if not path.is_relative_to("/usr")]
    for path in wanted:
        if any(private.is_relative_to(path) for private in (Path.home(), repo)):
            raise SetupError(
                f"the Python at {program} is installed in {path}, which trials must not see: "
                "make a virtual environment and name it as `python:` in program.md"
            )
    return tuple(map(str, wanted))


def _inside(repo: Path, prefixes: tuple[str, ...], answer: dict[str, list[str]]) -> Iterator[str]:
    """Yield the folders below `repo` that it imports from, its own environment left out."""
    paths = [Path(path) for path in answer["path"]]
    for path in (*paths, *(Path(path).parent for path in answer["editable"])):
        own = any(path.is_relative_to(prefix) for prefix in prefixes)
        if path.is_relative_to(repo) and not own:
            yield "" if path == repo else str(path.relative_to(repo))
