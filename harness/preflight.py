"""Preflight: tries a candidate on a tiny input before it costs slice time.

The candidate is as hostile here as in its trial and is confined alike, so the result is a claim,
good only for refusing it early. If the fault may be this machine's, or lies in what only the
trial's own device can tell, the result is ok.

Not covered: a candidate that behaves differently here and in its trial; it gains nothing by that.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from harness import tasks
from harness.contract import HarnessError, Preflight, Slice, Trial
from harness.sandbox import python_argv
from harness.sandbox.policy import Exit, SandboxPolicy
from harness.tasks.base import RUNNERS, Confine
from harness.trial import claims, printable

TIMEOUT_S = 30.0
"""The seed takes half a second of one core; never a minute, even at low priority."""

MAX_MEMORY_MIB = 2048
"""Memory limit of a preflight, which runs beside trials that use theirs."""

MAX_TAIL_CHARS = 2000
"""End of its output that is kept, usually a traceback."""

_DEVICE_ERROR = re.compile(r"cuda|nvidia|triton|\bgpus?\b|\bmps\b|metal|cpu", re.IGNORECASE)


def preflight(trial: Trial, slice_: Slice, confine: Confine) -> Preflight:
    """Try `trial`'s candidate on `slice_`, at its rung's scale or below.

    Raises HarnessError if no sandbox could be started, SetupError if the task's data is missing.
    """
    began = time.monotonic()
    Path(trial.scratch).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="preflight-", dir=trial.scratch) as work:
        task, log = tasks.load(trial.task, trial.problem), Path(work) / "log"
        request = task.preflight_request(replace(trial, scratch=work))
        genome = request.genome or {"/genome": Path(trial.genome)}
        policy = SandboxPolicy(
            slice=slice_,
            seconds=TIMEOUT_S,
            memory_mib=_memory(trial),
            read={**request.read, **genome},
            kind=trial.sandbox,
            torch=task.torch,
            all_packages=request.all_packages,
            bare=request.bare,
        )
        ended = confine(policy, python_argv(RUNNERS / request.runner, *request.args), log)
        text = printable(log.read_bytes()) if log.exists() else ""
    claimed = claims(text)
    if ended.code and not ended.killed and "preflight_began" not in claimed:
        raise HarnessError(f"a preflight ended before it ran the candidate: {text[-200:]}")
    reason = _against(ended, text, trial)
    return Preflight(
        ok=not reason,
        reason=reason,
        parameters=max(0, int(claimed.get("preflight_parameters", 0))),
        memory_mib=max(0.0, claimed.get("preflight_mib", 0.0)),
        seconds=round(time.monotonic() - began, 4),
        tail=text[-MAX_TAIL_CHARS:] if reason else "",
    )


def _memory(trial: Trial) -> int:
    return min(trial.rung.memory_mib, MAX_MEMORY_MIB)


def _against(ended: Exit, text: str, trial: Trial) -> str:
    """Return one line against the candidate, empty if nothing is certain."""
    if ended.killed == "deadline":
        # at low priority the machine may simply not have given it the time
        low_priority = os.getpriority(os.PRIO_PROCESS, 0) > 0
        return "" if low_priority else f"still running a tiny input after {TIMEOUT_S:g} s"
    if ended.killed == "disk":
        return "wrote more files than a sandbox may hold on a tiny input"
    if ended.killed == "memory":
        limit = _memory(trial)
        below_rung = limit < trial.rung.memory_mib
        return "" if below_rung else f"held more than {limit} MiB on a tiny input"
    if not ended.code:
        return ""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("claim ")]
    last = " ".join(lines[-1].split())[:300] if lines else f"exit status {ended.code}"
    return "" if trial.slice.kind != "cpu" and _DEVICE_ERROR.search(last) else last
