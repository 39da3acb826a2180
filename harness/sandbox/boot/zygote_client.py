"""Warm start: box programs begin as copies of a process that has imported what they need.

Importing torch, and what its optimizers import when the first one is made, costs over 3 s of
processor time, a copy 0.1 s (measured), and a trial starts two or three boxes. The copy enters a
box that bubblewrap has made, or at tier 1 makes one, as tight as one that is started cold (see
`within.zygote`): same namespaces, user, filter, limits, descriptors and environment. What it brings
along, its memory, holds the interpreter and the modules and nothing else; its `/proc/self/exe` is a
sealed copy of the interpreter, since the file itself would be on a mount that could be written.

A trial that starts warm gets more of its budget than one that starts cold: never mix their scores.

Not covered: CUDA was not tried; torch is imported without touching the driver. See also
`within.zygote`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.contract import HarnessError, Slice
from harness.sandbox.backends.environment import environment
from harness.sandbox.backends.interpreter import roots, within
from harness.sandbox.backends.uids import box_uid
from harness.sandbox.boot.start import Started, shake
from harness.sandbox.guest.init import BEGIN, ENTER, ENTER_OWN, GROUP, READY
from harness.sandbox.policy import SandboxPolicy

if TYPE_CHECKING:
    from harness.sandbox.guest.limits import GuestSpec

PLAIN = ("importlib", "json", "pathlib", "numpy", "numpy.random")
"""What programs of tasks without torch import: 0.1 s of processor time in each box."""

# optimizers need the last of these; numpy.random, which each copy seeds, takes it 15 ms to import
MODULES = ("numpy.random", "safetensors.torch", "torch", "torch._dynamo")
IMPORT_TIMEOUT_S = 120.0  # imports take 2 s at best, much longer where the cores are starved


class Zygote:
    """A process of ours whose copies become box programs on the slice `lease`.

    It imports while we go on; the first box waits for that. One thread may use it, the one that
    made it: the process ends with that thread.
    """

    def __init__(self, lease: Slice, modules: Sequence[str] = MODULES) -> None:
        self.slice = lease
        self._requests, theirs = socket.socketpair()
        self._requests.settimeout(IMPORT_TIMEOUT_S)
        self._ready = False
        binary = sealed_interpreter()
        with theirs:
            self._process = subprocess.Popen(
                within("zygote", str(theirs.fileno()), roots(), ",".join(modules)),
                executable=f"/proc/self/fd/{binary}",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment(SandboxPolicy(lease, 0, 0), "/nonexistent") | library_path(),
                cwd="/",
                pass_fds=(theirs.fileno(), binary),
                start_new_session=True,
            )
        os.close(binary)

    def enter(self, status: int, running: int, group: int) -> socket.socket:
        """Send a copy into a box that is being made, once its first program runs.

        bubblewrap tells of the box on the descriptor `status` (as JSON, a line of it), the program
        says a word on `running`; both are in the process group `group`, which ends if we do before
        the box is made.

        Returns at once the socket on which the copy says when it is in there: it is ready, takes
        descriptors and a spec (see `launch.shake`), says go, with the handles that the spec asks
        for, and how the program ended.
        """
        how = ENTER if box_uid() is not None else ENTER_OWN
        return self._copy(how, [status, running], group)

    def begin(self, spec: GuestSpec, output: int) -> Started:
        """Start the program of `spec` in a box of its own, kept by a warden.

        Raises HarnessError where it does not start.
        """
        control = self._copy(BEGIN, [])
        try:
            handles = shake(control, spec, [output, *spec["fds"]])
        except HarnessError:
            control.close()
            raise
        end = os.dup(handles[0])
        return Started(None, end, -1, handles, control, time.monotonic(), supervised=True)

    def _copy(self, how: bytes, passed: list[int], group: int = 0) -> socket.socket:
        """Ask for a copy, with descriptors of ours, and return the socket to it."""
        control, theirs = socket.socketpair()
        with theirs:
            try:
                self.wait()
                asked = how + group.to_bytes(GROUP, sys.byteorder)
                socket.send_fds(self._requests, [asked], [*passed, theirs.fileno()])
            except BaseException:
                control.close()
                raise
        return control

    def close(self) -> None:
        """End the process."""
        self._requests.close()
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self) -> None:
        """Wait until the imports are done. Raises HarnessError where they fail."""
        if not self._ready:
            said = self._requests.recv(len(READY), socket.MSG_WAITALL)
            if said != READY:
                raise HarnessError("the process for warm starts ended while it imported")
            self._ready = True


def sealed_interpreter() -> int:
    """Return the descriptor of a copy of the interpreter that nobody can change."""
    number = os.memfd_create("python", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    with Path(sys.executable).open("rb") as source, os.fdopen(number, "wb", closefd=False) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, seals)
    return number


def library_path() -> dict[str, str]:
    """Return where the interpreter's own library lies, which a copy cannot find by its place."""
    shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
    return {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))} if shared else {}
