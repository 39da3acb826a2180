"""The needs of torch.compile on a machine, seen from inside a sandbox or outside.

On a GPU Triton builds its launchers with a C compiler and Python's headers; on a CPU inductor
builds its kernels with a C++ compiler.
"""

from __future__ import annotations

import os
import shutil
import sysconfig

COMPILERS = {"cuda": ("cc", "gcc", "clang"), "cpu": ("g++", "c++", "clang++")}


def missing_toolchain(device: str, path: str | None = None) -> str:
    """Return in one line what torch.compile lacks for `device`, "" where nothing is missing.

    `path` is the PATH that is searched, this process's by default.
    """
    names = COMPILERS.get(device, ())
    if names and not any(shutil.which(name, path=path) for name in names):
        return f"torch.compile finds no compiler ({', '.join(names)}): `apt install g++`"
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")  # noqa: PTH118
    if device == "cuda" and not os.path.exists(header):  # noqa: PTH110
        version = sysconfig.get_python_version()
        return f"torch.compile finds no {header}: `apt install python{version}-dev`"
    return ""
