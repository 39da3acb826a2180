"""Calls `main` of a module beside this file: `python -I -S -B within/__main__.py MODULE ARG...`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    above = str(Path(__file__).parents[1])
    sys.path.append(above)
    module = importlib.import_module(f"within.{sys.argv.pop(1)}")
    sys.path.remove(above)  # what else lies there is nobody's to import
    module.main()
