"""Starts a box program: `python -I -S -B start.py ROOT:ROOT PROGRAM ARG...`.

With -S no `.pth` file runs and no site-packages is on the path; the roots are put there here.
"""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    _, roots, *sys.argv = sys.argv
    sys.path += [root for root in roots.split(":") if root]
    runpy.run_path(sys.argv[0], run_name="__main__")
