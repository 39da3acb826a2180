"""A slice's harness process: reads trials from standard input, writes outcomes to standard output.

One JSON record a line. The first line out is `{"ready": ID}`, or `{"setup": "what to fix"}` before
it exits. Then each trial is answered by `{"outcome": {...}}`, each `{"preflight": TRIAL}` by
`{"preflight": {...}}` and each `{"check": TRIAL}` by `{"check": {...}}`, or by `{"void": "reason",
"cause": CAUSE}` if the harness or the machine was at fault, or by `{"setup": ...}`. The process is
pinned to its slice, so that scoring disturbs no neighbour, and dies with the coordinator, however
that ends. Started by
swarm/executors/harness_process.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TextIO

from harness import tasks
from harness.check import check
from harness.contract import (
    HarnessError,
    SandboxKind,
    SetupError,
    Slice,
    Trial,
    decode_trial,
    encode,
)
from harness.faults import Faults
from harness.fingerprint import harness_id
from harness.installation import require_cuda_build
from harness.preflight import preflight
from harness.sandbox import Running, SandboxPool, Zygote, run
from harness.sandbox.backends.devices import check_device
from harness.sandbox.boot.zygote_client import NUMPY_MODULES, TORCH_MODULES
from harness.sandbox.guest.limits import die_with_parent
from harness.sandbox.monitor.gpu import awake_gpu
from harness.sandbox.tiers import NONE
from harness.tasks.base import Confine, StartSandbox, Task
from harness.trial import measure


def main(setup: str) -> None:
    """Serve trials until standard input ends.

    `setup` is JSON: task, data, problem, slice, sandbox, the parent's pid, and whether to
    `stand_back`: to run only on cores that are otherwise idle.
    """
    options = json.loads(setup)
    slice_ = Slice(**{**options["slice"], "cores": tuple(options["slice"]["cores"])})
    _die_with_parent(options["parent"])
    if slice_.cores:
        os.sched_setaffinity(0, slice_.cores)
    if options.get("stand_back"):
        _run_only_when_idle()
    replies = _claim_stdout()
    try:
        if options["sandbox"] != NONE:
            check_device(slice_)
        task = tasks.load(options["task"], options["problem"])
        if task.torch and slice_.kind == "cuda":
            require_cuda_build()
        harness = harness_id(task.prepare(options["data"]), slice_.device, torch=task.torch)
    except SetupError as error:
        _reply(replies, {"setup": str(error)})
        return
    with awake_gpu(slice_), _sandbox_pool(task, slice_, options["sandbox"]) as pool:
        confine = partial(run, source=pool) if pool else run
        start = partial(Running, source=pool) if pool else Running
        faults = Faults()
        _reply(replies, {"ready": harness})
        for line in sys.stdin:
            request = json.loads(line)
            if pool:
                trial = request.get("preflight") or request.get("check") or request
                pool.next_trial(Path(trial["scratch"]))
            _reply(replies, _answer(request, slice_, confine, start, harness, faults))


@contextmanager
def _sandbox_pool(task: Task, slice_: Slice, sandbox: SandboxKind) -> Iterator[SandboxPool | None]:
    """Yield the pool of prewarmed sandboxes, None for unconfined trials."""
    if sandbox == NONE:
        yield None
        return
    modules = TORCH_MODULES if task.torch else NUMPY_MODULES
    with Zygote(slice_, modules) as zygote, SandboxPool(zygote) as pool:
        zygote.wait()  # or the first trial's clock would run while torch is imported
        yield pool


def _answer(  # noqa: PLR0913, PLR0917 - what a trial needs
    request: dict[str, object],
    slice_: Slice,
    confine: Confine,
    start: StartSandbox,
    harness: str,
    faults: Faults,
) -> dict[str, object]:
    try:
        if "preflight" in request:
            result = preflight(_trial(request["preflight"]), slice_, confine)
            return {"preflight": json.loads(encode(result))}
        if "check" in request:
            return {"check": json.loads(encode(check(_trial(request["check"]), confine)))}
        outcome = measure(_trial(request), confine, harness, start)
        return {"outcome": json.loads(encode(outcome))}
    except SetupError as error:  # no corpus, or the task has no such split
        return {"setup": str(error)}
    except (HarnessError, OSError) as error:
        if not request.keys() & {"preflight", "check"} and (
            failed := faults.failure(_trial(request), error, harness)
        ):
            return {"outcome": json.loads(encode(failed))}
        told = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        return {"void": told, "cause": getattr(error, "cause", "harness")}


def _trial(record: object) -> Trial:
    return decode_trial(json.dumps(record))


def _run_only_when_idle() -> None:
    """Run only when a core is idle; child processes inherit this and cannot undo it.

    Except across sessions: Linux shares a core among sessions first (autogroups), and each sandbox,
    a session of its own, has to lower its own priority.
    """
    os.nice(19)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with suppress(OSError):  # not all kernels have it
            Path("/proc/self/autogroup").write_text("19")


def _reply(replies: TextIO, message: dict[str, object]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _claim_stdout() -> TextIO:
    """Return the reply channel; everything else that is printed goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


def _die_with_parent(parent: int) -> None:
    """Have Linux kill us when the coordinator dies; elsewhere the end of input has to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator handles Ctrl-C
    if sys.platform == "linux":
        die_with_parent(parent)
