"""Calls `main` of a module beside this file: `python -I -S -B guest/__main__.py MODULE ARG...`."""

from __future__ import annotations

import importlib
import os
import sys

if __name__ == "__main__":
    # os.path: importing pathlib takes 15 ms, starting the interpreter 10
    above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    sys.path.append(above)
    module = importlib.import_module(f"guest.{sys.argv.pop(1)}")
    sys.path.remove(above)  # nothing else there may be imported
    module.main()
