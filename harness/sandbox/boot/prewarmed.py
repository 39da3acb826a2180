"""A prewarmed sandbox: created ahead of its program, idle until the program is assigned.

bubblewrap makes it and a copy of the zygote enters it in the background. It holds two processes,
both ours: `cat`, under the program's filter and without capabilities, which ends (and the sandbox
with it) when our end of its leash is closed, and the copy, which waits for a spec. (An interpreter
in place of `cat` took 16 ms of CPU time.) No candidate's code has run there. Right before the
program starts, what `policy.late` names is copied into folders and files of ours that the sandbox
sees read-only; the spec with environment, descriptors and limits arrives then as well. So a
prewarmed sandbox and one made on the spot differ only in when they were made.

Each step has somebody who ends the sandbox when the harness is killed. bubblewrap does nothing
before it has its options; it gets them from the zygote's copy, which kills bubblewrap's group
when the harness's end of their socket closes. (bubblewrap's own inner process would wait for ever
for an outer one that is killed.) Once the sandbox is made, the kernel kills it with bubblewrap's
outer process, that one with the harness, and the leash closes.

Not covered: a harness process that is killed leaves those copies of its current trial behind.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness.contract import HarnessError
from harness.sandbox.backends import bubblewrap
from harness.sandbox.backends.interpreter import program_words
from harness.sandbox.boot.spec import max_processes, namespaces_spec, seccomp_program
from harness.sandbox.boot.start import START_TIMEOUT_S, Started, handshake, init_handle
from harness.sandbox.boot.zygote_client import Zygote
from harness.sandbox.fds import readable
from harness.sandbox.monitor.control_group import ControlGroup
from harness.sandbox.policy import SandboxPolicy

FOLDER, FILE = Path("folder"), Path("file")
"""Placeholders in a shape for paths that are known only at the start."""


@dataclass(frozen=True, slots=True)
class SandboxShape:
    """What a program's sandbox depends on; sandboxes of one shape are interchangeable."""

    policy: SandboxPolicy
    argv: tuple[str, ...]

    @classmethod
    def of(cls, policy: SandboxPolicy, argv: Sequence[str]) -> SandboxShape:
        """Return the shape: policy and command line without what a sandbox learns at the start."""
        later = {path: FOLDER if policy.read[path].is_dir() else FILE for path in policy.late}
        walls = replace(
            policy,
            seconds=0,
            memory_mib=0,
            env={},
            fds=(),
            read={**policy.read, **later},
            write=dict.fromkeys(policy.write, Path()),
            outputs=None,
            cpu=None,
            secrets=(),
        )
        return cls(walls, (*argv[: len(argv) - len(program_words(argv) or ()) + 1],))


