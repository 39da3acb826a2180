"""The zygote: sandboxed programs start as forks of a process that has imported what they need.

Importing torch, and what its optimizers import when the first one is made, costs over 3 s of CPU
time; a fork costs 0.05 s (measured), and a trial starts two or three sandboxes. The copy enters a
sandbox that bubblewrap has made, or makes a Landlock one, as tight as one started from scratch (see
`guest.zygote`): same namespaces, user, filter, limits, descriptors, environment. Its memory holds
the interpreter and the modules and nothing else; its `/proc/self/exe` is a sealed copy of the
interpreter, since the file itself would lie on a writable mount.

A trial started from a zygote gets more of its budget than one started from scratch: never mix their
scores.

Not covered: CUDA is untested; torch is imported without touching the driver. See `guest.zygote`.
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
from harness.sandbox.backends.interpreter import (
    NUMPY_PACKAGES,
    TORCH_PACKAGES,
    guest_argv,
    import_roots,
    site_entries,
)
from harness.sandbox.backends.uids import sandbox_uid
from harness.sandbox.boot.start import Started, handshake
from harness.sandbox.guest.init import (
    BEGIN,
    ENTER,
    ENTER_OWN,
    GROUP_BYTES,
    LENGTH_BYTES,
    READY,
)
from harness.sandbox.policy import SandboxPolicy

if TYPE_CHECKING:
    from harness.sandbox.guest.limits import GuestSpec

NUMPY_MODULES = ("importlib", "json", "pathlib", "numpy", "numpy.random")
"""Imports of programs of tasks without torch: 0.1 s of CPU time in each sandbox."""

# optimizers need the last one; each copy seeds numpy.random, which takes 15 ms to import
TORCH_MODULES = ("numpy.random", "safetensors.torch", "torch", "torch._dynamo")
LIBRARY_PATH = "LD_LIBRARY_PATH"
IMPORT_TIMEOUT_S = 120.0  # imports take 2 s at best, much longer where the cores are starved


class Zygote:
    """A process whose forks become sandboxed programs on the slice `lease`.

    It imports in the background; the first sandbox waits for that. Only the thread that made it may
    use it: the process dies with that thread.
    """

    def __init__(self, lease: Slice, modules: Sequence[str] = TORCH_MODULES) -> None:
        self.slice = lease
        self._requests, theirs = socket.socketpair()
        self._requests.settimeout(IMPORT_TIMEOUT_S)
        self._ready = False
        binary = sealed_interpreter()
        with theirs:
            self._process = subprocess.Popen(
                guest_argv("zygote", str(theirs.fileno()), import_roots(), *_words(modules)),
                executable=f"/proc/self/fd/{binary}",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(lease),
                cwd="/",
                pass_fds=(theirs.fileno(), binary),
                start_new_session=True,
            )
        os.close(binary)

    def enter(
        self, pipes: tuple[int, int, int], group: int, options: Sequence[str]
    ) -> socket.socket:
        """Let a copy give bubblewrap its options, and enter the sandbox that it makes.

        Of the `pipes` bubblewrap reports on the first (a line of JSON), the sandbox's first program
        sends a byte on the second, and from the third bubblewrap takes its options. Both are in the
        process group `group`, which the copy kills if this process dies before the sandbox is made.

        Returns at once the socket to the copy. There it reports that it is ready, takes descriptors
        and a spec (see `start.handshake`), reports the start, with the handles that the spec asks
        for, and finally the program's exit status.
        """
        how = ENTER if sandbox_uid() is not None else ENTER_OWN
        control = self._request_copy(how, list(pipes), group)
        given = b"".join(os.fsencode(word) + b"\0" for word in options)
        control.sendall(len(given).to_bytes(LENGTH_BYTES, sys.byteorder) + given)
        return control

    def start_supervised(self, spec: GuestSpec, output: int) -> Started:
        """Start the program of `spec` in a Landlock sandbox under a supervisor.

        Raises HarnessError where it does not start.
        """
        control = self._request_copy(BEGIN, [])
        try:
            handles = handshake(control, spec, [output, *spec["fds"]])
        except HarnessError:
            control.close()
            raise
        end = os.dup(handles[0])
        return Started(None, end, -1, handles, control, time.monotonic(), supervised=True)

    def _request_copy(self, how: bytes, passed: list[int], group: int = 0) -> socket.socket:
        """Request a copy, hand it descriptors of ours, and return the socket to it."""
        control, theirs = socket.socketpair()
        with theirs:
            try:
                self.wait()
                request = how + group.to_bytes(GROUP_BYTES, sys.byteorder)
                socket.send_fds(self._requests, [request], [*passed, theirs.fileno()])
            except BaseException:
                control.close()
                raise
        return control

    def close(self) -> None:
        """Kill the process."""
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
            reply = self._requests.recv(len(READY), socket.MSG_WAITALL)
            if reply != READY:
                raise HarnessError("the zygote ended while it imported")
            self._ready = True


def _words(modules: Sequence[str]) -> tuple[str, str]:
    """Return what to import, and the packages to hold in memory for sandboxes without files."""
    names = (
        (*TORCH_PACKAGES, "functorch") if "torch" in modules else NUMPY_PACKAGES if modules else ()
    )
    held = [str(place) for place in sorted(site_entries()) if place.name in names]
    return ",".join(modules), ":".join(held)


def sealed_interpreter() -> int:
    """Return the descriptor of an unwritable (sealed) copy of the interpreter."""
    number = os.memfd_create("python", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    with Path(sys.executable).open("rb") as source, os.fdopen(number, "wb", closefd=False) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, seals)
    return number


def _environment(lease: Slice) -> dict[str, str]:
    """Return a zygote's environment: the loader reads LD_LIBRARY_PATH once, for all its copies."""
    env, own = environment(SandboxPolicy(lease, 0, 0), "/nonexistent"), library_path()
    folders = [given[LIBRARY_PATH] for given in (own, env) if LIBRARY_PATH in given]
    return {**env, LIBRARY_PATH: ":".join(folders)} if folders else env


def library_path() -> dict[str, str]:
    """Return LD_LIBRARY_PATH, since a copy elsewhere cannot find the interpreter's own library."""
    shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
    return {LIBRARY_PATH: str(sysconfig.get_config_var("LIBDIR"))} if shared else {}
