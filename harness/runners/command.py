"""Runner of command lines: `command.py FOLDER COMMAND [NAME VALUE]...`, inside the sandbox.

Becomes `sh -c COMMAND` in FOLDER with the variables given; the values of a name that is given
several times are joined by colons.
"""

from __future__ import annotations

import os
import sys


def main(folder: str, command: str, *words: str) -> None:
    """Become the command."""
    variables: dict[str, str] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        variables[name] = f"{variables[name]}:{value}" if name in variables else value
    os.chdir(folder)
    # byte code goes where it can be written, and vanishes with the sandbox
    cache = {"PYTHONPYCACHEPREFIX": f"{os.environ['TMPDIR']}/pycache"}
    environment = {**os.environ, **cache, **variables, "PWD": folder}
    os.execve("/bin/sh", ["sh", "-c", command], environment)  # noqa: S606  # it is a shell


if __name__ == "__main__":
    main(*sys.argv[1:])
