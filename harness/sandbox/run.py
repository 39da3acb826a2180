"""The one interface to confinement: run a command under a policy, see to its end, say how.

Not covered: as bubblewrap reports it, a first process that exits with 129 to 192 reads as one
that died of signal 1 to 64. What a box writes counts as its memory.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.contract import HarnessError, SetupError
from harness.sandbox.backends import bubblewrap, landlock
from harness.sandbox.backends.interpreter import program_words
from harness.sandbox.backends.scratch import folders
from harness.sandbox.backends.uids import check_readable
from harness.sandbox.boot.pool import SandboxPool
from harness.sandbox.boot.prewarmed import PrewarmedSandbox, SandboxShape
from harness.sandbox.boot.spec import confined, on_host, unconfined, warded
from harness.sandbox.boot.start import Started, Walls, launch
from harness.sandbox.boot.zygote_client import Zygote
from harness.sandbox.monitor.capped_log import CappedLog
from harness.sandbox.monitor.cpu import CpuContention
from harness.sandbox.monitor.descendants import Descendants
from harness.sandbox.monitor.disk import DiskMonitor
from harness.sandbox.monitor.memory import MemoryMeter
from harness.sandbox.monitor.process_trees import PlainTree
from harness.sandbox.monitor.sandboxed import BoxTree
from harness.sandbox.monitor.warded import WardedTree, process_of
from harness.sandbox.monitor.watchdog import Tree, drain, finish, watch
from harness.sandbox.outputs import collect
from harness.sandbox.policy import Exit, SandboxPolicy

if TYPE_CHECKING:
    from harness.sandbox.guest.limits import GuestSpec

MIB = 1 << 20


def run(
    policy: SandboxPolicy, argv: Sequence[str], log: Path, warm: Zygote | SandboxPool | None = None
) -> Exit:
    """Run `argv` under `policy`, its output (1 MiB of it at most) going to the file `log`.

    Returns when nothing of it is alive. In a box the `policy.write` folders are the box's own (at
    tier 2 its memory, as large as `file_mib`), and their regular files are copied to the host's
    folders at the end. As root, what `policy.read` names has to be readable by everyone. At tiers
    1 and 0, which have no mounts, an argument that is a path inside the box is replaced by the
    host's path. In a box a command of `python_argv` starts as a copy of `warm`, if that is given,
    at tier 2 in one of its boxes that wait, if one fits.
    Raises SetupError where this machine cannot make the tier, HarnessError where a box does not
    start or does not end.
    """
    if policy.kind == "none":
        return _plain(policy, argv, log)
    if warm is not None and warm.slice != policy.slice:
        raise ValueError(f"{warm.slice.name}'s warm start cannot serve {policy.slice.name}")
    if policy.kind == "landlock":
        return _warded(policy, argv, log, warm)
    if policy.kind == "namespaces":
        return _sandboxed(policy, argv, log, warm)
    raise SetupError(f"confinement has no tier {policy.kind}")


def _sandboxed(
    policy: SandboxPolicy, argv: Sequence[str], log: Path, warm: Zygote | SandboxPool | None
) -> Exit:
    check_readable(policy.read.values())
    walls = functools.partial(bubblewrap.command, policy, argv)
    with Observer(log) as observer, ExitStack() as stack:
        if warm is None or program_words(argv) is None:
            box = stack.enter_context(observer.start(confined(policy, argv), walls))
        else:
            box = _enter(policy, argv, observer, warm, stack)
        proc, *mounts = box.handles[1:]
        meter = MemoryMeter(proc, policy.memory_mib * MIB)
        rivals = CpuContention(proc, policy.slice.cores)
        tree = BoxTree(box.init, proc, tuple(mounts), meter, rivals)
        make = warm.make if isinstance(warm, SandboxPool) else lambda: None
        ended = observer.see(box, tree, policy.seconds, make)
        written = mounts[len(bubblewrap.PRIVATE) :]
        for folder, to in zip(written, policy.write.values(), strict=True):
            collect(folder, to, policy.file_mib * MIB)
        return ended


def _enter(
    policy: SandboxPolicy,
    argv: Sequence[str],
    observer: Observer,
    warm: Zygote | SandboxPool,
    boxes: ExitStack,
) -> Started:
    """Start a program in a box that waits for one, or in one made now, which `boxes` will close."""
    waiting = warm.take(policy, argv) if isinstance(warm, SandboxPool) else None
    if waiting is not None:
        boxes.enter_context(waiting)
        try:
            return waiting.start(policy, argv, observer.output)
        except HarnessError:  # it has died since it was made
            waiting.close()
    made = PrewarmedSandbox(SandboxShape.of(policy, argv), _zygote(warm), observer.folder)
    return boxes.enter_context(made).start(policy, argv, observer.output)


def _zygote(warm: Zygote | SandboxPool) -> Zygote:
    return warm.zygote if isinstance(warm, SandboxPool) else warm


def _warded(
    policy: SandboxPolicy, argv: Sequence[str], log: Path, warm: Zygote | SandboxPool | None
) -> Exit:
    landlock.check()
    landlock.check_inputs(policy, argv)
    with Observer(log) as observer, ExitStack() as stack:
        own = stack.enter_context(folders(policy))
        places = {**policy.read, **dict(zip(policy.write, own.written, strict=True))}
        argv = on_host(argv, places)
        spec, words = warded(policy, argv, own), program_words(argv)
        numbers = [stack.enter_context(_opened(path)) for path in (Path("/proc"), *own.all)]
        if warm is None or words is None:
            box = stack.enter_context(observer.start(spec, None))
        else:
            spec["argv"] = words
            box = stack.enter_context(_zygote(warm).begin(spec, observer.output))
        proc, *held = numbers
        limits = [policy.tmp_mib * MIB] * 2 + [policy.file_mib * MIB] * len(own.written)
        tree = WardedTree(
            box.handles[0],
            Descendants(process_of(box.handles[0])),
            MemoryMeter(proc, policy.memory_mib * MIB),
            DiskMonitor(tuple(zip(held, limits, strict=True))),
            CpuContention(proc, policy.slice.cores),
        )
        ended = observer.see(box, tree, policy.seconds)
        for folder, to in zip(held[2:], policy.write.values(), strict=True):
            collect(folder, to, policy.file_mib * MIB)
        return ended


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield number
    finally:
        os.close(number)


def _plain(policy: SandboxPolicy, argv: Sequence[str], log: Path) -> Exit:
    words = on_host(argv, {**policy.read, **policy.write})
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="swarm-box-"))
        observer = stack.enter_context(Observer(log))
        tree = stack.enter_context(PlainTree(policy.memory_mib * MIB))
        box = stack.enter_context(observer.start(unconfined(policy, words, home), None))
        tree.first = box.outer.pid if box.outer else 0
        return observer.see(box, tree, policy.seconds)


class Observer:
    """Sees a box from the call to its end, and keeps its log."""

    def __init__(self, log: Path) -> None:
        self.called, self.folder = time.monotonic(), log.parent
        self.sink = CappedLog.at(log)
        self._pipe, self.output = os.pipe()

    def start(self, spec: GuestSpec, walls: Walls | None) -> Started:
        """Start a box. Raises HarnessError, with what it said, where that fails."""
        try:
            return launch(spec, walls, self.output)
        except HarnessError as error:
            os.set_blocking(self.output, False)
            os.write(self.output, b"\n")  # so that there is something to read
            said = os.read(self._pipe, 4096).decode(errors="replace").strip()
            raise HarnessError(f"{error} ({said})") from error

    def see(
        self,
        box: Started,
        tree: Tree,
        seconds: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Exit:
        """See a started box to its end, whatever happens to us; do something else `meanwhile`."""
        try:
            killed = watch(tree, box.ended, self._pipe, self.sink, box.at + seconds, meanwhile)
        finally:
            finish(tree, self._pipe, self.sink)
            took = time.monotonic() - box.at
        start, peak = box.at - self.called, tree.peak / MIB
        return Exit(box.code(), killed, took, start, peak, tree.foreign)

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        os.set_blocking(self._pipe, False)
        drain(self._pipe, self.sink)
        os.close(self._pipe)
        os.close(self.output)
        self.sink.close()
