"""Fixtures that start sandboxes in every way."""

from __future__ import annotations

import shutil

import pytest

from harness.sandbox import SandboxPolicy, SandboxPool, Zygote, python_argv, run
from tests.support.sandboxes import (
    SLICE,
    STARTS,
    prewarm,
)


@pytest.fixture(scope="module")
def zygote():
    """A zygote that has imported nothing big."""
    with Zygote(SLICE, ("numpy",)) as process:
        yield process


@pytest.fixture
def pool(zygote):
    """A pool of prewarmed sandboxes, as a slice's process has."""
    with SandboxPool(zygote) as sandboxes:
        yield sandboxes


@pytest.fixture(params=STARTS)
def start(request):
    """How a sandbox is started."""
    return request.param


@pytest.fixture
def run_sandboxed(tmp_path, start, zygote, pool):
    """Return a function that runs a program in a sandbox: its exit, its output and its /out."""
    tmp_path.chmod(0o755)
    program, log, out = (tmp_path / name for name in ("program.py", "log", "out"))

    def run_program(code, *args, **policy):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        program.write_text(code)
        defaults = {
            "seconds": 60.0,
            "memory_mib": 512,
            "write": {"/out": out},
            "kind": "none" if start == "unconfined" else "namespaces",
        }
        rules = SandboxPolicy(SLICE, **defaults | policy)
        argv = python_argv(program, "/out", *args)
        prewarmed = prewarm(pool, rules, argv, tmp_path) if start == "prewarmed" else None
        ended = run(rules, argv, log, {"zygote": zygote, "prewarmed": pool}.get(start))
        assert prewarmed is None or prewarmed not in pool.waiting  # it was used
        pool.close()
        return ended, log.read_text(), out

    return run_program
