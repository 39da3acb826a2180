"""Foreign CPU load on a slice's cores while a sandbox runs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from harness.contract import MAX_WALL, Outcome, Rung, SetupError, Slice, Trial, encode
from harness.sandbox import SandboxPolicy, python_argv, run
from harness.sandbox.monitor.cpu import LOOK_INTERVAL_S, MIN_ELAPSED_S, CpuContention
from harness.sandbox.tiers import check
from swarm.executors.base import ExecutorConfig, VoidError
from swarm.executors.harness_process import HarnessProcess
from swarm.executors.local import LocalExecutor

CORE = min(os.sched_getaffinity(0))
TICK = os.sysconf("SC_CLK_TCK")


class Proc:
    """A made-up /proc: seconds that cores were idle, and that processes have run."""

    def __init__(self, folder):
        self.folder, self.now = folder, 100.0
        self.handle = os.open(folder, os.O_RDONLY)

    def idle(self, *seconds):
        rows = [f"cpu{n} 9 9 9 {int(s * TICK)} 0 7 7 7 0 0" for n, s in enumerate(seconds)]
        (self.folder / "stat").write_text("\n".join(["cpu 1 2 3 4 5 6 7 8 9 0", *rows, "ctxt 1"]))

    def waited(self, pid, *threads):
        for number, (ran, waited) in enumerate(threads):
            folder = self.folder / pid / "task" / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "schedstat").write_text(f"{int(ran * 1e9)} {int(waited * 1e9)} 9\n")

    def ran(self, pid, *seconds, state="R"):
        (self.folder / pid).mkdir(exist_ok=True)
        times = " ".join(str(int(s * TICK)) for s in seconds)
        (self.folder / pid / "stat").write_text(
            f"{pid} (a) b ) {state} 1 1 1 0 -1 4 5 6 7 8 {times} 20"
        )

    def watch(self, *cores):
        return CpuContention(self.handle, cores, self.folder / "stat", lambda: self.now)


@pytest.fixture
def proc(tmp_path):
    """Make a made-up /proc."""
    made = Proc(tmp_path)
    yield made
    os.close(made.handle)


def test_what_the_cores_did_and_the_sandbox_did_not_is_foreign(proc):
    """Of 2 cores for 10 s, 5 s idle and 11 s the sandbox's with its dead children's: 4 of 20."""
    watch = proc.watch(0, 1)
    proc.idle(50, 60, 70)
    proc.ran("3", 1, 1, 0, 0)
    watch.look(["3", "4"])
    assert watch.foreign is None
    proc.now += 10
    proc.idle(53, 62, 99)
    proc.ran("3", 5, 2, 1, 0.5)
    proc.ran("4", 3, 1.5, 0, 0)
    watch.look(["3", "4", "5"])
    assert watch.foreign == pytest.approx(0.2)


def test_looks_too_close_together_are_not_had(proc):
    """The kernel counts in hundredths: two looks a moment apart would tell nothing."""
    watch = proc.watch(0)
    proc.idle(0)
    watch.look([])
    proc.now += LOOK_INTERVAL_S / 2
    proc.idle(1)
    watch.look([])
    assert watch.foreign is None
    proc.now += MIN_ELAPSED_S
    proc.idle(0)
    watch.look([])
    assert watch.foreign == 1


def test_what_is_lost_is_the_threads_waiting_and_never_more_than_others_took(proc):
    """Ready threads share a wait; waiting for each other, and time the sandbox used, is its own."""
    watch = proc.watch(0, 1)
    proc.idle(0, 0)
    proc.ran("3", 0, 0, 0, 0)
    watch.look(["3"])
    proc.now += 1
    proc.ran("3", 0.5, 0, 0, 0)
    proc.waited("3", (0.5, 0.5), (0.1, 0.0))
    proc.idle(0.4, 0)
    watch.look(["3"])
    assert watch.lost == pytest.approx(1 * 0.5 / 1.1)
    proc.now += 1
    proc.ran("3", 1.9, 0, 0, 0)
    proc.waited("3", (1.2, 1.2), (0.8, 1.1))
    proc.idle(0.6, 0.1)
    watch.look(["3"])
    others = (4 - 0.7 - 1.9 - 1 / TICK) / 2
    assert watch.lost == pytest.approx(others)


def test_a_stopped_process_is_seen_at_its_second_look(proc):
    """One look may meet a process that a debugger or a shell has stopped for a moment."""
    watch, seen = proc.watch(0), []
    proc.idle(0)
    for state in "RTRTT":
        proc.ran("3", 0, 0, 0, 0, state=state)
        proc.now += 1
        watch.look(["3"])
        seen.append(watch.stopped)
    assert seen == [False, False, False, False, True]


def test_where_the_kernel_does_not_say_nothing_is_measured(proc):
    """No /proc/stat, no row for a core, or no cores that it is pinned to."""
    for cores in [(0,), (7,), ()]:
        watch = proc.watch(*cores)
        for _ in range(2):
            proc.now += 1
            watch.look([])
        assert watch.foreign is None
        proc.idle(1)


def test_clocks_that_do_not_agree_to_the_hundredth_are_no_contention(proc):
    """More idle than time has passed is none of the others' time, not less."""
    watch = proc.watch(0)
    proc.idle(0)
    watch.look([])
    proc.now += 1
    proc.idle(1.01)
    watch.look([])
    assert watch.foreign == 0


@contextmanager
def rival():
    """Keep a busy process on the core."""
    code = f"import os; os.sched_setaffinity(0, [{CORE}])\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()


@pytest.mark.parametrize("kind", ["namespaces", "landlock", "none"])
def test_a_rival_on_a_sandboxs_core_is_seen(open_folder, kind):
    """Two busy processes on one core: others use some of it, never all, however loaded the host."""
    try:
        check(kind)
    except SetupError as error:
        pytest.skip(str(error))
    program = open_folder / "program.py"
    program.write_text("while True: pass\n")
    policy = SandboxPolicy(Slice("cpu0", "cpu", (CORE,)), 1.5, 512, kind=kind)
    with rival():
        foreign = run(policy, python_argv(program), open_folder / "log").foreign
    # a fair share is a half, but the kernel shares by session, and the rival's is pytest's own;
    # an idle core reads 0.02
    assert 0.1 < foreign < 1


def test_a_trial_that_shared_its_cores_with_others_is_void_where_that_is_asked_for(
    tmp_path, monkeypatch
):
    """Above the limit, whatever came of it; below it, or without one, its outcome stands."""
    outcome = Outcome("t1", "h", "namespaces", score=1.0, facts={"foreign_cpu": 0.04})
    trial = Trial("t1", "packing", "none", "c", 7, Rung(1, 1.0), Slice("cpu0", "cpu"), "", "", "")
    patient = trial
    trial = replace(trial, max_wall=MAX_WALL)

    async def request(server, line):
        return {"outcome": json.loads(encode(outcome))}

    def after(limit, trial=trial):
        slices = LocalExecutor(
            tmp_path, ExecutorConfig("packing", "none", 2, limit), (trial.slice,)
        )
        return asyncio.run(slices.run(trial))

    monkeypatch.setattr(HarnessProcess, "request", request)
    assert after(None) == after(0.05) == outcome
    with pytest.raises(VoidError, match=r"others took 4.0% .* slices.max_foreign_cpu allows 3.0%"):
        after(0.03)
    assert after(0.03, patient) == outcome
