"""The self-check's attacks, run inside a sandbox: a small one on every line of defence.

Started as `self_check_attacks.py PART /out INPUT TARGET`: a readable file, and JSON of what to
attack (see harness/sandbox/self_check.py). An attack returns one line on what it got, or "" for
nothing; an OSError means that it was refused. What the trusted side can observe, it judges itself;
the rest is reported in /out/escaped.json. Every attack is harmless where it succeeds: it opens and
does not write, queries and does not set, and the next sandbox removes what the one before left.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    folder = Path(__file__).with_name("self_check")
    package = ModuleType(folder.name)  # not found by a search: Landlock lets nobody list our folder
    package.__path__ = [str(folder)]
    sys.modules[folder.name] = package
    import_module(f"{folder.name}.parts").main()
