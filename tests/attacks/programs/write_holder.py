"""Take over the other processes of the sandbox, which may be held by fewer limits."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

from attack_target import trying

NAMES = ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE")


def attack(target):
    mine = {os.getpid(), os.getppid()}
    for process in target.processes():
        pid = int(process.name)
        if pid in mine or not other_than_ours(process):
            continue
        with trying():
            os.close(os.open(process / "mem", os.O_RDWR))
            print(f"got the memory of {pid}")
        with trying():
            if re.search(r"Seccomp:\s*0", (process / "status").read_text()):
                print(f"got {pid} without a filter")
        for name in NAMES:
            with trying():
                number = getattr(resource, name)
                if resource.prlimit(pid, number)[1] > resource.getrlimit(number)[1]:
                    print(f"got {pid} with a larger {name}")


def other_than_ours(process):
    """Say whether a process is in this sandbox and is not one of the attackers."""
    with trying():
        same = os.readlink(process / "ns/pid") == os.readlink("/proc/self/ns/pid")  # noqa: PTH115
        return same and b"run_programs" not in (process / "cmdline").read_bytes()
    with trying():  # closed to us, and here: in a namespace of our own
        return Path("/proc/1/status").read_text().startswith("Name:\tbwrap")
    return False
