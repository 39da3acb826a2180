"""The clock of a budget: it leaves out what others take, and no candidate makes it last longer."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from harness.contract import DisturbedError, SetupError, Slice
from harness.sandbox import SandboxPolicy, python_argv, run
from harness.sandbox.guest import clock as guest
from harness.sandbox.monitor.clock import STILL_S, BudgetClock, ClockPage
from harness.sandbox.monitor.watchdog import waited
from harness.sandbox.policy import CpuAllowance, Exit
from harness.sandbox.tiers import check
from tests.sandbox.clock_programs import PROGRAMS, SPENT

CORE = min(os.sched_getaffinity(0))
SECONDS = 1.5
QUICK = ("threads", "hidden children")


@pytest.fixture
def page(monkeypatch):
    """A page as a sandboxed program finds it."""
    with ClockPage() as page:
        monkeypatch.setenv(guest.VARIABLE, str(page.fd))
        yield page


def test_a_deadline_moves_with_its_page_and_never_back(page):
    """It compares and counts as of now; a copy stays where it was."""
    page.publish(100.0)
    deadline = guest.Deadline(5.0)
    kept, sent = float(deadline), pickle.loads(pickle.dumps(deadline))
    assert 104.9 < deadline < 105.1 and deadline - 100.0 == 5.0
    page.publish(103.0)
    assert deadline > 107.9 and not deadline > 108.1
    assert (deadline - 100.0, 110.0 - deadline, f"{deadline:.0f}") == (8.0, 2.0, "108")
    assert copy.deepcopy(deadline) is deadline
    assert kept == sent == 105.0
    page.publish(1.0)
    assert float(deadline) == 105.0


def test_a_program_without_a_page_has_a_deadline_that_stays(monkeypatch):
    """So has one that has closed it."""
    for value in ("", "987654"):
        monkeypatch.setenv(guest.VARIABLE, value)
        before = time.monotonic()
        deadline = guest.Deadline(5.0)
        assert before + 5 <= deadline <= time.monotonic() + 5
        assert float(deadline) == float(deadline)


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_nobody_else_can_write_the_page(page):
    """Neither through its descriptor nor through the file again; its size is fixed."""
    page.publish(100.0)
    with pytest.raises(PermissionError):
        os.pwrite(page.fd, b"x" * 8, 0)
    again = os.open(f"/proc/self/fd/{page.fd}", os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            os.pwrite(again, b"x" * 8, 0)
    finally:
        os.close(again)
    with pytest.raises(PermissionError):
        os.truncate(page.fd, 0)
    assert guest.began() == 100.0


def test_what_others_take_extends_a_budget_up_to_a_wall(page, monkeypatch):
    """Beyond it the sandbox is void; on a GPU nothing extends it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = BudgetClock(1000.0, 10.0, 4.0, counts_lost=True, page=page)
    now[0] = 1012.0
    assert clock.left() == -2.0
    clock.lose(5.0)
    assert (clock.left(), guest.began()) == (3.0, 1005.0)
    clock.lose(4.0)
    assert clock.lost == 5.0
    now[0] = 1041.0
    with pytest.raises(DisturbedError, match=r"others took 85% .* for 41 s of a 10 s") as busy:
        clock.lose(35.0)
    assert busy.value.cause == "busy"
    gpu = BudgetClock(1000.0, 10.0, 4.0, counts_lost=False)
    gpu.lose(35.0)
    assert gpu.left() == -31.0


def test_a_wait_far_too_long_is_a_disturbance(monkeypatch):
    """The watchdog was stopped, or the machine suspended, where it slept much longer than asked."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = BudgetClock(0.0, 10.0, 4.0, counts_lost=True)

    def asleep(seconds):
        now[0] += seconds
        return False

    assert not waited(lambda wait: asleep(wait + 0.9 * STILL_S), 0.05, clock)
    with pytest.raises(DisturbedError, match="everything stood still for 90 s"):
        waited(lambda wait: asleep(wait + 90), 0.05, clock)


def test_cpu_time_counts_less_by_the_share_that_others_took():
    """What an honest program uses beside others is no more than it uses alone."""
    allowance = CpuAllowance()
    assert not allowance.exceeded(8.0, 20.0, lost=8.0)
    allowance.allow(1.2)
    assert allowance.limit == 6.0
    assert not allowance.exceeded(10.0, 20.0, lost=8.0)
    assert allowance.exceeded(10.1, 20.0, lost=8.0)
    assert allowance.exceeded(6.1)


def test_on_a_busy_machine_a_program_gets_at_most_twice_its_cpu_time():
    """However much others take: it could train in what does not count."""
    allowance = CpuAllowance()
    allowance.allow(1.0)
    assert not allowance.exceeded(2.0, 100.0, lost=98.0)
    assert allowance.exceeded(2.1, 100.0, lost=98.0)


def test_wall_time_can_be_limited_too():
    """From when it is allowed on; a device may compute while no CPU does."""
    allowance = CpuAllowance()
    assert not allowance.exceeded(0.1, 50.0)
    allowance.allow(1.0, wall=10.0)
    assert not allowance.exceeded(0.1, 60.0)
    assert allowance.exceeded(0.1, 60.1)
    allowance.allow(1.0)
    assert not allowance.exceeded(0.1, 1000.0)


def test_a_signal_from_outside_is_a_disturbance_and_a_fault_of_its_own_is_none():
    """Nor is what the harness itself sent."""
    for code in (-signal.SIGSEGV, -signal.SIGABRT, 1, 0):
        Exit(code, "", 1.0, 0.0, 1.0).check_undisturbed()
    Exit(-signal.SIGKILL, "deadline", 1.0, 0.0, 1.0).check_undisturbed()
    with pytest.raises(DisturbedError, match="SIGKILL ended it") as error:
        Exit(-signal.SIGKILL, "", 1.0, 0.0, 1.0).check_undisturbed()
    assert error.value.cause == "signal"


def test_cpu_time_on_cores_that_others_hold_is_no_fault():
    """On its own cores too much of it is the program's doing."""
    Exit(-signal.SIGKILL, "cpu", 8.0, 0.0, 1.0, lost=6.0).check_undisturbed()
    with pytest.raises(DisturbedError, match=r"others held for 6\.1 s") as error:
        Exit(-signal.SIGKILL, "cpu", 8.0, 0.0, 1.0, lost=6.1).check_undisturbed()
    assert error.value.cause == "busy"


@contextmanager
def rival():
    """Keep a busy process on the core, in a session of its own."""
    code = f"import os; os.sched_setaffinity(0, [{CORE}])\nprint(flush=True)\nwhile True: pass"
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as child:
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()


@pytest.mark.sandbox
@pytest.mark.parametrize("kind", ["namespaces", "landlock"])
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.soak) for name in PROGRAMS],
)
def test_no_program_gets_more_cpu_time_than_its_budget(open_folder, kind, name):
    """Beside a rival: neither by threads and forks, nor by children that nobody waits for."""
    try:
        check(kind)
    except SetupError as error:
        pytest.skip(str(error))
    program, log = open_folder / "program.py", open_folder / "log"
    program.write_text(PROGRAMS[name])
    policy = SandboxPolicy(Slice("cpu0", "cpu", (CORE,)), SECONDS, 512, kind=kind, clock=True)
    with rival():
        ended = run(policy, python_argv(program, str(SECONDS - 0.2)), log)
    assert ended.code == 0, log.read_text()
    spent = float(SPENT.search(log.read_text()).group(1))
    assert spent < 1.02 * SECONDS
    assert ended.seconds - ended.lost < 1.02 * SECONDS
