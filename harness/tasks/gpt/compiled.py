"""Compiles a genome before its budget begins, so that a trial measures training.

torch.compile takes half a minute to a minute, as much for a change that gains as for one that does
not. So, before a candidate's first trial at a rung, its `train` takes a few steps in a sandbox of
the same slice, on random tokens in place of the text, by a clock that jumps to the deadline; the
compiler's cache that this leaves is given, read-only, to every trial of this candidate at this rung
and to no other candidate's. It has seen no text, so nothing learned can be in it. If those steps
fail, the trial compiles within its budget or fails by itself.

Not covered: tracing and the look-up in the cache, some seconds of the budget. A genome may compute
something else in that time, but only from its own source.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from harness.contract import Trial
from harness.sandbox import python_argv
from harness.sandbox.monitor.gpu import gpu_model
from harness.sandbox.policy import SandboxPolicy
from harness.tasks.base import RUNNERS, Confine

KINDS = frozenset({"cuda"})
"""Kinds of device on which trials are compiled ahead."""

SHORTEST_BUDGET_S = 20.0
"""The seed compiles for longer budgets on a GPU."""

SECONDS = 240.0
"""Time limit of compiling; what takes longer compiles in its budget."""

MAX_ARCHIVE_BYTES = 256 << 20

KEPT = 16
"""Archives that a run keeps, the last ones used."""

ARCHIVE, FOLDER = "compiled.tar", "compiled"

NOISE_TOKENS = 1 << 20


def archive_of(trial: Trial) -> Path | None:
    """Return the trial's archive of compiled code; None for a trial that has none."""
    place = _place(trial)
    return place if place.exists() else None


def compile_ahead(trial: Trial, vocab: int, words: Sequence[str], confine: Confine) -> None:
    """Make the archive of `trial`, unless it is there or its genome compiles nothing.

    `words` are the arguments of the runner, of which the last count.
    """
    rung, place = trial.rung, _place(trial)
    if trial.slice.kind not in KINDS or rung.seconds < SHORTEST_BUDGET_S or not _compiles(trial):
        return
    if place.exists():
        os.utime(place)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.parent.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=place.parent) as scratch:
        draft = Path(scratch)
        draft.chmod(0o755)
        (draft / "out").mkdir()
        noise = np.random.default_rng(0).integers(vocab, size=NOISE_TOKENS, dtype=np.uint16)
        noise.astype("<u2").tofile(draft / "noise")
        policy = SandboxPolicy(
            slice=trial.slice,
            seconds=SECONDS,
            memory_mib=rung.memory_mib,
            read={"/genome": Path(trial.genome), "/noise.u16": draft / "noise"},
            write={"/out": draft / "out"},
            kind=trial.sandbox,
            outputs={ARCHIVE: MAX_ARCHIVE_BYTES},
        )
        more = ("--tokens", "/noise.u16", "--ahead", f"/out/{ARCHIVE}")
        confine(policy, python_argv(RUNNERS / "gpt_train.py", *words, *more), draft / "log")
        made = draft / "out" / ARCHIVE
        if not made.exists():  # it is not tried again for every seed
            tarfile.open(made, "w").close()
        made.chmod(0o644)
        made.rename(place)
    _forget_oldest(place.parent)


def _place(trial: Trial) -> Path:
    """Return where the archive of a trial is, by all that decides what is compiled."""
    lease = trial.slice
    model = gpu_model(lease)  # kernels are made for one, and there may be several
    what = (trial.commit, trial.data, trial.rung.depth, lease.device, model, trial.sandbox)
    name = hashlib.sha256(repr(what).encode()).hexdigest()[:32]
    return Path(trial.scratch) / FOLDER / f"{name}.tar"


def _compiles(trial: Trial) -> bool:
    """Return whether a genome mentions the compiler at all."""
    files = Path(trial.genome).rglob("*.py")
    return any(b"compile" in path.read_bytes() for path in files if path.is_file())


def _forget_oldest(folder: Path) -> None:
    """Delete the archives that were not used for longest."""
    kept = {path: path.stat().st_mtime for path in folder.glob("*.tar")}
    for path in sorted(kept, key=lambda path: kept[path])[:-KEPT]:
        with suppress(FileNotFoundError):  # another slice has deleted it
            path.unlink()
