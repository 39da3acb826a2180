"""Programs that try to get more CPU time than their budget; each prints what it got.

`work` spins until the deadline and adds its own CPU time to a file in the private home, one number
a line: the kernel forgets that of children that nobody waits for, the program does not.
"""

import re

SPENT = re.compile(r"^spent ([0-9.]+)$", re.MULTILINE)

_COMMON = """
import os, signal, sys, threading, time
from guest.clock import Deadline

deadline = Deadline(float(sys.argv[1]))
place = os.open(os.environ["HOME"] + "/spent", os.O_CREAT | os.O_RDWR | os.O_APPEND)

def spin(seconds):
    began = time.process_time()
    while time.monotonic() < deadline and time.process_time() - began < seconds:
        pass

def child(seconds):
    pid = os.fork()
    if not pid:
        spin(seconds)
        os.write(place, b"%.6f\\n" % time.process_time())
        os._exit(0)
    return pid

def alive():
    return time.monotonic() < deadline
"""

_END = """
own = time.process_time()
time.sleep(0.02)
os.lseek(place, 0, 0)
print("spent", own + sum(map(float, os.read(place, 1 << 20).split())))
"""

PROGRAMS = {
    name: _COMMON + body + _END
    for name, body in {
        "honest": "spin(1e9)\n",
        "threads": (
            "others = [threading.Thread(target=spin, args=(1e9,)) for _ in range(8)]\n"
            "[each.start() for each in others]\n"
            "spin(1e9)\n"
            "[each.join() for each in others]\n"
        ),
        "forks": (
            "others = [child(1e9) for _ in range(8)]\n[os.waitpid(each, 0) for each in others]\n"
        ),
        "hidden children": (
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "while alive():\n"
            "    try:\n        child(0.02)\n"
            "    except BlockingIOError:\n        time.sleep(0.05)\n"  # all are zombies
            "    time.sleep(0.001)\n"
        ),
        "orphans": (
            "while alive():\n"
            "    pid = os.fork()\n"
            "    if not pid:\n        child(0.02)\n        os._exit(0)\n"
            "    os.waitpid(pid, 0)\n    time.sleep(0.02)\n"
        ),
        "kind": "os.nice(19)\nspin(1e9)\n",
    }.items()
}
"""By name: what the program does."""
