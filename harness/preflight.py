"""Looks at a candidate before it costs slice time: imported, built, a few steps on a tiny input.

The candidate is as hostile here as in its trial and is confined alike, so whatever comes out is a
claim: good for refusing early, for nothing else. Where the fault may be this machine's, or lies in
what only the trial's own device can tell, the answer is that nothing speaks against it.

Not covered: a candidate that behaves otherwise here than in its trial; it gains nothing.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

from harness import tasks
from harness.contract import HarnessError, Preflight, Slice, Trial
from harness.sandbox import python_argv
from harness.sandbox.policy import Exit, SandboxPolicy
from harness.tasks.base import RUNNERS, Confine
from harness.trial import claims, clean

SECONDS = 30.0
"""The seed takes half a second of one core here; a minute was never seen, even at low priority."""

MEMORY_MIB = 2048
"""The most that a preflight may hold, beside the trials that hold what they may."""

TAIL = 2000
"""Characters of what it printed last, a traceback as a rule."""

_ELSEWHERE = re.compile(r"cuda|nvidia|triton|\bgpus?\b|\bmps\b|metal|cpu", re.IGNORECASE)


def preflight(trial: Trial, where: Slice, confine: Confine) -> Preflight:
    """Look at `trial`'s candidate on the slice `where`, at its rung's scale or below.

    Raises HarnessError where no box could be had, SetupError where the task's data is gone.
    """
    began = time.monotonic()
    Path(trial.scratch).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="preflight-", dir=trial.scratch) as work:
        task, log = tasks.load(trial.task), Path(work) / "log"
        box = task.preflight(trial)
        policy = SandboxPolicy(
            slice=where,
            seconds=SECONDS,
            memory_mib=_memory(trial),
            read={"/genome": Path(trial.genome), **box.read},
            kind=trial.sandbox,
            torch=task.torch,
        )
        ended = confine(policy, python_argv(RUNNERS / box.program, *box.args), log)
        text = clean(log.read_bytes()) if log.exists() else ""
    said = claims(text)
    if ended.code and not ended.killed and "preflight_began" not in said:
        raise HarnessError(f"a preflight ended before it came to the candidate: {text[-200:]}")
    reason = _against(ended, text, trial)
    return Preflight(
        ok=not reason,
        reason=reason,
        parameters=max(0, int(said.get("preflight_parameters", 0))),
        memory_mib=max(0.0, said.get("preflight_mib", 0.0)),
        seconds=round(time.monotonic() - began, 4),
        tail=text[-TAIL:] if reason else "",
    )


def _memory(trial: Trial) -> int:
    return min(trial.rung.memory_mib, MEMORY_MIB)


def _against(ended: Exit, text: str, trial: Trial) -> str:
    """Return, in one line, what speaks against the candidate; nothing where that is uncertain."""
    if ended.killed == "deadline":
        # whoever stands back for others may simply not have been given the time
        stands_back = os.getpriority(os.PRIO_PROCESS, 0) > 0
        return "" if stands_back else f"still running a tiny input after {SECONDS:g} s"
    if ended.killed == "disk":
        return "wrote more files than a box may hold on a tiny input"
    if ended.killed == "memory":
        most = _memory(trial)
        fits = most < trial.rung.memory_mib
        return "" if fits else f"held more than {most} MiB on a tiny input"
    if not ended.code:
        return ""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("claim ")]
    last = " ".join(lines[-1].split())[:300] if lines else f"exit status {ended.code}"
    return "" if trial.slice.kind != "cpu" and _ELSEWHERE.search(last) else last
