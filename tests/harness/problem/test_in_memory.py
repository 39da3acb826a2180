"""Which genomes run where no file of the system's is visible."""

from __future__ import annotations

import pytest

from harness.problem.in_memory import MAX_COPIED_BYTES, runs_in_memory


@pytest.mark.parametrize(
    ("imports", "alone"),
    [
        ("import math, numpy.linalg", True),
        ("from numpy import array\nfrom json import loads", True),
        ("from . import near", True),
        ("from .near import f", True),
        ("import pkg.near", True),
        ("from other import g", True),
        ("def f(:", True),  # its trial says so, as below
        ("from .. import nothing", True),
        ("def f():\n    import scipy", False),
        ("from scipy.optimize import minimize", False),
        ("import subprocess", False),
        ("import pkg.far", False),  # which imports more
        ("from pkg import far", False),
    ],
)
def test_the_standard_library_and_numpy_are_in_memory(tmp_path, imports, alone):
    """What the genome's files and the frozen ones import decides, however deep."""
    base, tree = tmp_path / "base", tmp_path / "tree"
    for path, text in (
        (base / "src/pkg/__init__.py", ""),
        (base / "src/pkg/fast.py", imports),
        (tree / "src/pkg/fast.py", ""),
        (tree / "src/pkg/near.py", "import os"),
        (tree / "src/pkg/far.py", "import torch"),
        (tree / "lib/other.py", "from pkg.near import f"),
        (tree / "tests/test_it.py", "import pytest"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert runs_in_memory(str(tmp_path), base, "src/pkg/fast.py", ("lib",)) == alone


def test_frozen_files_that_are_large_are_not_copied_for_each_trial(tmp_path):
    """Beyond a limit the genome sees the files themselves."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base/fast.py").write_text("")
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree/data").open("wb") as file:
        file.truncate(MAX_COPIED_BYTES + 1)
    assert not runs_in_memory(str(tmp_path), tmp_path / "base", "fast.py", ())
