"""A box that is there before its program is: made, entered, and waiting for the word.

bubblewrap makes it and a copy of the zygote enters it while we go on. In it are two processes, both
ours: `cat`, under the program's filter and without capabilities, which ends, and the box with it,
when our end of its leash is closed, and the copy, which waits for a spec. (An interpreter in place
of `cat` took 16 ms of processor time.) Nothing of any candidate has been there. What `policy.late`
names is copied, right before the program starts, into folders and files of ours that the box sees
read-only; the spec, with its environment, descriptors and limits, comes then as well. So a box made
ahead and one made on the spot differ in nothing but when they were made.

Not covered: a supervisor that is killed leaves those copies, of the trial that it was at, where it
was told to put them. Where it is killed in the moment in which bubblewrap makes a box, before the
zygote has forked the copy that would end it, bubblewrap's own waiting process stays.
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
from harness.sandbox.boot.spec import namespaces_spec, seccomp_program
from harness.sandbox.boot.start import START_TIMEOUT_S, Started, first_of, shake
from harness.sandbox.boot.zygote_client import Zygote
from harness.sandbox.fds import readable
from harness.sandbox.policy import SandboxPolicy

HOLD = ("/bin/cat",)
"""Keeps a box in being for as long as its standard input, the leash, has another end. A word that
comes back says that it runs, and so that the box is made."""

FOLDER, FILE = Path("folder"), Path("file")
"""What stands in a shape for something that is not known yet."""


@dataclass(frozen=True, slots=True)
class SandboxShape:
    """What has to be known of a program to make its box: boxes of one shape are alike."""

    policy: SandboxPolicy
    argv: tuple[str, ...]

    @classmethod
    def of(cls, policy: SandboxPolicy, argv: Sequence[str]) -> SandboxShape:
        """Leave out of a policy, and of the command line, all that a box is told at the start."""
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
        )
        return cls(walls, (*argv[: len(argv) - len(program_words(argv) or ()) + 1],))


class PrewarmedSandbox:
    """A box of `shape` on `warm`'s slice; whoever made it closes it.

    One thread may use it, the one that made it: the box ends with that thread.
    """

    def __init__(self, shape: SandboxShape, warm: Zygote, home: Path) -> None:
        """Begin to make the box, and return at once; what comes late will lie below `home`."""
        self.shape, self._started = shape, False
        with ExitStack() as made, ExitStack() as theirs:
            self._given = Path(tempfile.mkdtemp(prefix="box-", dir=home))
            made.callback(shutil.rmtree, self._given, ignore_errors=True)
            self._leash, leash = _pair(made, theirs)
            self._told, info = _pipe(made, theirs)
            self._said, output = _pipe(made, theirs)
            status, telling = _pipe(theirs, theirs)
            running, echo = _pipe(theirs, theirs)
            filter_end, filling = _pipe(theirs, theirs)
            os.write(filling, seccomp_program(shape.policy))  # less than a pipe holds
            self._leash.sendall(b".")
            self._lay_out()
            walls = replace(shape.policy, read={**shape.policy.read, **self._places()})
            options = ["--json-status-fd", str(telling), "--seccomp", str(filter_end)]
            options += ["--cap-drop", "ALL"]  # it is the copy that becomes the box's user
            self.process = subprocess.Popen(
                [*bubblewrap.command(walls, shape.argv, info, *options), *HOLD],
                stdin=leash.fileno(),
                stdout=echo,
                stderr=output,
                env={},
                pass_fds=(info, telling, filter_end),
                start_new_session=True,
            )
            made.callback(self._end)
            self._control = made.enter_context(warm.enter(status, running, self.process.pid))
            self._made = made.pop_all()

    @property
    def made(self) -> bool:
        """Say whether the box is there, or will never be."""
        return readable(self._control.fileno(), 0)

    def start(self, policy: SandboxPolicy, argv: Sequence[str], output: int) -> Started:
        """Let the program begin, once the box is there; `output` is where it prints.

        Raises HarnessError, with what bubblewrap said, where the box does not start.
        """
        for inside, place in self._places().items():
            given = policy.read[inside]
            if place.is_dir():
                shutil.copytree(given, place, symlinks=True, dirs_exist_ok=True)
            else:  # into the very file that the box has been shown
                shutil.copyfile(given, place)
        spec = namespaces_spec(policy, program_words(argv) or [])
        with ExitStack() as failed:
            try:
                first = self._first()
                failed.callback(os.close, first)
                handles = shake(self._control, spec, [output, *spec["fds"]])
            except HarnessError as error:
                raise HarnessError(f"{error} ({self._complaint()})") from error
            failed.pop_all()
        self._started = True
        return self._made.enter_context(Started.told(self.process, first, handles, self._control))

    def close(self) -> None:
        """End the box, whether or not its program was ever started."""
        self._made.close()

    def __enter__(self) -> PrewarmedSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lay_out(self) -> None:
        """Make the empty folders and files that stand for what comes late."""
        self._given.chmod(0o755)
        for inside, place in self._places().items():
            if self.shape.policy.read[inside] == FOLDER:
                place.mkdir()
            else:
                place.touch()
                place.chmod(0o644)

    def _places(self) -> dict[str, Path]:
        """Return where that is on the host, by the paths inside."""
        return {path: self._given / str(n) for n, path in enumerate(self.shape.policy.late)}

    def _first(self) -> int:
        """Return a handle on the namespace's first process, not on one that has its number since.

        Raises HarnessError where there is none any more.
        """
        with os.fdopen(os.dup(self._told), "rb") as told:
            first = first_of(told.read())
        if self.process.poll() is None:  # it is bubblewrap that would have taken leave of it
            return first
        os.close(first)
        raise HarnessError("a box ended before its program began")

    def _end(self) -> None:
        """End all of the box and wait until it is gone: it dies with bubblewrap's outer process."""
        self._leash.close()
        first = -1
        if not self._started:
            with suppress(HarnessError):
                first = self._first()
        self.process.kill()
        self.process.wait()
        if first >= 0:
            readable(first, START_TIMEOUT_S)
            os.close(first)

    def _complaint(self) -> str:
        os.set_blocking(self._said, False)
        with suppress(BlockingIOError):
            return os.read(self._said, 4096).decode(errors="replace").strip()
        return ""


def _pair(ours: ExitStack, theirs: ExitStack) -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    return ours.enter_context(one), theirs.enter_context(other)


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    one, other = os.pipe()
    ours.callback(os.close, one)
    theirs.callback(os.close, other)
    return one, other
