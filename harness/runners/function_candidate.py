"""Runner of the function task: answers calls of a genome's functions with plain data.

`function_candidate.py WIRE CHANNEL ENTRY CWD ROOT...` runs inside a sandbox that holds the genome,
not evaluate.py. It imports the file ENTRY, with CWD and the folders ROOT to import from, then
answers each frame that comes on the descriptor CHANNEL (see harness/problem/wire.py, the
file WIRE) with one frame. The candidate controls this process: all that it sends is data from an
untrusted source, and the time is taken at the other end. With `-` for CHANNEL it only imports: a
preflight.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any


def main(wire_file: str, channel: str, entry: str, cwd: str, *roots: str) -> None:
    """Import the genome and answer calls until the stream ends."""
    sys.path[:0] = [str(import_folder(Path(entry))), cwd, *roots]
    os.chdir(cwd)
    if channel == "-":
        print("claim preflight_began 1", flush=True)  # noqa: T201
        import_module(module_name(Path(entry)))
        return
    wire, number = load(wire_file), int(channel)
    wire.send(number, wire.Frame(wire.STARTED))
    try:
        genome = import_module(module_name(Path(entry)))
    except BaseException as error:  # also SystemExit: it is the genome's
        wire.send(number, raised(wire, error))
        raise
    wire.send(number, wire.Frame(wire.READY))
    while (asked := wire.receive(number)) is not None:
        answer = answered(wire, genome, asked)
        answer.nonce = asked.nonce
        wire.send(number, answer)


def answered(wire: Any, genome: ModuleType, asked: Any) -> Any:  # noqa: ANN401  # a loaded module
    """Call the function asked for and return the frame with its value, or with what it raised."""
    try:
        call = asked.value(finite=False)
        function = getattr(genome, call["name"])
        if "each" in call:
            return wire.Frame.of(wire.VALUE, [function(each) for each in call["each"]])
        return wire.Frame.of(wire.VALUE, function(*call["args"], **call["named"]))
    except BaseException as error:  # noqa: BLE001  # also SystemExit: it is the genome's
        traceback.print_exc()
        return raised(wire, error)


def raised(wire: Any, error: BaseException) -> Any:  # noqa: ANN401
    """Return a frame with an exception as text."""
    text = f"{type(error).__name__}: {error}"[:900]
    if isinstance(error, ModuleNotFoundError) and not os.path.exists("/usr"):  # noqa: PTH110
        text += " (the standard library and numpy are here, as the genome at launch needs no more)"
    return wire.Frame.of(wire.RAISED, text)


def import_folder(entry: Path) -> Path:
    """Return the folder to import a file from: the one that holds its outermost package."""
    folder = entry.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def module_name(entry: Path) -> str:
    """Return the name to import a file by, with the names of the packages that it lies in."""
    names = [] if entry.stem == "__init__" else [entry.stem]
    folder = entry.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names)


def load(path: str) -> Any:  # noqa: ANN401  # a module of functions
    """Return the module in the file `path`, without making its folder importable."""
    spec = util.spec_from_file_location("swarm_wire", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = util.module_from_spec(spec)
    sys.modules["swarm_wire"] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])
