"""The one interface to confinement: run a command under a policy, see to its end, say how.

Not covered: as bubblewrap reports it, a first process that exits with 129 to 192 reads as one
that died of signal 1 to 64. What a box writes counts as its memory.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.confine import bubblewrap, landlock, seccomp
from harness.confine.collect import collect
from harness.confine.contention import Contention
from harness.confine.disk import Disk
from harness.confine.environment import environment
from harness.confine.folders import Folders, folders
from harness.confine.identity import box_uid, check_readable
from harness.confine.interpreter import program_words
from harness.confine.kin import Kin
from harness.confine.launch import Started, Walls, launch
from harness.confine.log import CappedLog
from harness.confine.meter import Meter
from harness.confine.plain import PlainTree
from harness.confine.policy import Exit, Policy
from harness.confine.sandboxed import BoxTree
from harness.confine.warded import WardedTree, process_of
from harness.confine.warm import Zygote
from harness.confine.watch import Tree, drain, finish, watch
from harness.contract import HarnessError, SetupError

if TYPE_CHECKING:
    from harness.confine.within.restrict import Spec

MIB = 1 << 20
HOLD = ("/bin/sleep", "infinity")  # keeps a box in being until a copy of the zygote has entered

OPEN_FILES = 768
"""Below the usual soft limit of 1,024 by more than the 253 descriptors of one message: those that
are on their way through sockets are counted for each user, and past a process's own limit it can
send none. A box must not be able to stop its neighbours."""

LIMITS = [
    (resource.RLIMIT_NOFILE, OPEN_FILES),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_SIGPENDING, 4096),
    (resource.RLIMIT_NICE, 0),
    (resource.RLIMIT_RTPRIO, 0),
]


def run(policy: Policy, argv: Sequence[str], log: Path, warm: Zygote | None = None) -> Exit:
    """Run `argv` under `policy`, its output (1 MiB of it at most) going to the file `log`.

    Returns when nothing of it is alive. In a box the `policy.write` folders are the box's own (at
    tier 2 its memory, as large as `file_mib`), and their regular files are copied to the host's
    folders at the end. As root, what `policy.read` names has to be readable by everyone. At tiers
    1 and 0, which have no mounts, an argument that is a path inside the box is replaced by the
    host's path. In a box a command of `python_argv` starts as a copy of `warm`, if that is given.
    Raises SetupError where this machine cannot make the tier, HarnessError where a box does not
    start or does not end.
    """
    if policy.tier == 0:
        return _plain(policy, argv, log)
    if warm is not None and warm.slice != policy.slice:
        raise ValueError(f"{warm.slice.name}'s warm start cannot serve {policy.slice.name}")
    if policy.tier == 1:
        return _warded(policy, argv, log, warm)
    if policy.tier == 2:  # noqa: PLR2004  # the tiers have no other names
        return _sandboxed(policy, argv, log, warm)
    raise SetupError(f"confinement has no tier {policy.tier}")


def _sandboxed(policy: Policy, argv: Sequence[str], log: Path, warm: Zygote | None) -> Exit:
    check_readable(policy.read.values())
    walls = functools.partial(bubblewrap.command, policy, argv)
    with Observer(log) as observer, ExitStack() as stack:
        words = program_words(argv)
        if warm is None or words is None:
            box = stack.enter_context(observer.start(confined(policy, argv), walls))
        else:
            hold = confined(dataclasses.replace(policy, fds=()), HOLD)
            box = stack.enter_context(observer.start(hold, walls))
            box.pass_to(warm.enter(box.handles[0], confined(policy, words), observer.output))
        proc, *mounts = box.handles[1:]
        meter = Meter(proc, policy.memory_mib * MIB)
        rivals = Contention(proc, policy.slice.cores)
        tree = BoxTree(box.init, proc, tuple(mounts), meter, rivals)
        ended = observer.see(box, tree, policy.seconds)
        written = mounts[len(bubblewrap.PRIVATE) :]
        for folder, to in zip(written, policy.write.values(), strict=True):
            collect(folder, to, policy.file_mib * MIB)
        return ended


def _warded(policy: Policy, argv: Sequence[str], log: Path, warm: Zygote | None) -> Exit:
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
            box = stack.enter_context(warm.begin(spec, observer.output))
        proc, *held = numbers
        limits = [policy.tmp_mib * MIB] * 2 + [policy.file_mib * MIB] * len(own.written)
        tree = WardedTree(
            box.handles[0],
            Kin(process_of(box.handles[0])),
            Meter(proc, policy.memory_mib * MIB),
            Disk(tuple(zip(held, limits, strict=True))),
            Contention(proc, policy.slice.cores),
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


def _plain(policy: Policy, argv: Sequence[str], log: Path) -> Exit:
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
        self.called = time.monotonic()
        self.sink = CappedLog.at(log)
        self._pipe, self.output = os.pipe()

    def start(self, spec: Spec, walls: Walls | None) -> Started:
        """Start a box. Raises HarnessError, with what it said, where that fails."""
        try:
            return launch(spec, walls, self.output)
        except HarnessError as error:
            os.set_blocking(self.output, False)
            os.write(self.output, b"\n")  # so that there is something to read
            said = os.read(self._pipe, 4096).decode(errors="replace").strip()
            raise HarnessError(f"{error} ({said})") from error

    def see(self, box: Started, tree: Tree, seconds: float) -> Exit:
        """See a started box to its end, whatever happens to us meanwhile."""
        try:
            killed = watch(tree, box.ended, self._pipe, self.sink, box.at + seconds)
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


def confined(policy: Policy, argv: Sequence[str]) -> Spec:
    """Return what the first process of a sandbox is told."""
    spec = unconfined(policy, argv, bubblewrap.HOME)
    spec["limits"] += [(resource.RLIMIT_NPROC, births(policy)), *LIMITS]
    spec["watched"] = ["/proc", *bubblewrap.PRIVATE, *policy.write]
    spec["uid"] = box_uid()
    spec["filter"] = seccomp.program(memfd=policy.slice.kind == "cuda")
    return spec


def warded(policy: Policy, argv: Sequence[str], own: Folders) -> Spec:
    """Return what the warden of a box at tier 1 is told."""
    spec = unconfined(policy, argv, str(own.home))
    spec["env"] = environment(policy, str(own.home), str(own.tmp))
    spec["limits"] += LIMITS
    spec["uid"] = box_uid()
    spec["filter"] = seccomp.program(memfd=policy.slice.kind == "cuda", shared=True)
    spec["ward"] = {
        "rules": landlock.rules(policy, argv, own),
        "births": births(policy),
        "folder": str(own.base),
    }
    return spec


def births(policy: Policy) -> int:
    """Return how many processes and threads a box may have."""
    return policy.processes + 4 * len(policy.slice.cores)


def unconfined(policy: Policy, argv: Sequence[str], home: str) -> Spec:
    """Return what the first process is told where there are no walls."""
    return {
        "argv": list(argv),
        "env": environment(policy, home),
        "cwd": home,
        "watched": [],
        "fds": list(policy.fds),
        "cores": list(policy.slice.cores),
        "limits": [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, policy.file_mib * MIB)],
        "uid": None,
        "filter": b"",
        "ward": None,
    }


def on_host(argv: Sequence[str], places: Mapping[str, Path]) -> list[str]:
    """Return `argv` with each path that lies in one of `places` as the host has it.

    The interpreter and the box program are named as the host has them anyway.
    """
    program = program_words(argv)
    known = len(argv) - len(program) + 1 if program else 0
    return [*argv[:known], *[_on_host(word, places) for word in argv[known:]]]


def _on_host(word: str, places: Mapping[str, Path]) -> str:
    for inside in sorted(places, key=len, reverse=True):
        if word == inside or word.startswith(f"{inside}/"):
            return f"{places[inside]}{word[len(inside) :]}"
    return word