class PrewarmedSandbox:
    """A sandbox of `shape` on the zygote's slice, to be closed by the caller.

    Only the thread that made it may use it: the sandbox dies with that thread.
    """

    def __init__(self, shape: SandboxShape, zygote: Zygote, home: Path) -> None:
        """Begin to make the sandbox and return at once; late files will lie below `home`."""
        self.shape, self._started = shape, False
        with ExitStack() as made, ExitStack() as theirs:
            self._late = Path(tempfile.mkdtemp(prefix="sandbox-", dir=home))
            made.callback(shutil.rmtree, self._late, ignore_errors=True)
            self.group = ControlGroup.make()
            if self.group is not None:
                made.enter_context(self.group)
            self._leash, leash = _pair(made, theirs)
            self._info, info = _pipe(made, theirs)
            self._output, output = _pipe(made, theirs)
            status, telling = _pipe(theirs, theirs)
            running, echo = _pipe(theirs, theirs)
            filter_end, filling = _pipe(theirs, theirs)
            options_end, giving = _pipe(theirs, theirs)
            os.write(filling, seccomp_program(shape.policy))  # less than a pipe holds
            self._leash.sendall(b".")
            self._lay_out()
            walls = replace(shape.policy, read={**shape.policy.read, **self._late_paths()})
            more = ["--json-status-fd", str(telling), "--seccomp", str(filter_end)]
            more += ["--cap-drop", "ALL"]  # the copy changes to the sandbox's uid
            options = bubblewrap.options(walls, shape.argv, info, *more)
            self.process = subprocess.Popen(
                bubblewrap.command(options_end),
                stdin=leash.fileno(),
                stdout=echo,
                stderr=output,
                env={},
                pass_fds=(options_end, info, telling, filter_end),
                start_new_session=True,
            )
            made.callback(self._kill)
            if self.group is not None:
                self.group.add(self.process.pid)  # which has started nothing yet
            made_by = (status, running, giving)
            self._control = made.enter_context(zygote.enter(made_by, self.process.pid, options))
            self._made = made.pop_all()

    @property
    def made(self) -> bool:
        """Whether the sandbox is ready, or has failed."""
        return readable(self._control.fileno(), 0)

    def start(
        self, policy: SandboxPolicy, argv: Sequence[str], output: int, *, executed: bool = False
    ) -> Started:
        """Start the program once the sandbox is ready; it prints to the descriptor `output`.

        Where `executed`, it is a command to execute; else the zygote's copy runs the script.
        Raises HarnessError, with bubblewrap's output, where the sandbox does not start.
        """
        for inside, place in self._late_paths().items():
            given = policy.read[inside]
            if place.is_dir():
                shutil.copytree(given, place, symlinks=True, dirs_exist_ok=True)
            else:  # into the same file, which the sandbox has mounted
                shutil.copyfile(given, place)
        spec = namespaces_spec(policy, argv if executed else program_words(argv) or [])
        spec["executed"] = executed
        with ExitStack() as failed:
            try:
                first = self._init()
                failed.callback(os.close, first)
                if self.group is not None:
                    self.group.limit(policy.memory_mib, max_processes(policy))
                passed = [output, *spec["fds"]]
                handles = handshake(self._control, spec, passed, self.group)
            except HarnessError as error:
                raise HarnessError(f"{error} ({self._bubblewrap_output()})") from error
            failed.pop_all()
        self._started = True
        return self._made.enter_context(
            Started.from_zygote(self.process, first, handles, self._control)
        )

    def close(self) -> None:
        """End the sandbox, whether or not its program was started."""
        self._made.close()

    def __enter__(self) -> PrewarmedSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lay_out(self) -> None:
        """Make the empty folders and files that the late ones are copied into."""
        self._late.chmod(0o755)
        for inside, place in self._late_paths().items():
            if self.shape.policy.read[inside] == FOLDER:
                place.mkdir()
            else:
                place.touch()
                place.chmod(0o644)

    def _late_paths(self) -> dict[str, Path]:
        """Return the host paths of late files by their paths inside."""
        return {path: self._late / str(n) for n, path in enumerate(self.shape.policy.late)}

    def _init(self) -> int:
        """Return a pidfd of the namespace's first process, never of a later process with its pid.

        Raises HarnessError where it is gone.
        """
        report = part = b""
        while b"}" not in report and readable(self._info, START_TIMEOUT_S):
            part = os.read(self._info, 4096)
            if not part:
                break
            report += part
        first = init_handle(report)
        if self.process.poll() is None:  # its parent, which would have reaped it, lives
            return first
        os.close(first)
        raise HarnessError("a sandbox ended before its program started")

    def _kill(self) -> None:
        """Kill the sandbox and wait until it is gone: it dies with bubblewrap's outer process."""
        self._leash.close()
        first = -1
        if not self._started:
            with suppress(HarnessError):
                first = self._init()
        self.process.kill()
        self.process.wait()
        if first >= 0:
            readable(first, START_TIMEOUT_S)
            os.close(first)

    def _bubblewrap_output(self) -> str:
        os.set_blocking(self._output, False)
        with suppress(BlockingIOError):
            return os.read(self._output, 4096).decode(errors="replace").strip()
        return ""


def _pair(ours: ExitStack, theirs: ExitStack) -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    return ours.enter_context(one), theirs.enter_context(other)


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    one, other = os.pipe()
    ours.callback(os.close, one)
    theirs.callback(os.close, other)
    return one, other
