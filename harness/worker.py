"""A slice's own process: trials come in by standard input, outcomes go out by standard output.

One JSON record a line. The first line out is `{"ready": ID}`, or `{"setup": "what to mend"}` and
the end; then for each trial `{"outcome": {...}}`, for each `{"preflight": TRIAL}` the same with
`preflight`, or `{"void": "reason"}` where the harness was at fault, or `{"setup": ...}` again. The
process is pinned to its slice, so that scoring disturbs no neighbour, and dies with its
coordinator, whatever way that ends. Started by swarm/executors/base.py and
swarm/executors/preflight.py.
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
from harness.contract import (
    HarnessError,
    SandboxKind,
    SetupError,
    Slice,
    Trial,
    decode_trial,
    encode,
)
from harness.fingerprint import harness_id
from harness.preflight import preflight
from harness.sandbox import SandboxPool, Zygote, run
from harness.sandbox.boot.zygote_client import MODULES, PLAIN
from harness.sandbox.guest.limits import die_with_parent
from harness.sandbox.tiers import NONE
from harness.tasks.base import Confine, Task
from harness.trial import measure


def main(setup: str) -> None:
    """Serve trials until standard input ends.

    `setup` is JSON: task, data, slice, sandbox, the parent's pid, and whether to stand back: to run
    only where nobody else wants to.
    """
    wanted = json.loads(setup)
    where = Slice(**{**wanted["slice"], "cores": tuple(wanted["slice"]["cores"])})
    _die_with_parent(wanted["parent"])
    if where.cores:
        os.sched_setaffinity(0, where.cores)
    if wanted.get("stand_back"):
        _stand_back()
    replies = _claim_stdout()
    try:
        task = tasks.load(wanted["task"])
        harness = harness_id(task.prepare(wanted["data"]), where.device)
    except SetupError as error:
        _say(replies, {"setup": str(error)})
        return
    with _starting(task, where, wanted["sandbox"]) as ahead:
        confine = partial(run, source=ahead) if ahead else run
        _say(replies, {"ready": harness})
        for line in sys.stdin:
            asked = json.loads(line)
            if ahead:
                ahead.turn(Path(asked.get("preflight", asked)["scratch"]))
            _say(replies, _answer(asked, where, confine, harness))


@contextmanager
def _starting(task: Task, where: Slice, sandbox: SandboxKind) -> Iterator[SandboxPool | None]:
    """Yield what boxes start from: warm where there are any, all trials of a run alike."""
    if sandbox == NONE:
        yield None
        return
    with Zygote(where, MODULES if task.torch else PLAIN) as warm, SandboxPool(warm) as ahead:
        warm.wait()  # or the first trial's clock would run while torch is imported
        yield ahead


def _answer(
    asked: dict[str, object], where: Slice, confine: Confine, harness: str
) -> dict[str, object]:
    try:
        if "preflight" in asked:
            looked = preflight(_trial(asked["preflight"]), where, confine)
            return {"preflight": json.loads(encode(looked))}
        return {"outcome": json.loads(encode(measure(_trial(asked), confine, harness)))}
    except HarnessError as error:
        return {"void": str(error)}
    except SetupError as error:  # the corpus is gone, or the task has no such split
        return {"setup": str(error)}
    except OSError as error:  # no space, no processes, no memory: this machine's trouble
        return {"void": f"{type(error).__name__}: {error}"}


def _trial(said: object) -> Trial:
    return decode_trial(json.dumps(said))


def _stand_back() -> None:
    """Leave the cores to whoever wants them; what we start inherits it and cannot take it back.

    Not so for sessions: Linux shares a core among these first (autogroups), and each box, being one
    of its own, has to say so itself.
    """
    os.nice(19)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with suppress(OSError):  # there are kernels without
            Path("/proc/self/autogroup").write_text("19")


def _say(replies: TextIO, message: dict[str, object]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _claim_stdout() -> TextIO:
    """Keep the reply channel to ourselves: whatever else prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


def _die_with_parent(parent: int) -> None:
    """Ask Linux for SIGKILL at the coordinator's death; elsewhere the end of input must do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to answer
    if sys.platform == "linux":
        die_with_parent(parent)
