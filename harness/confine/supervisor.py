"""The one interface to confinement: run a command under a policy, see to its end, say how.

Not covered: as bubblewrap reports it, a first process that exits with 129 to 192 reads as one
that died of signal 1 to 64.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.confine import bubblewrap
from harness.confine.environment import environment
from harness.confine.identity import box_uid, open_to_box
from harness.confine.inside import Spec
from harness.confine.launch import Started, launch
from harness.confine.log import CappedLog
from harness.confine.plain import PlainTree
from harness.confine.policy import Exit, Policy
from harness.confine.sandboxed import BoxTree
from harness.confine.watch import Tree, finish, watch
from harness.contract import HarnessError, SetupError

MIB = 1 << 20


def run(policy: Policy, argv: Sequence[str], log: Path) -> Exit:
    """Run `argv` under `policy`, its output (1 MiB of it at most) going to the file `log`.

    Returns when nothing of it is alive. As root each `policy.write` folder is given to the box's
    own uid, and what `policy.read` names has to be readable by everyone. At tier 0, which has no
    mounts, an argument that is a path inside the box is replaced by the host's path.
    Raises SetupError where this machine cannot make the tier, HarnessError where a box does not
    start or does not end.
    """
    if policy.tier not in (0, 2):
        raise SetupError(f"confinement has no tier {policy.tier}: 2 is the sandbox, 0 is none")
    called = time.monotonic()
    with ExitStack() as stack:
        sink = stack.enter_context(CappedLog.at(log))
        if policy.tier:
            open_to_box(policy.read, policy.write)
            box = launch(policy, list(argv), specify(policy, argv, bubblewrap.HOME))
            tree: Tree = BoxTree.of(box, policy.memory_mib * MIB)
        else:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="swarm-box-"))
            words = on_host(argv, {**policy.read, **policy.write})
            tree = PlainTree.expect(policy.memory_mib * MIB)
            box = launch(policy, words, specify(policy, words, home))
        stack.enter_context(box)
        return observe(box, tree, policy.seconds, sink, called)


def observe(box: Started, tree: Tree, seconds: float, sink: CappedLog, called: float) -> Exit:
    """See a started box to its end, whatever happens to us meanwhile."""
    try:
        killed = watch(tree, box.outer_end, box.output, sink, box.at + seconds)
    finally:
        finish(tree, box.output, sink)
        took = time.monotonic() - box.at
        code = box.outer.wait()
    if refused := box.refusal():
        raise HarnessError(f"a box could not start its program: {refused}")
    return Exit(as_signal(code), killed, took, box.at - called, tree.peak / MIB)


def specify(policy: Policy, argv: Sequence[str], home: str) -> Spec:
    """Return what the box's first process is told."""
    return Spec(
        argv=list(argv),
        env=environment(policy, home),
        cwd=home,
        fds=list(policy.fds),
        cores=list(policy.slice.cores),
        limits={"RLIMIT_CORE": 0, "RLIMIT_FSIZE": policy.file_mib * MIB},
        uid=box_uid() if policy.tier else None,
    )


def on_host(argv: Sequence[str], places: dict[str, Path]) -> list[str]:
    """Return `argv` with each path that lies in one of `places` as the host has it."""
    words = list(argv)
    for inside, host in places.items():
        for index, word in enumerate(words):
            if word == inside or word.startswith(f"{inside}/"):
                words[index] = f"{host}{word[len(inside) :]}"
    return words


def as_signal(code: int) -> int:
    """Return an exit status with death by signal as a negative number."""
    return 128 - code if 128 < code <= 192 else code  # noqa: PLR2004  # the shells' convention
